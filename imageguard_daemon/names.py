r"""File names are data: any byte but `/` and NUL may be in one, so they are escaped wherever people read them.

Results that programs read (CSV, JSON lines, Parquet) have them as they are. Inside the program a name is a `str` with
surrogate escapes (what `os.fsdecode` gives), so no byte is ever lost.
"""

import os
import re
import sys

_LIVE_IN_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_ESCAPE = re.compile(r"\\(\\|x[89a-f][0-9a-f]|u[0-9a-f]{4}|U[0-9a-f]{8})")
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


def forms(name: str) -> set[str]:
    """Give the forms a name may have in the log: escaped from the folder's, or copied from a report."""
    return {printable(name), name} if name.isprintable() else {printable(name)}


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
