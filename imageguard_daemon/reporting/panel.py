"""Images and rejections of every stream in every slot of time: what the questions of a report are asked of.

A stream is what comes from one host, source and camera of one class by one preset. A slot is a day in a long report, an
hour or a few minutes in a short one, so that there are enough of them to see how counts scatter.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.aggregation import Cells
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.keys import Key, Keys, Numbers, distinct, grouped
from imageguard_daemon.reporting.questions.boundary import Missed
from imageguard_daemon.reporting.scatter import Scatter, own_factors, scatter_of
from imageguard_daemon.reporting.sizes import Bands
from imageguard_daemon.reporting.tallies import Tally

FIELDS = ("class", "source", "camera", "host", "preset")
PAIRS = (("class", "source"), ("class", "camera"), ("source", "camera"))
MAX_SLOTS = 400
"""Longer reports are looked at in coarser steps."""
MAX_CELLS = 2_000_000
"""So many of streams and slots at most: with very many streams, slots are coarser."""
_STRAY_SHARE = 0.001
"""So few images at either end may lie years off: a clock was wrong."""
_ATTRIBUTES = ("class_name", "source", "camera", "host", "preset")

Counts = npt.NDArray[np.float64]


class Slots(NamedTuple):
    """Equal parts of time: slot `n` begins `first_second + n * seconds` after 1970."""

    first_second: int = 0
    seconds: int = 86_400
    number: int = 1

    def begin(self, slot: int) -> int:
        """Give the first second of a slot, or of the one after the last."""
        return self.first_second + slot * self.seconds


@dataclass(frozen=True)
class Groups:
    """Streams taken together by some of FIELDS: `names` of each group, `of_stream` the group of each stream."""

    fields: tuple[str, ...]
    names: Sequence[tuple[str, ...]]
    of_stream: Numbers

    def __len__(self) -> int:
        return len(self.names)

    def sums(self, by_stream: npt.NDArray[np.number]) -> Counts:
        """Add up what streams have: one value, or one for each slot."""
        if by_stream.ndim == 1:
            return np.bincount(self.of_stream, by_stream, minlength=len(self.names)).astype(float)
        slots = by_stream.shape[1]
        places = (self.of_stream[:, None] * slots + np.arange(slots)).ravel()
        summed = np.bincount(places, by_stream.ravel(), minlength=len(self.names) * slots)
        return summed.astype(float).reshape(-1, slots)


class Rejections(NamedTuple):
    """Rejected images: of a stream, in a slot, for a place in `Panel.reasons`."""

    streams: Numbers
    slots: Numbers
    reasons: Numbers
    images: Numbers


@dataclass(frozen=True)
class Panel:
    """All arrays have a row for each stream, and `images`, `rejected`, `borderline` a column for each slot."""

    streams: Sequence[tuple[str, ...]]
    """The values of FIELDS, in their order."""
    slots: Slots
    images: Counts
    rejected: Counts
    borderline: Counts
    duplicates: Numbers
    reasons: Sequence[str]
    rejections: Rejections
    stream_of_key: Numbers
    """The stream of each key, -1 of none."""
    _groups: dict[tuple[str, ...], Groups] = field(default_factory=dict, repr=False)

    def groups(self, *fields: str) -> Groups:
        """Take streams together by these of FIELDS; by none, all of them."""
        if fields not in self._groups:
            columns = list(zip(*self.streams, strict=True))
            chosen = [columns[FIELDS.index(name)] for name in fields]
            names, of_stream = grouped(list(zip(*chosen, strict=True)) if fields else [()] * len(self.streams))
            self._groups[fields] = Groups(fields, names, of_stream)
        return self._groups[fields]

    @cached_property
    def overall(self) -> Tally:
        """All images."""
        return self.tally(np.ones(len(self.streams), bool))

    def tally(self, streams: npt.NDArray[np.bool_], begin: int = 0, end: int | None = None) -> Tally:
        """Count the images of some streams in some slots, with their reasons."""
        end = self.slots.number if end is None else end
        rejections = self.rejections
        wanted = streams[rejections.streams] & (rejections.slots >= begin) & (rejections.slots < end)
        by_reason = np.bincount(rejections.reasons[wanted], rejections.images[wanted], minlength=len(self.reasons))
        reasons = {self.reasons[at]: int(by_reason[at]) for at in np.flatnonzero(by_reason).tolist()}
        total = self.images[streams, begin:end].sum()
        duplicates = self.duplicates[streams].sum()  # by slot nobody counts them
        return Tally(int(total), reasons, int(duplicates))

    def tallies(self, field_name: str) -> dict[str, Tally]:
        """Count the images of each class, source and so on."""
        groups, rejections = self.groups(field_name), self.rejections
        totals = groups.sums(self.images.sum(axis=1))
        again = groups.sums(self.duplicates)
        reasons: list[Counter[str]] = [Counter() for _ in groups.names]
        size = max(len(self.reasons), 1)
        codes = groups.of_stream[rejections.streams] * size + rejections.reasons
        for code, images in enumerate(np.bincount(codes, rejections.images).astype(int).tolist()):
            if images:
                reasons[code // size][self.reasons[code % size]] = images
        return {
            name: Tally(int(total), dict(why), int(twice))
            for (name,), total, why, twice in zip(groups.names, totals, reasons, again, strict=True)
        }

    def tallies_of_slots(self) -> list[Tally]:
        """Count the images of each slot, with their reasons."""
        counted = {reason: of_groups[0] for reason, of_groups in self.by_reason(self.groups()).items()}
        return [
            Tally(int(images), {reason: int(slots[at]) for reason, slots in counted.items() if slots[at]})
            for at, images in enumerate(self.images.sum(axis=0).tolist())
        ]

    def by_reason(self, groups: Groups) -> Mapping[str, Counts]:
        """Give the rejections of each group in each slot, for each reason."""
        return {reason: self.rejected_for(reason, groups) for reason in self.reasons}

    def rejected_for(self, reason: str, groups: Groups) -> Counts:
        """Give the rejections of each group in each slot for one reason."""
        rejections, slots = self.rejections, self.slots.number
        wanted = rejections.reasons == self.reasons.index(reason)
        codes = groups.of_stream[rejections.streams[wanted]] * slots + rejections.slots[wanted]
        counted = np.bincount(codes, rejections.images[wanted], minlength=len(groups) * slots)
        return counted.astype(float).reshape(-1, slots)


def panel_of(cells: Cells, most_slots: int = MAX_SLOTS) -> Panel:
    """Arrange what was counted by slot and key."""
    within, slots, of_slot = _slots(cells, number_of_streams(cells), most_slots)
    numbers, images = cells.numbers[within], cells.images[within]
    named = _named(cells.keys, distinct(numbers))
    # Half the size: there may be a million cells.
    of_stream = named.stream_of_key.astype(np.int32)[numbers]
    why = named.reason_of_key.astype(np.int32)[numbers]
    is_rejected = why >= 0
    shape = (max(len(named.streams), 1), slots.number)
    places = of_stream * np.int64(slots.number) + of_slot

    def counted(weights: npt.NDArray[np.number]) -> Counts:
        return np.bincount(places, weights, minlength=shape[0] * shape[1]).astype(float).reshape(shape)

    return Panel(
        streams=named.streams or [("",) * len(FIELDS)],
        slots=slots,
        images=counted(images),
        rejected=counted(images * is_rejected),
        borderline=counted(cells.borderline[within]),
        duplicates=np.bincount(of_stream, cells.duplicates[within], minlength=shape[0]).astype(np.int64),
        reasons=tuple(named.reasons),
        rejections=Rejections(*(part[is_rejected].astype(np.int64) for part in (of_stream, of_slot, why, images))),
        stream_of_key=named.stream_of_key,
    )


class _Named(NamedTuple):
    """The streams and reasons there are, and which of them each key has; -1 is none."""

    streams: list[tuple[str, ...]]
    reasons: list[str]
    stream_of_key: Numbers
    reason_of_key: Numbers


def _named(keys: Keys, numbers: Numbers) -> _Named:
    every, of_key = keys.groups(*_ATTRIBUTES)
    numbers = numbers[of_key[numbers] >= 0]
    # In the order of their names: numbers of keys follow the order in which they were first seen, findings must not.
    in_use = sorted(distinct(of_key[numbers]).tolist(), key=every.__getitem__)
    places = np.full(len(every), -1, np.int64)
    places[in_use] = np.arange(len(in_use))
    stream_of_key = np.full(len(keys), -1, np.int64)
    stream_of_key[numbers] = places[of_key[numbers]]
    reasons, reason_of_key = _reasons(keys, numbers, stream_of_key)
    return _Named([every[at] for at in in_use], reasons, stream_of_key, reason_of_key)


def _reasons(keys: Keys, numbers: Numbers, stream_of_key: Numbers) -> tuple[list[str], Numbers]:
    """Give the reasons in the order in which streams have them, those of one stream by name, and that of each key."""
    every, of_key = keys.groups("reason")
    rejected = numbers[~keys.where("verdict", ["accepted"])[numbers]]
    rank = np.argsort(sorted(range(len(every)), key=every.__getitem__))
    ordered = rejected[np.lexsort((rank[of_key[rejected]], stream_of_key[rejected]))]
    in_use = list(dict.fromkeys(of_key[ordered].tolist()))
    places = np.full(len(every), -1, np.int64)
    places[in_use] = np.arange(len(in_use))
    reason_of_key = np.full(len(keys), -1, np.int64)
    reason_of_key[rejected] = places[of_key[rejected]]
    return [every[at][0] for at in in_use], reason_of_key


def number_of_streams(cells: Cells) -> int:
    """Count the streams of what was counted; a log may have keys of others, of long ago."""
    _, of_key = cells.keys.groups(*_ATTRIBUTES)
    streams = of_key[distinct(cells.numbers)]
    return len(distinct(streams[streams >= 0]))


def _slots(cells: Cells, streams: int, most_slots: int) -> tuple[npt.NDArray[np.bool_], Slots, Numbers]:
    """Say which cells count, and give the slots and the slot of each of those."""
    if not len(cells.slots):
        return np.ones(0, bool), Slots(), np.empty(0, np.int64)
    times = cells.slots.astype(np.int64)
    first, last = int(times.min()), int(times.max())
    if last - first >= 2 * most_slots:
        # A clock that was years off once would make a single slot of all other times.
        distinct, places = np.unique(times, return_inverse=True)
        summed = np.bincount(places, cells.images).cumsum()
        begin, end = np.searchsorted(summed, np.array([_STRAY_SHARE, 1 - _STRAY_SHARE]) * summed[-1]).tolist()
        first = int(distinct[begin])
        last = int(distinct[min(end, len(distinct) - 1)])
    most = max(1, min(most_slots, MAX_CELLS // max(streams, 1)))
    step = math.ceil((last - first + 1) / most)
    number = math.ceil((last - first + 1) / step)
    within = (times >= first) & (times <= last)
    seconds = cells.slot_ms // 1_000
    return within, Slots(first * seconds, step * seconds, number), (times[within] - first) // step


def panel_of_tallies(tallies: Iterable[tuple[Mapping[str, str], Tally]]) -> Panel:
    """Arrange counts without times: those of a folder that was judged in place."""
    keys: list[Key | None] = []
    rows: list[tuple[int, int]] = []
    for names, tally in tallies:
        values = {attribute: names.get(name, "") for attribute, name in zip(_ATTRIBUTES, FIELDS, strict=True)}
        rejected = [("quarantined", reason, images) for reason, images in tally.reasons.items()]
        counts = [("accepted", "", tally.total - tally.rejected), *rejected]
        for at, (verdict, reason, number) in enumerate(counts):
            rows.append((number, tally.duplicates if at == 0 else 0))
            keys.append(Key(**values, profile="", verdict=verdict, reason=reason, scorer_version=""))
    images, duplicates = (np.array([row[at] for row in rows], np.int64) for at in (0, 1))
    nothing = np.zeros(len(rows), np.int64)
    return panel_of(Cells(Keys.numbered(keys), nothing, np.arange(len(rows)), images, duplicates, nothing))


class Series(NamedTuple):
    """Groups with their counts by slot; `effects` says how many images count as one, and `factors` how many more."""

    groups: Groups
    images: Counts
    rejected: Counts
    effects: Counts
    factors: Counts


@dataclass(frozen=True)
class Patterns:
    """The counts of a report with what its pass over the scores saw; all but `panel` may be missing."""

    panel: Panel
    missed: Sequence[Missed] = ()
    """Thresholds that many images miss by little."""
    bands: Mapping[str, Bands] = field(default_factory=dict)
    """Small images of one size, for `source` and `class`."""
    by_one_rule: Counts | None = None
    """Rejections of each stream by the thresholds of most images, where not all were judged by the same."""
    newest: npt.NDArray[np.int64] | None = None
    """The newest rejected decision of each stream, 0 of none."""
    end_second: float | None = None
    """When the report ends, if it does so after its last image, in seconds since 1970."""
    of_a_log: bool = True
    """Whether they are of a log, not of a folder judged in place."""
    scope: Scope = field(default_factory=Scope)
    """Which decisions the report is on, for commands that are to be about the same."""
    _series: dict[tuple[str, ...], Series] = field(default_factory=dict, repr=False)

    @cached_property
    def scatter(self) -> Scatter:
        """How far rejections scatter beyond chance."""
        return scatter_of(self.panel.images, self.panel.rejected)

    def scatter_of_shares(self, images: Counts, hits: Counts) -> Scatter:
        """Estimate the scatter of other shares; a burst shares its reasons as it shares its verdict."""
        own = scatter_of(images, hits)
        return replace(own, burst=max(own.burst, self.scatter.burst))

    def series(self, *fields: str) -> Series:
        """Take streams together by some of FIELDS, with how far they scatter."""
        if fields not in self._series:
            groups = self.panel.groups(*fields)
            images = groups.sums(self.panel.images)
            rejected = groups.sums(self.panel.rejected)
            effects = self.scatter.effects(images, rejected.sum(axis=1) / np.maximum(images.sum(axis=1), 1))
            self._series[fields] = Series(groups, images, rejected, effects, own_factors(images, rejected, effects))
        return self._series[fields]

    def effects_at(self, limit: float, *fields: str) -> dict[tuple[str, ...], float]:
        """Give for each group how many of its images count as one where its rate is checked against a limit."""
        series = self.series(*fields)
        effects = self.scatter.effects_at(series.images, limit) * series.factors
        return dict(zip(series.groups.names, effects.tolist(), strict=True))

    @cached_property
    def effect(self) -> float:
        """How many images count as one where all are taken together."""
        whole = self.panel.images.sum(axis=0, keepdims=True)
        rate = self.panel.rejected.sum() / max(whole.sum(), 1)
        return float(self.scatter.effects(whole, np.array([rate]))[0])

    def example_of(self, streams: npt.NDArray[np.bool_]) -> int:
        """Give the newest rejected decision of some streams; 0 if none is known."""
        return int(self.newest[streams].max(initial=0)) if self.newest is not None else 0
