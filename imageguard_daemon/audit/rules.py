"""What a record of a log is outside of SQLite: values that fit typed columns, and one number among all logs. Pure.

SQLite takes any value anywhere. What the daemon writes fits as it is. Rows that others wrote, or that were damaged, may
hold text with NUL characters or bytes that are not UTF-8, or a text where a number belongs.

In the fleet's database every record is called by one number: that of its log, shifted by forty bits, plus its id in
the log. A log that was put back from a backup and written on is a branch: what it has in common with the log that it
was already exists and keeps its numbers; what came after is told apart by the branch's own.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum, auto
from types import MappingProxyType
from typing import Any

from imageguard_daemon.core.model import MAX_INT64, MIN_INT64
from imageguard_daemon.core.names import printable

ID_BITS = 40
"""A trillion records for each log. With up to 8,191 logs, numbers stay exact in programs that only have doubles."""
LARGEST_ID = (1 << ID_BITS) - 1


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


@dataclass(frozen=True, slots=True)
class Branch:
    """One log as the fleet knows it; `fork_ids` are the last ids it has in common with its parent, by table."""

    number: int
    parent: "Branch | None" = None
    fork_sequence: int = 0
    fork_ids: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def of_link(self, sequence: int) -> "Branch":
        """Give the branch that has a link of the chain."""
        branch = self
        while branch.parent is not None and sequence <= branch.fork_sequence:
            branch = branch.parent
        return branch

    def number_of(self, table: str, record_id: int) -> int:
        """Give the number that a record has in the fleet's database.

        Raises:
            ValueError: no log of ours gives out such an id.
        """
        if not 0 <= record_id <= LARGEST_ID:
            raise ValueError(f"the id {record_id} is out of range")
        branch = self
        while branch.parent is not None and record_id <= branch.fork_ids.get(table, 0):
            branch = branch.parent
        return branch.number << ID_BITS | record_id
