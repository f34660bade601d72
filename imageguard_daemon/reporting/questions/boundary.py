"""Do images lie just below a threshold, and what would a lower one decide?

Model: of the images of a source rejected for one score alone, a share lacks at most an eighth of its threshold. Null:
half. Correction: Holm over scores and sources. What a lower threshold would decide is tried on them, never supposed.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from imageguard_daemon.audit.columns import Batch
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.core.model import EXPOSURE_LIMITS
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.reporting.finding import ALPHA, Finding, evidence_of, options_of, selected
from imageguard_daemon.reporting.score_stats import NEAR_SHARE, Boundary, lowered
from imageguard_daemon.reporting.simulation import MeasuresOf, Rules, Simulator
from imageguard_daemon.reporting.statistics import chance_above, holm_adjusted
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent, share, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

SOURCES_NAMED = 3
"""So many sources are named in one finding, those with most images first; each has its own command."""
_SIMULATED = frozenset({"source", "class", "since", "until"})
"""What `simulate` can be asked about."""
_IMAGES_AT_ONCE = 20_000
_MAX_ENDS_READ = 20_000
"""Of so many images rejected for exposure the records are read, as roll-ups have only the worse of its two ends."""


@dataclass(frozen=True, slots=True)
class Missed:
    """A source with many images just below a threshold, and what `lowered` in its place would decide.

    `accepts` and `rejects` count the images whose verdict would change; None where nobody has tried it.
    """

    boundary: Boundary
    p_value: float
    accepts: int | None = None
    rejects: int | None = None

    @property
    def lowered(self) -> float:
        """Give the threshold that accepts those that are near, to a tenth."""
        return float(lowered(self.boundary.threshold))


def missed_by_little(boundaries: Sequence[Boundary], settings: "Reporting", burst: float = 1.0) -> tuple[Missed, ...]:
    """Find sources most of whose images rejected for one score alone lie just below its threshold.

    So many images as a `burst` has count as one.
    """
    enough = [one for one in boundaries if one.rejected >= settings.min_sample and one.threshold > 0]
    single = [chance_above(boundary.near, boundary.rejected, settings.mostly_share, burst) for boundary in enough]
    judged = zip(enough, holm_adjusted(single), strict=True)
    return tuple(Missed(boundary, chance) for boundary, chance in judged if chance < ALPHA)


def tried(missed: Sequence[Missed], keys: Keys, batches: Iterable[Batch], measures: MeasuresOf) -> tuple[Missed, ...]:
    """Judge the images that a lower threshold can change again, as `simulate` does; the batches have scores.

    Only the sources that a finding names are tried, and only where it is not known without another look.
    """
    missed = [replace(miss, accepts=miss.boundary.spared, rejects=0) if _is_known(miss) else miss for miss in missed]
    named = [miss for misses in _by_name(missed) for miss in misses[:SOURCES_NAMED]]
    trials = {miss: _Trial(miss, keys, measures) for miss in named if not _is_known(miss)}
    if not trials:
        return tuple(missed)
    chosen = np.any([trial.chosen for trial in trials.values()], axis=0)
    for batch in batches:
        some = batch.where(np.flatnonzero(chosen[batch.keys]))
        for trial in trials.values():
            trial.add(some)
    return tuple(trials[miss].result() if miss in trials else miss for miss in missed)


def _is_known(missed: Missed) -> bool:
    return missed.boundary.spared is not None


class _Trial:
    """One lower threshold for one source."""

    def __init__(self, missed: Missed, keys: Keys, measures: MeasuresOf) -> None:
        self._missed, boundary = missed, missed.boundary
        in_force = Rules({})

        def can_change(key: Key | None) -> bool:
            if key is None or key.source != boundary.source:
                return False
            limits = in_force.thresholds(key.source, key.preset, key.profile) or {}
            return key.verdict != "accepted" or limits.get(boundary.name, math.inf) < missed.lowered

        self._is_wanted = boundary.name not in EXPOSURE_LIMITS or boundary.rejected <= _MAX_ENDS_READ
        self.chosen = np.array([self._is_wanted and can_change(key) for key in keys])
        self._simulator = Simulator(keys, Rules({boundary.name: missed.lowered}), measures)
        self._waiting: list[Batch] = []

    def add(self, batch: Batch) -> None:
        chosen = np.flatnonzero(self.chosen[batch.keys])
        if len(chosen):
            self._waiting.append(batch.where(chosen))
            if sum(map(len, self._waiting)) >= _IMAGES_AT_ONCE:
                self._judge()

    def _judge(self) -> None:
        """Judge many at once: a source has few images of a day, and each call costs as much as some hundred."""
        fields = ("moments", "keys", "flags", "ids", "scores")
        arrays = [np.concatenate([getattr(batch, name) for batch in self._waiting]) for name in fields]
        self._simulator.add(Batch(0, *arrays))
        self._waiting = []

    def result(self) -> Missed:
        if not self._is_wanted:
            return self._missed
        if self._waiting:
            self._judge()
        overall = self._simulator.simulation().overall
        return replace(self._missed, accepts=overall.newly_accepted, rejects=overall.newly_rejected)


def just_below(missed: Iterable[Missed], scope: Scope, settings: "Reporting") -> list[Finding]:
    """Tell of each threshold once, whichever sources have it."""
    return [_finding(misses, scope, settings) for misses in _by_name(missed)]


def _by_name(missed: Iterable[Missed]) -> list[list[Missed]]:
    """Give for each threshold the sources that have it, those with most images first."""
    by_name: defaultdict[str, list[Missed]] = defaultdict(list)
    for miss in missed:
        by_name[miss.boundary.name].append(miss)
    return [sorted(misses, key=lambda miss: (-miss.boundary.near, miss.boundary.source)) for misses in by_name.values()]


def _finding(missed: Sequence[Missed], scope: Scope, settings: "Reporting") -> Finding:
    named, name = missed[:SOURCES_NAMED], missed[0].boundary.name
    hidden = len(missed) - len(named)
    more = [f"So do those of {hidden:,} more {'source' if hidden == 1 else 'sources'}."] if hidden else []
    sentence = " ".join((*map(_sentence, named), *more))
    advice = (_advice(miss, scope) for miss in named)
    near = sum(miss.boundary.near for miss in missed)
    counted = Tally(sum(miss.boundary.rejected for miss in missed), {"": near})
    evidence = evidence_of(counted, settings.mostly_share, min(miss.p_value for miss in missed))
    evidence |= {"threshold": named[0].boundary.threshold, "lowered": named[0].lowered, "sources": len(missed)}
    with_trial = [miss for miss in missed if miss.accepts is not None and miss.rejects is not None]
    if with_trial:
        evidence["would_accept"] = sum(miss.accepts or 0 for miss in with_trial)
        evidence["would_reject"] = sum(miss.rejects or 0 for miss in with_trial)
    look_at = " ".join(("Look at some of them.", *filter(None, advice)))
    scale = next(scale for scale in SCALES if scale.threshold == name)
    where = {"source": named[0].boundary.source} if len(missed) == 1 else {}
    where |= {"reason": scale.issue}
    is_one = len(missed) == 1 and named[0].boundary.is_one
    score = (f"{scale.signal}_score", named[0].lowered, named[0].boundary.threshold) if is_one else None
    return Finding(f"many_just_below_{name}", name, sentence, look_at, evidence, where, score=score)


def _sentence(missed: Missed) -> str:
    boundary = missed.boundary
    counted = (
        f"{share(boundary.near, boundary.rejected)} images rejected for {boundary.name.removesuffix('_score')} alone"
    )
    needed = (
        f"score {boundary.threshold * (1 - NEAR_SHARE):g} or more, where {boundary.threshold:g} is needed"
        if boundary.is_one
        else f"lack at most an eighth of what was needed at their time, mostly {boundary.threshold:g}"
    )
    return f"Source '{shown(boundary.source)}': {counted} ({percent(boundary.near / boundary.rejected)}) {needed}."


def _advice(missed: Missed, scope: Scope) -> str:
    """Say what the lower threshold would decide; nothing where it was not tried, or does more harm than good."""
    boundary = missed.boundary
    if missed.accepts is None or missed.rejects is None:
        return ""
    if missed.accepts <= missed.rejects:
        return (
            f"For source '{shown(boundary.source)}' no one threshold helps: {missed.lowered:g} would accept "
            f"{missed.accepts:,} of them and reject {missed.rejects:,} others, since its thresholds have changed."
        )
    cost = f", and reject {missed.rejects:,} others" if missed.rejects else ""
    # What only a trial tells may accept others, too: of exposure, the worse score is counted, and the other may decide.
    of_these = f"{share(missed.accepts, boundary.rejected)} of these"
    images = of_these if _is_known(missed) else f"{missed.accepts:,} images"
    return f"{_what(missed, scope)} would accept {images} more{cost}."


def _what(missed: Missed, scope: Scope) -> str:
    """Give the command that shows what the lower threshold does, in words where none selects the same images."""
    boundary = missed.boundary
    selection = selected(scope, {"source": missed.boundary.source})
    if not _SIMULATED.issuperset(selection):
        return f"For source '{shown(boundary.source)}' {boundary.name}={missed.lowered:g}"
    return f"`imageguard-daemon simulate ROOT{options_of(selection)} --set {boundary.name}={missed.lowered:g}`"
