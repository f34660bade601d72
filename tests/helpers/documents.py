"""Documents read for what they show: blocks, the commands in them, and the output that is shown of each."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_NUMBER = r"(?:\d[\d.,:]*\d|\d)"
_HASH = r"\b(?=[a-f]*\d)[0-9a-f]{12,}\b"


@dataclass(frozen=True)
class Block:
    """One fenced block of a document; `language` is empty where none is named."""

    document: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where it stands, as a message needs it."""
        return f"{self.document}:{self.line}"


@dataclass(frozen=True)
class Shown:
    """One command of a block; `output` is what the document shows of it, None when it shows nothing."""

    block: Block
    text: str
    output: str | None = None


def documents() -> list[Path]:
    """Give all that is written for users and developers."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> list[Block]:
    """Give the fenced blocks of a document, in order."""
    text = path.read_text(encoding="utf-8")
    name = str(path.relative_to(ROOT))
    return [
        Block(name, text.count("\n", 0, match.start()) + 1, match[2], match[3].replace(f"\n{match[1]}", "\n"))
        for match in _FENCED.finditer(text)
    ]


def prose(path: Path) -> str:
    """Give what stands outside of blocks."""
    return _FENCED.sub("", path.read_text(encoding="utf-8"))


def commands(block: Block) -> list[Shown]:
    """Give the commands of a block: each line of a script, or what stands behind `$` with the output below it."""
    if block.language == "sh":
        return [Shown(block, line) for line in _lines(block.text)]
    if block.language in {"", "console"} and block.text.startswith("$ "):
        return list(_session(block))
    return []


def _lines(script: str) -> list[str]:
    whole = script.replace("\\\n", " ")
    stripped = (re.sub(r"(^|\s{2,})#.*$", "", line).strip() for line in whole.splitlines())
    return [re.sub(r"\s+", " ", line) for line in stripped if line]


def _session(block: Block) -> Iterator[Shown]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.replace("\\\n", " ").partition("\n")
        yield Shown(block, re.sub(r"\s+", " ", command.strip()), output.strip() or None)


def has_shape_of(output: str, shown: str) -> bool:
    """Tell whether an output is what is shown but for numbers, hashes, white space and what `...` stands for."""
    pieces = re.split(rf"( ?\.\.\. ?|{_HASH}|{_NUMBER})", " ".join(shown.split()))
    return re.fullmatch("".join(map(_piece, pieces)), " ".join(output.split()), re.DOTALL) is not None


def _piece(text: str) -> str:
    if text.strip() == "...":
        return ".*?"
    if re.fullmatch(_HASH, text):
        return "[0-9a-f]+"
    return _NUMBER if re.fullmatch(_NUMBER, text) else re.escape(text)
