"""Do more and more images lie near a threshold?

Model: `rises.py`, of images near a threshold among all. Null: their share stays. Correction: Bonferroni over sources.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from imageguard_daemon.reporting.finding import ALPHA, Finding, Shows, evidence_of, group_in_words, subject_of
from imageguard_daemon.reporting.panel import Counts
from imageguard_daemon.reporting.patterns import Patterns
from imageguard_daemon.reporting.questions.change import Changed, spoken
from imageguard_daemon.reporting.rises import Rise, Rises, with_drift
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

_GROUPS = ((), ("source",))


def more_near_thresholds(seen: Patterns, settings: "Reporting", changed: Sequence[Changed]) -> list[Finding]:
    """Tell where more and more images lie near a threshold: what comes next is a change of the rate."""
    told: list[Finding] = []
    taken = [one.chosen for one in changed]
    for fields in _GROUPS:
        groups = seen.panel.groups(*fields)
        if fields and len(groups) < 2:
            continue
        images, near = groups.sums(seen.panel.images), groups.sums(seen.panel.borderline)
        looked_at = len(_GROUPS) * int((images.sum(axis=1) >= 2 * settings.min_sample).sum())
        looked = Rises(images, near, seen.scatter_of_shares(images, near), least=settings.min_sample)
        for number, rise in enumerate(looked.find(looked_at)):
            chosen = groups.of_stream == number
            lasts = rise is not None and rise.end == seen.panel.slots.number
            if rise and lasts and rise.chance * looked_at < ALPHA and not any((chosen & each).any() for each in taken):
                taken.append(chosen)
                where = dict(zip(fields, groups.names[number], strict=True))
                told.append(_more_near(where, rise, (images[number], near[number]), seen, rise.chance * looked_at))
    return told


def _more_near(
    where: Mapping[str, str], rise: Rise, counts: tuple[Counts, Counts], seen: Patterns, chance: float
) -> Finding:
    rise = with_drift(rise, *counts)
    slots = seen.panel.slots
    (n, y), (others, other_y) = (
        [int(part[chosen].sum()) for part in counts] for chosen in (slice(rise.begin, None), slice(0, rise.begin))
    )
    now, before = Tally(n, {"": y}), Tally(others, {"": other_y})
    sentence = (
        f"{group_in_words(where)}: since {spoken(slots, rise.begin)}, {percent(now.rate)} of {n:,} images lie near a "
        f"threshold, where good and bad ones mix; before, {percent(before.rate)} of {others:,}."
    )
    look_at = "Look at them before the rate rises: `quarantine list --borderline` and the page show the rejected ones."
    evidence = evidence_of(now, before.rate, chance) | {"since": slots.begin(rise.begin)}
    return Finding("more_near_threshold", subject_of(where), sentence, look_at, evidence, where, shows=Shows.page)
