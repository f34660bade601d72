"""Which classes, sources, cameras, hosts, presets and pairs of them are rejected more often than the others?

Model: a group's rejections are binomial, with the scatter that neighbouring times show (`scatter.py`). Null: it has the
rate of all others. Where sources have different thresholds, all are judged by those of most images, by the recorded
scores. Correction: Bonferroni, an equal part for each kind of group. What explains most comes first and is set aside,
and the rest looked at again: two bad groups do not hide one another, nor is a bad source reported for each class of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.keys import distinct
from imageguard_daemon.reporting.finding import (
    ALPHA,
    DOUBT,
    Finding,
    Shows,
    evidence_against,
    evidence_of,
    group_in_words,
    named_in_words,
    rejected_in_words,
    subject_of,
)
from imageguard_daemon.reporting.panel import FIELDS, PAIRS, Counts, Groups, Patterns
from imageguard_daemon.reporting.questions.level import LOOK_AT, advice_on, advice_on_reason
from imageguard_daemon.reporting.rises import is_clear
from imageguard_daemon.reporting.scatter import MIN_SLOTS
from imageguard_daemon.reporting.statistics import chance_above, chance_of_at_least, chance_with_scatter, with_doubt
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent, share, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

MAX_REPORTED = 20
"""More groups than this are reported by none: a person acts on the first of them."""
_MIN_BURSTS = 2
_PROMISING = 2.5
_CLOSE = 0.9
"""Of groups that fit nearly as well the simplest is reported: a class rather than the pair with its only source."""
_LOOKED_AT = 8
SMALL_CLASS, SMALL_CHANCE = 20, 0.01
"""Classes with so many images or fewer are looked at together; one of so many of them may seem bad by chance."""
_OF_PAIR = "Look at these images alone: neither has the fault elsewhere."


@dataclass(frozen=True, slots=True)
class Different:
    """A group that differs: its streams, how many of `total` were rejected by one rule, and so of the others.

    `apart_from` are groups reported before that it has streams in common with; those are not among `streams`.
    """

    where: Mapping[str, str]
    streams: npt.NDArray[np.bool_]
    total: int
    rejected: int
    others_total: int
    others_rejected: int
    chance: float
    effect: float = 1.0
    """How many images count as one."""
    apart_from: tuple[Mapping[str, str], ...] = ()


def differing(seen: Patterns, settings: "Reporting") -> Iterator[tuple[Different, Finding]]:
    """Give the groups that differ, what explains most first."""
    search = _Search(seen, settings.min_sample)
    for _ in range(MAX_REPORTED):
        group = search.next()
        if group is None:
            return
        yield group, _finding(group, seen, settings)


class _Candidates:
    """The groups of one kind, with their design effects. `looked_at` is what each probability is corrected for."""

    looked_at = 1

    def __init__(self, groups: Groups, seen: Patterns) -> None:
        self.groups = groups
        series = seen.series(*groups.fields)
        self.effects = series.effects * series.factors
        # Images without a class are a group of their own; those without a camera or a source are not.
        may_be_empty = [field == "class" for field in groups.fields]
        self.allowed = np.array(
            [all(name or may for name, may in zip(names, may_be_empty, strict=True)) for names in groups.names]
        )


class _Search:
    """Finds one group after the other, each in what those before leave."""

    def __init__(self, seen: Patterns, least: int) -> None:
        panel = seen.panel
        self._images = panel.images.sum(axis=1)
        self._rejected = panel.rejected.sum(axis=1) if seen.by_one_rule is None else seen.by_one_rule
        self._least = least
        self._alive = np.ones(len(panel.streams), bool)
        self._reported: list[Different] = []
        singles = [panel.groups(name) for name in FIELDS]
        self._kinds = [_Candidates(group, seen) for group in singles if len(group) > 1]
        several = {group.fields[0] for group in singles if len(group) > 1}
        pairs = (panel.groups(*pair) for pair in PAIRS if several.issuperset(pair))
        self._kinds += [_Candidates(kind, seen) for kind in pairs]
        for kind in self._kinds:
            kind.looked_at = len(self._kinds) * int((kind.groups.sums(self._images) >= least).sum())
        self._degrees = seen.scatter.degrees

    def next(self) -> Different | None:
        """Give the group that differs most, and set it aside."""
        images = self._images * self._alive
        rejected = self._rejected * self._alive
        whole = (images.sum(), rejected.sum())
        promising = sorted(self._promising(images, rejected, whole), key=lambda candidate: -candidate[0])
        for kind, number in self._simplest_first(promising[:_LOOKED_AT]):
            group = self._different(kind, number, images, rejected)
            if group.chance < ALPHA:
                self._alive &= ~group.streams
                self._reported.append(group)
                return group
        return None

    def _promising(
        self, images: Counts, rejected: Counts, whole: tuple[float, float]
    ) -> Iterator[tuple[float, int, int]]:
        for at, kind in enumerate(self._kinds):
            n = kind.groups.sums(images)
            y = kind.groups.sums(rejected)
            total, rejections = whole
            others = total - n
            other_y = rejections - y
            pooled = rejections / max(total, 1)
            with np.errstate(invalid="ignore", divide="ignore"):  # groups without images are left out below
                rate = y / n
                other_rate = other_y / others
                variance = pooled * (1 - pooled) * kind.effects * (1 / n + 1 / others)
                z = (rate - other_rate) / np.sqrt(variance)
                has_bursts = y >= _MIN_BURSTS * kind.effects
                is_unlike = kind.allowed & is_clear(rate, other_rate) & has_bursts
            has_enough = (n >= self._least) & (others >= self._least)
            is_unlike &= has_enough & (z >= _PROMISING)
            for number in np.flatnonzero(is_unlike).tolist():
                yield float(z[number]), at, number

    def _simplest_first(self, promising: Sequence[tuple[float, int, int]]) -> Iterator[tuple[_Candidates, int]]:
        if not promising:
            return
        highest, *_ = promising[0]
        close = [candidate for candidate in promising if candidate[0] >= _CLOSE * highest]
        first = min(close, key=self._simplicity)
        others = (candidate for candidate in promising if candidate is not first)
        for _, kind, number in (first, *others):
            yield self._kinds[kind], number

    def _simplicity(self, candidate: tuple[float, int, int]) -> tuple[int, int, float]:
        z, kind, _ = candidate
        return len(self._kinds[kind].groups.fields), kind, -z

    def _different(self, kind: _Candidates, number: int, images: Counts, rejected: Counts) -> Different:
        whole = kind.groups.of_stream == number
        streams = whole & self._alive
        n = images[streams].sum()
        y = rejected[streams].sum()
        others = images.sum() - n
        other_y = rejected.sum() - y
        effect = float(kind.effects[number])
        exact = chance_with_scatter((y, n), (other_y, others), effect)
        chance = with_doubt(exact, self._degrees) * kind.looked_at
        where = dict(zip(kind.groups.fields, kind.groups.names[number], strict=True))
        counts = (int(n), int(y), int(others), int(other_y))
        apart_from = tuple(group.where for group in self._reported if (group.streams & whole).any())
        return Different(where, streams, *counts, min(1.0, chance), effect, apart_from)


def _finding(different: Different, seen: Patterns, settings: "Reporting") -> Finding:
    tally = seen.panel.tally(different.streams)
    limits = {"class": settings.class_rate_limit, "source": settings.rejection_rate_limit}
    limit = limits.get("".join(different.where))
    above = limit is not None and chance_above(tally.rejected, tally.total, limit, different.effect) < DOUBT
    kind = {"class": "class_consistently_rejected", "source": "source_high_rejection_rate"} if above else {}
    others = Tally(different.others_total, {"": different.others_rejected})
    name = kind.get(next(iter(different.where)), "differs_from_others")
    subject = subject_of(different.where) if name == "differs_from_others" else next(iter(different.where.values()))
    excess = different.rejected - different.total * others.rate
    group = f"{group_in_words(different.where)}{_apart_from(different)}"
    return Finding(
        name,
        subject,
        f"{group}: {_counted(tally, different, others)}, {excess:,.0f} more than expected.",
        _look_at(different, tally, seen),
        evidence_against(tally, others, different.chance) | {"excess": excess},
        different.where,
        example_id=seen.example_of(different.streams),
    )


def _look_at(group: Different, tally: Tally, seen: Patterns) -> str:
    if len(group.where) > 1:
        return f"{_OF_PAIR}{advice_on_reason(tally)}"
    [(field, name)] = group.where.items()
    if field not in {"class", "source"}:
        return LOOK_AT[field]
    source = _same_source(group, seen) if field == "class" else None
    return advice_on((field, name), tally, group.effect, seen, source)


def _same_source(group: Different, seen: Patterns) -> str | None:
    """Give the source, one of several, that delivers this class alone and no other."""
    groups = seen.panel.groups("source")
    numbers = distinct(groups.of_stream[group.streams]).tolist()
    if len(numbers) > 1 or len(groups) == 1:
        return None
    [number] = numbers
    if not np.array_equal(groups.of_stream == number, group.streams):
        return None
    return groups.names[int(number)][0]


def _apart_from(group: Different) -> str:
    """Say what was reported before and is not counted again."""
    return f", apart from {named_in_words(group.apart_from)}" if group.apart_from else ""


def _counted(tally: Tally, group: Different, others: Tally) -> str:
    text = rejected_in_words(tally) if tally.rejected else f"none of {tally.total:,} images was rejected"
    if group.rejected == tally.rejected:
        return f"{text}; other images: {percent(others.rate)} of {others.total:,}"
    return (
        f"{text}; by the thresholds of most images {share(group.rejected, group.total)} would be, of others "
        f"{percent(others.rate)} of {others.total:,}"
    )


def small_classes(seen: Patterns, settings: "Reporting", reported: npt.NDArray[np.bool_]) -> list[Finding]:
    """Tell of many classes with few images that lose most of them: each alone proves nothing, together they do.

    `reported` are the streams that other findings are about. Model: each class is rejected at the rate of all, in
    bursts. Null: of so many small classes, one in SMALL_CHANCE has so many rejections by chance (its binomial tail);
    their number is binomial.
    """
    groups = seen.panel.groups("class")
    whole = seen.panel.tally(~reported)
    n = groups.sums(seen.panel.images.sum(axis=1) * ~reported)
    y = groups.sums(seen.panel.rejected.sum(axis=1) * ~reported)
    is_named = np.array([bool(name) for (name,) in groups.names])
    small = np.flatnonzero((n > 0) & (n <= SMALL_CLASS) & is_named)
    rate = max(whole.rate, 0.01)
    if rate >= 0.5:  # that is told of all
        return []
    effects = np.maximum(seen.scatter.burst, _a_slot(groups, seen, ~reported))
    mostly_rejected = [at for at in small.tolist() if y[at] * 2 > n[at]]
    bad = [at for at in mostly_rejected if _is_odd(n[at], y[at], rate, float(effects[at]))]
    chance = chance_of_at_least(len(bad), len(small), SMALL_CHANCE)
    # Some lose most of them by chance: told is of several times as many.
    least = max(settings.min_sample, 3 * SMALL_CHANCE * len(small))
    if len(bad) < least or chance >= ALPHA:
        return []
    streams = np.isin(groups.of_stream, bad) & ~reported
    tally = seen.panel.tally(streams)
    excess = tally.rejected - tally.total * rate
    worst = sorted(bad, key=lambda at: -y[at])[:3]
    names = ", ".join(f"'{shown(groups.names[at][0])}'" for at in worst)
    sentence = (
        f"Of {len(small):,} classes with {SMALL_CLASS} images or fewer, {len(bad):,} lose most of them, such as "
        f"{names}: {rejected_in_words(tally)}, {excess:,.0f} more than expected."
    )
    evidence = evidence_of(tally, rate, chance) | {"excess": excess, "classes": len(bad), "small_classes": len(small)}
    look_at = "Look at what these classes have in common: who collected them, from where."
    return [Finding("small_classes_rejected", "small classes", sentence, look_at, evidence, shows=Shows.nothing)]


def _a_slot(groups: Groups, seen: Patterns, streams: npt.NDArray[np.bool_]) -> Counts:
    """Give how many images of each group come at a time: what came together is one delivery, whatever its size.

    A class may have no other time, so that nothing else says how far its own images share their verdict.
    """
    images = groups.sums(seen.panel.images * streams[:, None])
    if seen.panel.slots.number < MIN_SLOTS:
        return np.ones(len(images))
    mean: Counts = images.sum(axis=1) / np.maximum((images > 0).sum(axis=1), 1)
    return mean


def _is_odd(images: float, rejected: float, rate: float, burst: float) -> bool:
    return chance_above(rejected, max(images, burst), rate, burst) < SMALL_CHANCE
