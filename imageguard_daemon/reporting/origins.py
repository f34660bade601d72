"""Findings about where rejections come from: one source or camera, one threshold, files that are sent again."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from imageguard_daemon.reporting.finding import ALPHA, CLEARLY_HIGHER, DOUBT, Finding, evidence_of, reason_in_words
from imageguard_daemon.reporting.rates import large_enough
from imageguard_daemon.reporting.statistics import chance_of_at_least, chance_of_difference, holm_adjusted
from imageguard_daemon.reporting.survey import NEAR_POINTS, Borderline
from imageguard_daemon.reporting.tallies import Tally, together
from imageguard_daemon.reporting.wording import limit_percent, percent, share, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

_LOOK_AT = {
    "source": "Look at what delivers to this inbox; the others need no change.",
    "camera": "Look at this camera, its settings and where it stands.",
}


def behind_most(what: str, tallies: Mapping[str, Tally], settings: "Reporting") -> list[Finding]:
    """Tell which source or camera is behind most rejections, beyond its share of the images."""
    everything = together(tallies.values())
    if len(tallies) < 2 or everything.rejected < settings.min_sample:
        return []
    named = {name: one for name, one in large_enough(tallies, settings).items() if name}
    chances = holm_adjusted([_chance_of_more(one, everything) for one in named.values()])
    return [
        _behind_most(what, name, one, everything, settings.mostly_share)
        for (name, one), chance in zip(named.items(), chances, strict=True)
        if chance < ALPHA and _is_behind_most(one, everything, settings.mostly_share)
    ]


def _chance_of_more(one: Tally, everything: Tally) -> float:
    others = everything.without(one)
    return chance_of_difference((one.rejected, one.total), (others.rejected, others.total))


def _is_behind_most(one: Tally, everything: Tally, limit: float) -> bool:
    of_rejected, of_all = one.rejected / everything.rejected, one.total / everything.total
    beyond = chance_of_at_least(one.rejected, everything.rejected, limit) < DOUBT
    return beyond and of_rejected >= CLEARLY_HIGHER * of_all


def _behind_most(what: str, name: str, one: Tally, everything: Tally, limit: float) -> Finding:
    of_rejected = Tally(everything.rejected, {"": one.rejected})
    chance = chance_of_at_least(one.rejected, everything.rejected, limit)
    sentence = (
        f"{what.capitalize()} '{shown(name)}' is behind {share(one.rejected, everything.rejected)} rejections "
        f"({percent(of_rejected.rate)}), {reason_in_words(one)}, with {percent(one.total / everything.total)} of the "
        "images."
    )
    more = {"images": one.total, "share_of_images": one.total / everything.total}
    evidence = evidence_of(of_rejected, limit, chance) | more
    return Finding(f"one_{what}_behind_most", name, sentence, _LOOK_AT[what], evidence)


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


def arriving_again(sources: Mapping[str, Tally], settings: "Reporting") -> list[Finding]:
    """Tell which sources send what was there before."""
    enough = large_enough(sources, settings)
    limit = settings.duplicate_share_limit
    chances = holm_adjusted([chance_of_at_least(one.duplicates, one.total, limit) for one in enough.values()])
    return [
        _arriving_again(name, Tally(one.total, {"": one.duplicates}), limit, chance)
        for (name, one), chance in zip(enough.items(), chances, strict=True)
        if chance < ALPHA
    ]


def _arriving_again(name: str, again: Tally, limit: float, chance: float) -> Finding:
    sentence = (
        f"Source '{shown(name)}': {share(again.rejected, again.total)} images ({percent(again.rate)}) had been filed "
        f"before, byte for byte; the limit is {limit_percent(limit)}."
    )
    look_at = "Look at whether a job sends its files again, or collects the same images twice."
    return Finding("duplicates_arriving_again", name, sentence, look_at, evidence_of(again, limit, chance))
