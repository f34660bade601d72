"""What many images have in common, numbered: a report has ten thousand such keys, whose texts are compared once."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


class Key(NamedTuple):
    """What many images have in common."""

    host: str
    source: str
    class_name: str
    camera: str
    preset: str
    profile: str
    verdict: str
    reason: str
    scorer_version: str


class Keys:
    """The keys by their numbers, from 0 to the last one; a number that is not in use has None."""

    def __init__(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take rows of a number and the fields of its key."""
        numbers, *columns = zip(*rows, strict=True) if rows else ((), *[()] * len(Key._fields))
        self._in_use = np.array(numbers, np.int64)
        self._columns: dict[str, tuple[str, ...]] = dict(zip(Key._fields, columns, strict=True))
        self._row_of = np.full(self._in_use.max(initial=0) + 1, -1, np.int64)
        self._row_of[self._in_use] = np.arange(len(rows))
        self._groups: dict[tuple[str, ...], tuple[list[tuple[str, ...]], Numbers]] = {}

    @classmethod
    def numbered(cls, keys: Iterable[Key | None]) -> Self:
        """Take keys in the order of their numbers, from 0 on."""
        return cls([(number, *key) for number, key in enumerate(keys) if key])

    def __len__(self) -> int:
        return len(self._row_of)

    def __getitem__(self, number: int) -> Key | None:
        row = self._row_of[number]
        return Key._make(column[row] for column in self._columns.values()) if row >= 0 else None

    def __iter__(self) -> Iterator[Key | None]:
        return (self[number] for number in range(len(self)))

    def names(self, field: str) -> set[str]:
        """Give all values that a field has."""
        return set(self._columns[field])

    def groups(self, *fields: str) -> tuple[list[tuple[str, ...]], Numbers]:
        """Take keys together by some of their fields, in the order in which their numbers first have them.

        Given are the values of each group, and the group of each number, -1 of one that is not in use.
        """
        if fields not in self._groups:
            groups, of_row = grouped(list(zip(*(self._columns[field] for field in fields), strict=True)))
            of_number = np.full(len(self), -1, np.int64)
            of_number[self._in_use] = of_row
            self._groups[fields] = groups, of_number
        return self._groups[fields]

    def where(self, field: str, wanted: Iterable[str]) -> npt.NDArray[np.bool_]:
        """Say which numbers have one of these values in a field."""
        groups, of_number = self.groups(field)
        names = set(wanted)
        # One more, False, for numbers that are not in use: their place is -1.
        is_wanted = np.array([*(name in names for (name,) in groups), False])
        return np.asarray(is_wanted[of_number])


def grouped(values: Sequence[tuple[str, ...]]) -> tuple[list[tuple[str, ...]], Numbers]:
    """Give the different values in the order in which they come, and the place of each value among them."""
    # Without a loop of ours: with one, those over ten thousand keys were most of a server's first report.
    different = list(dict.fromkeys(values))
    places = dict(zip(different, range(len(different)), strict=True))
    return different, np.fromiter(map(places.__getitem__, values), np.int64, len(values))


def distinct(numbers: npt.NDArray[np.integer[Any]]) -> Numbers:
    """Give the numbers there are, in their order; none is below 0, nor very large."""
    # Not np.unique: before its first answer it loads numpy.ma, which no other part of a report needs.
    return np.flatnonzero(np.bincount(numbers))
