"""The page of what programs may call, from signatures and docstrings.

Nothing is imported for it, so that no extra need be installed.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "imageguard_daemon"

_HEAD = """\
# Library

<!-- written by: python -m reference -->

What programs may call. Names that are not on this page may change without notice.
"""


@dataclass(frozen=True)
class Part:
    """Names of one module that are public."""

    title: str
    text: str
    module: str
    names: tuple[str, ...]
    shown_from: str = ""


PARTS: tuple[Part, ...] = (
    Part("Judge an image", "", "quality/validation.py", ("validate",), "imageguard_daemon"),
    Part("What comes back", "", "core/model.py", ("Decision",), "imageguard_daemon"),
    Part(
        "PyTorch",
        "How they behave is in [PyTorch: training on good images only](pytorch.md).",
        "integrations/pytorch.py",
        ("ValidatedImageFolder", "ValidatedImageDataset", "Rejected"),
    ),
    Part("", "", "integrations/verdicts.py", ("Judging",)),
    Part(
        "Score a shard",
        "An example is in [Judging millions of existing images](backfill.md#by-itself).",
        "batch/backfill/scoring.py",
        ("score_shard",),
    ),
    Part("", "", "batch/backfill/shards.py", ("Shard", "Line", "Terms", "Reading")),
    Part(
        "Act on rejected images",
        "An example is in [Reviewing what was rejected](quarantine.md).",
        "config_file.py",
        ("load",),
    ),
    Part("", "", "review/acting.py", ("acting_on", "release", "confirm", "undo", "purge")),
    Part("", "", "review/values.py", ("Reviewer", "Reviewed")),
)


def library_page() -> str:
    """Give the page."""
    parts = [_HEAD]
    for part in PARTS:
        parts += [f"## {part.title}\n"] if part.title else []
        parts += [f"{part.text}\n"] if part.text else []
        parts += _described(part)
    return "\n".join(parts)


def _described(part: Part) -> Iterator[str]:
    tree = ast.parse((PACKAGE / part.module).read_text(encoding="utf-8"))
    found = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    home = part.shown_from or f"imageguard_daemon.{part.module.removesuffix('.py').replace('/', '.')}"
    for name in part.names:
        node = found[name]
        yield f"### {name}\n"
        yield f"`from {home} import {name}`\n"
        yield f"```py\n{_signature(node)}\n```\n"
        yield f"{_docstring(ast.get_docstring(node) or '')}\n"
        if isinstance(node, ast.ClassDef):
            yield from _members(node)


def _signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.ClassDef):
        made = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        return _call(node.name, _arguments(made), "") if made else _call(node.name, list(_fields(node)), "")
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return _call(node.name, _arguments(node), returns)


def _arguments(node: ast.FunctionDef) -> list[str]:
    """Give each parameter as text, without `self`."""
    text = ast.unparse(node.args)
    parts = re.split(r", (?=(?:\*{0,2}\w+:|\*(?:,|$)))", text)
    return [re.sub(r"^(\w+: [^=]+)=", r"\1 = ", part) for part in parts if part != "self"]


def _fields(node: ast.ClassDef) -> Iterator[str]:
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and not one.target.id.startswith("_"):
            default = f" = {ast.unparse(one.value)}" if one.value is not None else ""
            yield f"{one.target.id}: {ast.unparse(one.annotation)}{default}"


def _call(name: str, arguments: list[str], returns: str) -> str:
    line = f"{name}({', '.join(arguments)}){returns}"
    if len(line) <= 88:
        return line
    inner = "".join(f"    {one},\n" for one in arguments)
    return f"{name}(\n{inner}){returns}"


def _docstring(text: str) -> str:
    """Give a docstring as Markdown: sections as lists."""
    parts = []
    for part in text.split("\n\n"):
        head, _, rest = part.partition("\n")
        if re.fullmatch(r"[A-Z][a-z]+:", head) and rest:
            items = re.split(r"\n(?=\S)", textwrap.dedent(rest))
            listed = (re.sub(r"^([\w, ]+):", _as_code, " ".join(item.split())) for item in items)
            parts.append(f"**{head}**\n\n" + "\n".join(f"- {item}" for item in listed))
        else:
            parts.append(part)
    return "\n\n".join(parts) + "\n"


def _as_code(match: re.Match[str]) -> str:
    return ", ".join(f"`{name.strip()}`" for name in match[1].split(",")) + ":"


def _members(node: ast.ClassDef) -> Iterator[str]:
    """Describe the public properties and methods of a class, one line each."""
    members = [
        one
        for one in node.body
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_") and ast.get_docstring(one)
    ]
    if members:
        yield "".join(f"- `{one.name}`: {(ast.get_docstring(one) or '').splitlines()[0]}\n" for one in members)
