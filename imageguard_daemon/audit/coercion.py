"""Makes rows of SQLite, which takes any value anywhere, fit columns that do not. Pure.

What the daemon writes fits as it is. Rows that others wrote, or that were damaged, may hold text with NUL characters or
bytes that are not UTF-8, or a text where a number belongs.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum, auto
from typing import Any

from imageguard_daemon.core.model import MAX_INT64, MIN_INT64
from imageguard_daemon.core.names import printable


class Kind(StrEnum):
    """What a column can hold."""

    integer = auto()
    number = auto()
    text = auto()
    json = auto()
    blob = auto()


class MisfitError(Exception):
    """A value cannot be made to fit; the message says which."""


def fitted(row: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """Give a row's values as its columns take them; a text is escaped, as names are, where it cannot be as it is.

    Raises:
        MisfitError: another value does not fit.
    """
    values = {}
    for name, kind in kinds.items():
        value = row.get(name)
        try:
            values[name] = None if value is None else _FITTERS[kind](value)
        except (TypeError, ValueError) as error:
            raise MisfitError(f"{name}: {error}") from error
    return values


def _integer(value: object) -> int:
    if not isinstance(value, int) or not MIN_INT64 <= value <= MAX_INT64:
        raise TypeError(f"{type(value).__name__} where an integer belongs")
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{type(value).__name__} where a number belongs")
    return float(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where a text belongs")
    return value if _is_plain(value) else printable(value)


def _json(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} where JSON belongs")
    return value if _is_plain(value) else json.dumps(json.loads(value))


def _blob(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} where bytes belong")
    return value


def _is_plain(text: str) -> bool:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return "\0" not in text


_FITTERS: Mapping[Kind, Callable[[object], Any]] = {
    Kind.integer: _integer,
    Kind.number: _number,
    Kind.text: _text,
    Kind.json: _json,
    Kind.blob: _blob,
}
