"""Counts images by day and key, and folds such counts into whatever a report is grouped by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, cached_property
from operator import attrgetter

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.columns import HOURS_A_DAY, Batch, Key
from imageguard_daemon.audit.counts import PERIODS, Count, Dimension
from imageguard_daemon.audit.rollups import FLAG_DUPLICATE, HOUR_MS

Numbers = npt.NDArray[np.int64]
_EPOCH = date(1970, 1, 1)
_FIELDS = {
    Dimension.class_: "class_name",
    Dimension.reason: "reason",
    Dimension.source: "source",
    Dimension.camera: "camera",
    Dimension.host: "host",
    Dimension.preset: "preset",
}


@dataclass(frozen=True, slots=True)
class Cells:
    """How many images one day (in days since 1970) has of one key, and how many of them were there before.

    All arrays are equally long; a day and a key may come together more than once.
    """

    keys: Sequence[Key | None]
    days: Numbers
    numbers: Numbers
    images: Numbers
    duplicates: Numbers


class CellCounter:
    """Takes batches one after the other; memory grows with days times keys, not with images."""

    def __init__(self, keys: Sequence[Key | None]) -> None:
        self._keys = keys
        self._parts: list[tuple[Numbers, ...]] = []

    def add(self, batch: Batch) -> None:
        """Count the images of a batch."""
        images = np.bincount(batch.keys, minlength=len(self._keys))
        numbers = np.flatnonzero(images)
        again = np.bincount(batch.keys[batch.flags & FLAG_DUPLICATE > 0], minlength=len(self._keys))
        # Half the size: a year of ten million images makes millions of cells.
        parts = (np.full(len(numbers), batch.day), numbers, images[numbers], again[numbers])
        self._parts.append(tuple(part.astype(np.int32) for part in parts))

    def cells(self) -> Cells:
        """Give what was counted."""
        columns = [np.concatenate(column) for column in zip(*self._parts, strict=True)]
        days, numbers, images, duplicates = columns or [np.empty(0, np.int32)] * 4
        return Cells(self._keys, days, numbers, images, duplicates)


class HourCounter:
    """Counts by hour, for one grouping: folds each batch at once, as hours times keys would be too many."""

    def __init__(self, grouping: "Grouping") -> None:
        self._grouping = grouping
        self._codes: list[Numbers] = []
        self._images: list[Numbers] = []

    def add(self, batch: Batch) -> None:
        """Count the images of a batch."""
        size, first = len(self._grouping.groups), batch.day * HOURS_A_DAY
        images = np.bincount((batch.moments // HOUR_MS - first) * size + self._grouping.of_key[batch.keys])
        codes = np.flatnonzero(images)
        self._codes.append(codes + first * size)
        self._images.append(images[codes])

    def counts(self) -> list[Count]:
        """Give what was counted."""
        if not self._codes:
            return []
        codes, images, size = np.concatenate(self._codes), np.concatenate(self._images), len(self._grouping.groups)
        return self._grouping.fold(codes // size, codes % size, images, np.zeros_like(images))


class Grouping:
    """Which keys are one group: `groups` has the verdict, the reason and the labels of each, `of_key` each key's group.

    A period is no part of a key; it comes in when cells are counted.
    """

    def __init__(self, keys: Sequence[Key | None], by: Sequence[Dimension]) -> None:
        self._by = by
        self._period = next((d for d in by if d in PERIODS), None)
        fields = [_FIELDS.get(dimension, "") for dimension in by]
        parts = attrgetter("verdict", "reason", *filter(None, fields))
        found: dict[tuple[str, ...], int] = {}
        of_key = [found.setdefault(parts(key), len(found)) if key else 0 for key in keys]
        self.of_key = np.array(of_key or [0], np.int64)
        self._labels = [self._spread(parts[2:], fields) for parts in found]
        self.groups = list(found)

    @property
    def is_by_hour(self) -> bool:
        """Whether days are too coarse for it."""
        return self._period is Dimension.hour

    @cached_property
    def _label(self) -> Callable[[int], str]:
        return _hour if self._period is Dimension.hour else _day

    def count(self, cells: Cells) -> list[Count]:
        """Count cells; an hour is beyond them."""
        days = cells.days.astype(np.int64)
        if self._period is None:
            days = np.zeros_like(days)
        elif self._period is Dimension.week:
            days -= (days + 3) % 7  # 1 January 1970 was a Thursday: to the Monday before
        return self.fold(days, self.of_key[cells.numbers], cells.images, cells.duplicates)

    def fold(self, periods: Numbers, groups: Numbers, images: Numbers, duplicates: Numbers) -> list[Count]:
        """Add up the images, and those that were there before, of each period and group."""
        size = max(len(self.groups), 1)
        codes, places = np.unique(periods * size + groups, return_inverse=True)
        totals, again = (
            np.bincount(places, weights=part, minlength=len(codes)).astype(np.int64).tolist()
            for part in (images, duplicates)
        )
        return [
            self._count(code // size, code % size, total, repeated)
            for code, total, repeated in zip(codes.tolist(), totals, again, strict=True)
        ]

    def _count(self, period: int, group: int, images: int, duplicates: int) -> Count:
        verdict, reason = self.groups[group][:2]
        before, after = self._labels[group]
        labels = before if self._period is None else (*before, self._label(period), *after)
        return Count(labels, "accepted" if verdict == "accepted" else "quarantined", reason, images, duplicates)

    @staticmethod
    def _spread(labels: tuple[str, ...], fields: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Give the labels before and after the place of the period; without one all are before it."""
        at = fields.index("") if "" in fields else len(fields)
        return labels[:at], labels[at:]


class BatchCounter:
    """Counts batches once for each of several groupings; a grouping has one period at most."""

    def __init__(self, keys: Sequence[Key | None], groupings: Sequence[Sequence[Dimension]]) -> None:
        self._groupings = [Grouping(keys, by) for by in groupings]
        self._cells = CellCounter(keys)
        self._hours = {one: HourCounter(one) for one in self._groupings if one.is_by_hour}

    def add(self, batch: Batch) -> None:
        """Count the images of a batch."""
        self._cells.add(batch)
        for counter in self._hours.values():
            counter.add(batch)

    def counts(self) -> list[list[Count]]:
        """Give what was counted, in the order of the groupings."""
        cells = self._cells.cells()
        return [self._hours[one].counts() if one in self._hours else one.count(cells) for one in self._groupings]


@cache
def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=number)).isoformat()


@cache
def _hour(number: int) -> str:
    day, hour = divmod(number, HOURS_A_DAY)
    return f"{_day(day)}T{hour:02}"
