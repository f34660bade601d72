"""Have the reasons changed while the rate did not?

Model and null: `rises.py`, of the rejections for one reason among all rejections, for all images and for each source.
Correction: for all times (there), Bonferroni over reasons and sources. Where the rate rose then, that says it already.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.reporting.finding import ADVICE, ALPHA, Finding, evidence_of, group_in_words, subject_of
from imageguard_daemon.reporting.patterns import Patterns
from imageguard_daemon.reporting.questions.change import Changed, spoken
from imageguard_daemon.reporting.rises import Rise, Rises
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.wording import percent, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

_GROUPS = ((), ("source",))


class _Found(NamedTuple):
    rise: Rise
    chance: float
    where: dict[str, str]
    chosen: npt.NDArray[np.bool_]
    reason: str


def reasons_changed(seen: Patterns, settings: "Reporting", changed: Sequence[Changed]) -> list[Finding]:
    """Give the reasons that took the place of others, each cause once."""
    told: list[_Found] = []
    for one in sorted(_found(seen, settings.min_sample), key=lambda each: -each.rise.z):
        before = (*(each.chosen for each in told), *(each.chosen for each in changed))
        if not any((one.chosen & chosen).any() for chosen in before):
            told.append(one)
    return [_finding(one, seen) for one in told]


def _found(seen: Patterns, least: int) -> Iterator[_Found]:
    panel = seen.panel
    for fields in _GROUPS:
        series = seen.series(*fields)
        if fields and len(series.groups) < 2:
            continue
        looked_at = len(_GROUPS) * len(panel.reasons) * int((series.rejected.sum(axis=1) >= 2 * least).sum())
        for reason, hits in panel.by_reason(series.groups).items():
            scatter = seen.scatter_of_shares(series.rejected, hits)
            for number, rise in enumerate(Rises(series.rejected, hits, scatter, least=least).find()):
                if rise and rise.chance * looked_at < ALPHA:
                    where = dict(zip(fields, series.groups.names[number], strict=True))
                    chosen = series.groups.of_stream == number
                    yield _Found(rise, rise.chance * looked_at, where, chosen, reason)


def _finding(one: _Found, seen: Patterns) -> Finding:
    panel, rise = seen.panel, one.rise
    within = panel.tally(one.chosen, rise.begin, rise.end)
    before = panel.tally(one.chosen, 0, rise.begin)
    now = Tally(within.rejected, {one.reason: within.reasons[one.reason]})
    then = before.reasons.get(one.reason, 0) / max(before.rejected, 1)
    lasts = rise.end == panel.slots.number
    until = "" if lasts else f" until before {spoken(panel.slots, rise.end)}"
    sentence = (
        f"{group_in_words(one.where)}: {'since' if lasts else 'from'} {spoken(panel.slots, rise.begin)}{until}, "
        f"{percent(now.rate)} of {now.total:,} rejections are for {shown(one.reason)}; before, {percent(then)} of "
        f"{before.rejected:,}. The rate itself hardly changed ({percent(within.rate)}, before {percent(before.rate)})."
    )
    look_at = f"Look at what changed then. {ADVICE.get(one.reason, '')}".strip()
    moments = {"since": panel.slots.begin(rise.begin)} | ({} if lasts else {"until": panel.slots.begin(rise.end)})
    evidence = evidence_of(now, then, one.chance) | moments
    return Finding(
        "reasons_changed", subject_of(one.where), sentence, look_at, evidence, one.where | {"reason": one.reason}
    )
