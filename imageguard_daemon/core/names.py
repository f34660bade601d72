r"""File names are data: any byte but `/` and NUL may be in one, so they are escaped wherever people read them.

Results that programs read (CSV, JSON lines, Parquet) have them as they are. Inside the program a name is a `str` with
surrogate escapes (what `os.fsdecode` gives), so no byte is ever lost.
"""

import os
import re
import sys

_LIVE_IN_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ESCAPE = re.compile(r"\\(\\|x[89a-f][0-9a-f]|u[0-9a-f]{4}|U[0-9a-f]{8})")
NONE = "(none)"
"""How it is shown that there is no name."""
_NAMED_NONE, _SPACE = r"\u0028none)", r"\u0020"
_HIDDEN = re.compile(r"\.imageguard-(\d{1,18})\.(part|aside)")
_FIRST_BYTE_ESCAPE, _LAST_BYTE_ESCAPE = "\udc80", "\udcff"


def printable(name: str) -> str:
    r"""Show a name in the one escaped form used in logs, records, reports and pages.

    Control characters, line separators and invisible formatting become `\u....`, bytes that are not UTF-8 become
    `\x..`, a backslash is doubled: different names never look the same, and none can steer a terminal.
    """
    if name.isprintable() and "\\" not in name:
        return name
    return "".join(map(_escaped, name))


def sidecar_ending(sidecar: str, image: str) -> str:
    """Give what a sidecar's name has after the stem of its image's: `.json`, or `.jpg.json` where it was appended."""
    name, base = os.path.basename(sidecar), os.path.basename(image)
    if name.startswith(f"{base}."):
        return os.path.splitext(base)[1] + name[len(base) :]
    return os.path.splitext(name)[1]


def temporary_name(intent_id: int) -> str:
    """Name the hidden file a copy is made in; recovery finds it by the intent's number."""
    return f".imageguard-{intent_id}.part"


def aside_name(intent_id: int) -> str:
    """Name the hidden file that a copied source is until nobody can write to it; recovery finds it, too."""
    return f".imageguard-{intent_id}.aside"


def hidden_for(name: str) -> tuple[int, str] | None:
    """Say for which intent a file bears a hidden name, and which one, `part` or `aside`; None for other names."""
    match = _HIDDEN.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def number_of_set_aside(name: str) -> int | None:
    """Say by which intent a file of this name was set aside; None when it is no such name."""
    hidden = hidden_for(name)
    return hidden[0] if hidden and name == aside_name(hidden[0]) else None


def forms(name: str) -> set[str]:
    """Give the forms a name may have in the log: escaped from the folder's, or copied from a report or a list."""
    return {printable(name), name, _as_logged(name)} if name.isprintable() else {printable(name)}


def distinct(name: str) -> str:
    r"""Show a name of the log so that what a person reads alike is told apart: never empty, harmless to a terminal.

    None at all is `(none)`, which a name may be: that becomes `\u0028none)`. Spaces at the ends become `\u0020`.
    """
    name = harmless(name)
    if name == NONE:
        return _NAMED_NONE
    inner = name.strip(" ")
    if not name or inner == name:
        return name or NONE
    begin = len(name) - len(name.lstrip(" "))
    return _SPACE * begin + inner + _SPACE * (len(name) - begin - len(inner))


def harmless(name: str) -> str:
    """Give a name of the log, escaped once more only where the log is not ours and it could steer a terminal."""
    return name if name.isprintable() else printable(name)


def _as_logged(shown: str) -> str:
    """Give the name that `distinct` has shown so."""
    if shown == _NAMED_NONE:
        return NONE
    rest = shown
    begin = end = 0
    while rest.startswith(_SPACE):
        rest, begin = rest[len(_SPACE) :], begin + 1
    while rest.endswith(_SPACE) and not _is_escaped(rest, len(rest) - len(_SPACE)):
        rest, end = rest[: -len(_SPACE)], end + 1
    return " " * begin + rest + " " * end


def _is_escaped(text: str, at: int) -> bool:
    """Tell whether the backslash at a place belongs to the one before it: each is doubled in the log."""
    return (at - len(text[:at].rstrip("\\"))) % 2 == 1


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    if _FIRST_BYTE_ESCAPE <= character <= _LAST_BYTE_ESCAPE:
        return f"\\x{ord(character) - 0xDC00:02x}"
    code = ord(character)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def is_text(name: str) -> bool:
    """Tell whether a name is Unicode, and not just bytes: only then JSON and Parquet can have it as it is."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def inert(text: str) -> str:
    """Give a text an apostrophe where a spreadsheet would run it as a formula; `live` takes it away again."""
    return f"'{text}" if _is_live(text.lstrip("'")) else text


def live(text: str) -> str:
    """Give the text that `inert` was given."""
    return text[1:] if text.startswith("'") and _is_live(text.lstrip("'")) else text


def inert_path(path: str) -> str:
    """Give another name of the same file, which no spreadsheet runs as a formula."""
    return f"./{path}" if _is_live(path) else path


def _is_live(text: str) -> bool:
    return text.lstrip(" ").startswith(_LIVE_IN_SPREADSHEETS)


def original(shown: str) -> str:
    """Give the name that `printable` has shown so; what it cannot have shown comes back as it is."""
    return _ESCAPE.sub(_unescaped, shown) if "\\" in shown else shown


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape == "\\":
        return escape
    code = int(escape[1:], 16)
    if escape.startswith("x"):
        return chr(code + 0xDC00)
    return chr(code) if code <= sys.maxunicode else match[0]
