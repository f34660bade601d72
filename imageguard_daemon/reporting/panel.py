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
        # One number for group and slot, as bincount takes: it is many times as fast as np.add.at.
        places = self.of_stream[:, None] * slots + np.arange(slots)
        summed = np.bincount(places.ravel(), by_stream.ravel(), minlength=len(self.names) * slots)
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
            # Of no columns zip makes no rows, while all streams together are one group.
            values = list(zip(*chosen, strict=True)) if fields else [()] * len(self.streams)
            names, of_stream = grouped(values)
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
        in_time = (rejections.slots >= begin) & (rejections.slots < end)
        wanted = streams[rejections.streams] & in_time
        why = rejections.reasons[wanted]
        by_reason = np.bincount(why, rejections.images[wanted], minlength=len(self.reasons))
        with_images = np.flatnonzero(by_reason).tolist()
        reasons = {self.reasons[at]: int(by_reason[at]) for at in with_images}
        total = self.images[streams, begin:end].sum()
        duplicates = self.duplicates[streams].sum()  # by slot nobody counts them
        return Tally(int(total), reasons, int(duplicates))

    def tallies(self, field_name: str) -> dict[str, Tally]:
        """Count the images of each class, source and so on."""
        groups, rejections = self.groups(field_name), self.rejections
        totals = groups.sums(self.images.sum(axis=1))
        again = groups.sums(self.duplicates)
        reasons: list[Counter[str]] = [Counter() for _ in groups.names]
        # One number for group and reason: all of them are counted in a single pass.
        size = max(len(self.reasons), 1)
        codes = groups.of_stream[rejections.streams] * size + rejections.reasons
        counted = np.bincount(codes, rejections.images).astype(int)
        for code in np.flatnonzero(counted).tolist():
            group, reason = divmod(code, size)
            reasons[group][self.reasons[reason]] = int(counted[code])
        return {
            name: Tally(int(total), dict(why), int(twice))
            for (name,), total, why, twice in zip(groups.names, totals, reasons, again, strict=True)
        }

    def tallies_of_slots(self) -> list[Tally]:
        """Count the images of each slot, with their reasons."""
        everything = self.groups()
        counted = {reason: of_groups[0] for reason, of_groups in self.by_reason(everything).items()}
        tallies = []
        for at, images in enumerate(self.images.sum(axis=0).tolist()):
            reasons = {reason: int(slots[at]) for reason, slots in counted.items() if slots[at]}
            tallies.append(Tally(int(images), reasons))
        return tallies

    def by_reason(self, groups: Groups) -> Mapping[str, Counts]:
        """Give the rejections of each group in each slot, for each reason."""
        return {reason: self.rejected_for(reason, groups) for reason in self.reasons}

    def rejected_for(self, reason: str, groups: Groups) -> Counts:
        """Give the rejections of each group in each slot for one reason."""
        rejections, slots = self.rejections, self.slots.number
        wanted = rejections.reasons == self.reasons.index(reason)
        of_group = groups.of_stream[rejections.streams[wanted]]
        codes = of_group * slots + rejections.slots[wanted]
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
    streams = max(len(named.streams), 1)
    shape = (streams, slots.number)
    # In 64 bits, which many streams times many slots need.
    places = of_stream * np.int64(slots.number) + of_slot

    def counted(weights: npt.NDArray[np.number]) -> Counts:
        sums = np.bincount(places, weights, minlength=streams * slots.number)
        return sums.astype(float).reshape(shape)

    duplicates = np.bincount(of_stream, cells.duplicates[within], minlength=streams)
    rejected = [part[is_rejected].astype(np.int64) for part in (of_stream, of_slot, why, images)]
    return Panel(
        streams=named.streams or [("",) * len(FIELDS)],
        slots=slots,
        images=counted(images),
        rejected=counted(images * is_rejected),
        borderline=counted(cells.borderline[within]),
        duplicates=duplicates.astype(np.int64),
        reasons=tuple(named.reasons),
        rejections=Rejections(*rejected),
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
    in_use = distinct(of_key[numbers]).tolist()
    in_use.sort(key=every.__getitem__)
    stream_of_key = _renumbered(of_key, numbers, in_use)
    reasons, reason_of_key = _reasons(keys, numbers, stream_of_key)
    streams = [every[at] for at in in_use]
    return _Named(streams, reasons, stream_of_key, reason_of_key)


def _reasons(keys: Keys, numbers: Numbers, stream_of_key: Numbers) -> tuple[list[str], Numbers]:
    """Give the reasons in the order in which streams have them, those of one stream by name, and that of each key."""
    every, of_key = keys.groups("reason")
    is_accepted = keys.where("verdict", ["accepted"])
    rejected = numbers[~is_accepted[numbers]]
    by_name = sorted(range(len(every)), key=every.__getitem__)
    rank = np.argsort(by_name)
    order = np.lexsort((rank[of_key[rejected]], stream_of_key[rejected]))
    ordered = of_key[rejected[order]].tolist()
    in_use = list(dict.fromkeys(ordered))
    names = [every[at][0] for at in in_use]
    return names, _renumbered(of_key, rejected, in_use)


def _renumbered(of_key: Numbers, numbers: Numbers, in_use: Sequence[int]) -> Numbers:
    """Give the place among those in use of what these numbers have; -1 to all other numbers."""
    places = np.full(max(in_use, default=0) + 1, -1, np.int64)
    places[in_use] = np.arange(len(in_use))
    renumbered = np.full(len(of_key), -1, np.int64)
    renumbered[numbers] = places[of_key[numbers]]
    return renumbered


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
        first, last = _without_strays(times, cells.images)
    most = max(1, min(most_slots, MAX_CELLS // max(streams, 1)))
    step = math.ceil((last - first + 1) / most)
    number = math.ceil((last - first + 1) / step)
    within = (times >= first) & (times <= last)
    seconds = cells.slot_ms // 1_000
    slots = Slots(first * seconds, step * seconds, number)
    return within, slots, (times[within] - first) // step


def _without_strays(times: Numbers, images: Numbers) -> tuple[int, int]:
    """Give the first and the last time but for a few images at either end."""
    # A clock that was years off once would make a single slot of all other times.
    found, places = np.unique(times, return_inverse=True)
    summed = np.bincount(places, images).cumsum()
    ends = np.array([_STRAY_SHARE, 1 - _STRAY_SHARE]) * summed[-1]
    begin, end = np.searchsorted(summed, ends).tolist()
    last = min(end, len(found) - 1)
    return int(found[begin]), int(found[last])


def panel_of_tallies(tallies: Iterable[tuple[Mapping[str, str], Tally]]) -> Panel:
    """Arrange counts without times: those of a folder that was judged in place."""
    keys: list[Key | None] = []
    rows: list[tuple[int, int]] = []
    for names, tally in tallies:
        values = {attribute: names.get(name, "") for attribute, name in zip(_ATTRIBUTES, FIELDS, strict=True)}
        counts = [("accepted", "", tally.total - tally.rejected)]
        counts += [("quarantined", reason, images) for reason, images in tally.reasons.items()]
        for at, (verdict, reason, number) in enumerate(counts):
            # With the first one: how many came again is known of all together.
            rows.append((number, tally.duplicates if at == 0 else 0))
            keys.append(Key(**values, profile="", verdict=verdict, reason=reason, scorer_version=""))
    images, duplicates = (np.array([row[at] for row in rows], np.int64) for at in (0, 1))
    nothing = np.zeros(len(rows), np.int64)
    numbers = np.arange(len(rows))
    return panel_of(Cells(Keys.numbered(keys), nothing, numbers, images, duplicates, nothing))


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
            rates = rejected.sum(axis=1) / np.maximum(images.sum(axis=1), 1)
            effects = self.scatter.effects(images, rates)
            factors = own_factors(images, rejected, effects)
            self._series[fields] = Series(groups, images, rejected, effects, factors)
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
