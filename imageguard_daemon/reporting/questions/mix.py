"""Have the reasons changed while the rate did not?

Model and null: `rises.py`, of the rejections for one reason among all rejections, for all images and for each source.
Correction: for all times (there), Bonferroni over reasons and sources. Where the rate rose then, that says it already;
where it fell, other reasons may only have gone, so the reason must be clearly more frequent among all images, too.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.reporting.finding import ADVICE, ALPHA, Finding, evidence_of, group_in_words, subject_of
from imageguard_daemon.reporting.panel import Panel, Patterns
from imageguard_daemon.reporting.questions.change import Changed, moments_of, time_in_words
from imageguard_daemon.reporting.rises import Rise, Rises, is_clear
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

_GROUPS = ((), ("source",))


class _Found(NamedTuple):
    rise: Rise
    chance: float
    where: dict[str, str]
    streams: npt.NDArray[np.bool_]
    reason: str

    def within(self, panel: Panel) -> Tally:
        """Count its images at its time."""
        return panel.tally(self.streams, self.rise.begin, self.rise.end)

    def outside(self, panel: Panel) -> Tally:
        """Count its images at other times."""
        return panel.tally(self.streams).without(self.within(panel))


def reasons_changed(seen: Patterns, settings: "Reporting", changed: Sequence[Changed]) -> list[Finding]:
    """Give the reasons that took the place of others, each cause once."""
    reported: list[_Found] = []
    told = [other.streams for other in changed]
    # The clearest first: it is the cause, the others are parts of it.
    for shift in sorted(_found(seen, settings.min_sample), key=lambda shift: -shift.rise.z):
        if not any((shift.streams & streams).any() for streams in told):
            reported.append(shift)
            told.append(shift.streams)
    return [_finding(shift, seen) for shift in reported]


def _found(seen: Patterns, least: int) -> Iterator[_Found]:
    panel = seen.panel
    for fields in _GROUPS:
        series = seen.series(*fields)
        if fields and len(series.groups) < 2:
            continue
        is_enough = series.rejected.sum(axis=1) >= 2 * least
        looked_at = len(_GROUPS) * len(panel.reasons) * int(np.count_nonzero(is_enough))
        for reason, hits in panel.by_reason(series.groups).items():
            scatter = seen.scatter_of_shares(series.rejected, hits)
            looked = Rises(series.rejected, hits, scatter, least=least)
            for number, rise in enumerate(looked.find(looked_at)):
                if rise is None or rise.chance * looked_at >= ALPHA:
                    continue
                where = dict(zip(fields, series.groups.names[number], strict=True))
                streams = series.groups.of_stream == number
                shift = _Found(rise, rise.chance * looked_at, where, streams, reason)
                if _is_worse(shift, panel):
                    yield shift


def _is_worse(shift: _Found, panel: Panel) -> bool:
    """Check whether the reason did not merely lose the company of others."""
    within = shift.within(panel)
    outside = shift.outside(panel)
    rate_fell = _is_clear(outside.rate, within.rate)
    of_all = (tally.reasons.get(shift.reason, 0) / max(tally.total, 1) for tally in (within, outside))
    return not rate_fell or _is_clear(*of_all)


def _is_clear(rate: float, other: float) -> bool:
    return bool(is_clear(np.array(rate), np.array(other)))


def _finding(shift: _Found, seen: Patterns) -> Finding:
    panel, rise = seen.panel, shift.rise
    within = shift.within(panel)
    outside = shift.outside(panel)
    now = Tally(within.rejected, {shift.reason: within.reasons[shift.reason]})
    then = outside.reasons.get(shift.reason, 0) / max(outside.rejected, 1)
    time, other = time_in_words(rise, panel.slots)
    sentence = (
        f"{group_in_words(shift.where)}: {time}, {percent(now.rate)} of {now.total:,} rejections are for "
        f"{shown(shift.reason)}; {other}, {percent(then)} of {outside.rejected:,}. The rate itself "
        f"{_moved(within.rate, outside.rate)} ({percent(within.rate)}, {other} {percent(outside.rate)})."
    )
    look_at = f"Look at what changed then. {ADVICE.get(shift.reason, '')}".strip()
    evidence = evidence_of(now, then, shift.chance) | moments_of(rise, panel.slots)
    where = shift.where | {"reason": shift.reason}
    return Finding("reasons_changed", subject_of(shift.where), sentence, look_at, evidence, where)


def _moved(rate: float, before: float) -> str:
    if _is_clear(rate, before):
        return "rose, too"
    return "fell" if _is_clear(before, rate) else "hardly changed"
