"""Counts images by day and key, and folds such counts into whatever a report is grouped by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, cached_property

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.columns import DAY_MS, HOURS_A_DAY, Batch
from imageguard_daemon.audit.counts import PERIODS, Count, Dimension
from imageguard_daemon.audit.keys import Keys, Numbers
from imageguard_daemon.audit.rollups import FLAG_BORDERLINE, FLAG_DUPLICATE, HOUR_MS

_EPOCH = date(1970, 1, 1)
_DENSE = 4
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
    """How many images one slot of time has of one key, how many were there before, how many lie near a threshold.

    `slots` are `slot_ms` long and counted from 1970; a day has a whole number of them. All arrays are equally long; a
    slot and a key may come together more than once.
    """

    keys: Keys
    slots: Numbers
    numbers: Numbers
    images: Numbers
    duplicates: Numbers
    borderline: Numbers
    slot_ms: int = DAY_MS

    def images_of_keys(self) -> Numbers:
        """Count the images of each key."""
        return np.bincount(self.numbers, self.images, minlength=len(self.keys)).astype(np.int64)

    @property
    def days(self) -> Numbers:
        """The day of each cell, counted from 1970."""
        return self.slots.astype(np.int64) // (DAY_MS // self.slot_ms)


class CellCounter:
    """Takes batches one after the other; memory grows with slots times keys, not with images."""

    def __init__(self, keys: Keys, slot_ms: int = DAY_MS) -> None:
        self._keys = keys
        self._slot_ms = slot_ms
        self._parts: list[tuple[npt.NDArray[np.int32], ...]] = []

    def add(self, batch: Batch) -> None:
        """Count the images of a batch."""
        if self._slot_ms == DAY_MS:
            self._add_day(batch)
            return
        # One number for slot and key: of a short report all slots are counted in a single pass.
        codes = batch.moments // self._slot_ms * len(self._keys) + batch.keys
        counted, places = _with_places(codes)
        slots, numbers = np.divmod(counted, len(self._keys))
        flags = (np.ones(len(batch)), batch.flags & FLAG_DUPLICATE > 0, batch.flags & FLAG_BORDERLINE > 0)
        self._keep(slots, numbers, *(np.bincount(places, of_images) for of_images in flags))

    def _add_day(self, batch: Batch) -> None:
        images = self._images_of_keys(batch.keys)
        duplicates = self._images_of_keys(batch.keys[batch.flags & FLAG_DUPLICATE > 0])
        borderline = self._images_of_keys(batch.keys[batch.flags & FLAG_BORDERLINE > 0])
        numbers = np.flatnonzero(images)
        slots = np.full(len(numbers), batch.day)
        self._keep(slots, numbers, images[numbers], duplicates[numbers], borderline[numbers])

    def _keep(self, *columns: npt.NDArray[np.number]) -> None:
        # Half the size: a year of ten million images makes millions of cells.
        self._parts.append(tuple(column.astype(np.int32) for column in columns))

    def _images_of_keys(self, keys: npt.NDArray[np.uint32]) -> Numbers:
        return np.bincount(keys, minlength=len(self._keys))

    def cells(self) -> Cells:
        """Give what was counted."""
        columns = [np.concatenate(column) for column in zip(*self._parts, strict=True)]
        self._parts = [tuple(columns)] if columns else []
        slots, numbers, images, duplicates, borderline = columns or [np.empty(0, np.int32)] * 5
        return Cells(self._keys, slots, numbers, images, duplicates, borderline, self._slot_ms)


class HourCounter:
    """Counts by hour, for one grouping: folds each batch at once, as hours times keys would be too many."""

    def __init__(self, grouping: "Grouping") -> None:
        self._grouping = grouping
        self._codes: list[Numbers] = []
        self._images: list[Numbers] = []

    def add(self, batch: Batch) -> None:
        """Count the images of a batch."""
        size = len(self._grouping.groups)
        first_hour = batch.day * HOURS_A_DAY
        hours = batch.moments // HOUR_MS - first_hour
        # One number for hour and group: to count small ones takes a single pass.
        images = np.bincount(hours * size + self._grouping.of_key[batch.keys])
        codes = np.flatnonzero(images)
        self._codes.append(codes + first_hour * size)
        self._images.append(images[codes])

    def counts(self) -> list[Count]:
        """Give what was counted."""
        if not self._codes:
            return []
        codes = np.concatenate(self._codes)
        images = np.concatenate(self._images)
        hours, groups = np.divmod(codes, len(self._grouping.groups))
        return self._grouping.fold(hours, groups, images, np.zeros_like(images))


class Grouping:
    """Which keys are one group: `groups` has the verdict, the reason and the labels of each, `of_key` each key's group.

    A period is not a part of a key; it comes in when cells are counted.
    """

    def __init__(self, keys: Keys, by: Sequence[Dimension]) -> None:
        self._period = next((d for d in by if d in PERIODS), None)
        fields = [_FIELDS[dimension] for dimension in by if dimension not in PERIODS]
        self.groups, of_key = keys.groups("verdict", "reason", *fields)
        self.of_key = np.maximum(of_key, 0)  # a log that lost a key still has a report
        self._place = by.index(self._period) if self._period else len(by)
        """Where in the labels of a count the period stands."""

    @property
    def is_by_hour(self) -> bool:
        """Whether days are too coarse for it."""
        return self._period is Dimension.hour

    @cached_property
    def _label(self) -> Callable[[int], str]:
        return _hour if self._period is Dimension.hour else _day

    def count(self, cells: Cells) -> list[Count]:
        """Count cells; an hour is beyond them."""
        days = cells.days
        if self._period is None:
            days = np.zeros_like(days)
        elif self._period is Dimension.week:
            days -= (days + 3) % 7  # 1 January 1970 was a Thursday: to the Monday before
        return self.fold(days, self.of_key[cells.numbers], cells.images, cells.duplicates)

    def fold(self, periods: Numbers, groups: Numbers, images: Numbers, duplicates: Numbers) -> list[Count]:
        """Add up the images, and those that were there before, of each period and group."""
        size = max(len(self.groups), 1)
        codes, places = _with_places(periods * size + groups)

        def summed(numbers: Numbers) -> list[int]:
            sums: list[int] = np.bincount(places, numbers, minlength=len(codes)).astype(np.int64).tolist()
            return sums

        counted = zip(codes.tolist(), summed(images), summed(duplicates), strict=True)
        return [self._count(code // size, code % size, total, again) for code, total, again in counted]

    def _count(self, period: int, group: int, images: int, duplicates: int) -> Count:
        verdict, reason, *labels = self.groups[group]
        if self._period is not None:
            labels.insert(self._place, self._label(period))
        return Count(tuple(labels), "accepted" if verdict == "accepted" else "quarantined", reason, images, duplicates)


class BatchCounter:
    """Counts batches once for each of several groupings; a grouping has one period at most."""

    def __init__(self, keys: Keys, groupings: Sequence[Sequence[Dimension]], slot_ms: int = DAY_MS) -> None:
        self._groupings = [Grouping(keys, by) for by in groupings]
        self._counted = CellCounter(keys, slot_ms)
        self._hours = {grouping: HourCounter(grouping) for grouping in self._groupings if grouping.is_by_hour}

    def add(self, batch: Batch) -> None:
        """Count the images of a batch."""
        self._counted.add(batch)
        for counter in self._hours.values():
            counter.add(batch)

    @cached_property
    def cells(self) -> Cells:
        """What was counted, to be asked for when all was added."""
        return self._counted.cells()

    def counts(self) -> list[list[Count]]:
        """Give what was counted, in the order of the groupings."""
        cells = self.cells
        return [
            self._hours[grouping].counts() if grouping in self._hours else grouping.count(cells)
            for grouping in self._groupings
        ]


def _with_places(codes: Numbers) -> tuple[Numbers, Numbers]:
    """Give the codes there are, in their order, and the place of each code among them."""
    first = int(codes.min(initial=0))
    reach = int(codes.max(initial=0)) - first + 1
    if reach > _DENSE * len(codes):
        found, places = np.unique(codes, return_inverse=True)
        return found, places
    there = np.bincount(codes - first) > 0  # with few codes in between, to count is much faster than to sort
    return np.flatnonzero(there) + first, (there.cumsum() - 1)[codes - first]


@cache
def _day(number: int) -> str:
    return (_EPOCH + timedelta(days=number)).isoformat()


@cache
def _hour(number: int) -> str:
    day, hour = divmod(number, HOURS_A_DAY)
    return f"{_day(day)}T{hour:02}"
