"""Do images lie just below a threshold, or more and more of them near one?

Model of the first: of the images rejected for one score alone, a share lies within a few points of its threshold. Null:
half. Model of the second: `rises.py`, of images near a threshold among all. Correction: Holm over scores; over sources.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imageguard_daemon.reporting.finding import ALPHA, Finding, evidence_of
from imageguard_daemon.reporting.statistics import chance_of_at_least, holm_adjusted
from imageguard_daemon.reporting.survey import NEAR_POINTS, Borderline
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.wording import percent, share

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting


def just_below(borderline: Mapping[str, Borderline], settings: "Reporting") -> list[Finding]:
    """Tell which threshold rejects images that mostly lie just below it."""
    found = {name: Tally(one.rejected, {"": one.near}) for name, one in borderline.items()}
    enough = {name: one for name, one in found.items() if one.total >= settings.min_sample}
    limit = settings.mostly_share
    chances = holm_adjusted([chance_of_at_least(one.rejected, one.total, limit) for one in enough.values()])
    return [
        _just_below(name, one, borderline[name].threshold, evidence_of(one, limit, chance))
        for (name, one), chance in zip(enough.items(), chances, strict=True)
        if chance < ALPHA
    ]


def _just_below(name: str, near: Tally, threshold: float, evidence: dict[str, float]) -> Finding:
    signal = name.removesuffix("_score")
    sentence = (
        f"{share(near.rejected, near.total)} images rejected for {signal} alone ({percent(near.rate)}) lie within "
        f"{NEAR_POINTS:g} points of its threshold, {threshold:g}."
    )
    look_at = (
        f"Look at some of them; `simulate --set {name}={max(threshold - NEAR_POINTS, 0):g}` shows what a lower "
        "threshold would accept."
    )
    return Finding(f"many_just_below_{name}", name, sentence, look_at, evidence | {"threshold": threshold})
