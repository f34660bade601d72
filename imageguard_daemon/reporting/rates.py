"""Findings about rates: too high overall, for a source, for a class; and reasons behind most rejections."""

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

from imageguard_daemon.names import printable
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.reporting.finding import (
    ADVICE,
    ALPHA,
    CLEARLY_HIGHER,
    DOUBT,
    Finding,
    evidence_of,
    rejected_in_words,
)
from imageguard_daemon.reporting.statistics import (
    chance_of_at_least,
    chance_of_difference,
    holm_adjusted,
    wilson_interval,
)
from imageguard_daemon.reporting.tallies import Tally, together
from imageguard_daemon.reporting.wording import limit_percent, percent, share, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

LEAST_OF_A_SOURCE = 30
"""From so many images on a source can be one that thresholds do not fit; a bad first delivery has often fewer."""
OF_THRESHOLDS = frozenset(scale.issue for scale in SCALES)
"""The reasons that other thresholds would change."""


def high_rejection_rate(overall: Tally, settings: "Reporting") -> list[Finding]:
    """Tell when the overall rate is above its limit."""
    chance = chance_above(overall, settings.rejection_rate_limit)
    if overall.total < settings.min_sample or chance >= DOUBT:
        return []
    sentence = f"{rejected_in_words(overall)}; the limit is {limit_percent(settings.rejection_rate_limit)}."
    look_at = (
        "Look at some of them: if they are fine, the thresholds are too strict; if not, something is wrong "
        "where images come from."
    )
    evidence = evidence_of(overall, settings.rejection_rate_limit, chance)
    return [Finding("high_rejection_rate", "all images", sentence, look_at, evidence)]


def mostly_rejected_sources(
    sources: Mapping[str, Tally], settings: "Reporting", *, of_a_log: bool = True
) -> list[Finding]:
    """Tell which sources lose most of their images to one reason that is a matter of thresholds."""
    limit = settings.mostly_share
    judged = {
        name: Tally(one.total, {one.top_reason: one.reasons[one.top_reason]})
        for name, one in large_enough(sources, settings).items()
        if one.total >= LEAST_OF_A_SOURCE and one.top_reason in OF_THRESHOLDS
    }
    chances = holm_adjusted([chance_above(one, limit) for one in judged.values()])
    return [
        _mostly_rejected(name, one, evidence_of(one, limit, chance), of_a_log=of_a_log)
        for (name, one), chance in zip(judged.items(), chances, strict=True)
        if chance < DOUBT and wilson_interval(one.rejected, one.total)[0] > limit
    ]


def _mostly_rejected(name: str, one: Tally, evidence: dict[str, float], *, of_a_log: bool) -> Finding:
    what = f"Source '{shown(name)}': " if of_a_log else ""
    reason = one.top_reason
    counted = f"{share(one.rejected, one.total)} images ({percent(one.rate)})"
    # Whether the images or the thresholds are wrong nobody can tell from the scores: that is for people to say.
    if of_a_log:
        source = shlex.quote(printable(name))
        command = f"`imageguard-daemon calibrate --log ROOT --source {source}` proposes thresholds from the log"
    else:
        command = "`imageguard-daemon calibrate FOLDER` proposes thresholds from them"
    look_at = (
        f"Look at some of them: if they are fine for you, the thresholds do not fit this source, and {command}. If "
        f"they are not: {ADVICE[reason][0].lower()}{ADVICE[reason][1:]}"
    )
    sentence = f"{what}{counted} were rejected for one reason, {shown(reason)}."
    return Finding("source_mostly_rejected", name, sentence, look_at, evidence)


def high_source_rates(sources: Mapping[str, Tally], settings: "Reporting") -> list[Finding]:
    """Tell which of several sources are above the limit, the worst first."""
    if len(sources) < 2:  # nothing that the overall rate does not say
        return []
    limit = settings.rejection_rate_limit
    judged = large_enough(sources, settings)
    chances = holm_adjusted([chance_above(tally, limit) for tally in judged.values()])
    return [
        Finding(
            "source_high_rejection_rate",
            name,
            f"Source '{shown(name)}': {rejected_in_words(tally)}; the limit is {limit_percent(limit)}.",
            "Look at what delivers to this inbox.",
            evidence_of(tally, limit, chance),
        )
        for (name, tally), chance in zip(judged.items(), chances, strict=True)
        if chance < ALPHA
    ]


def rejected_classes(classes: Mapping[str, Tally], settings: "Reporting") -> list[Finding]:
    """Tell which classes are consistently rejected, held against the others."""
    if not any(classes):  # images without a class are no class, unless there are others
        return []
    limit = settings.class_rate_limit
    judged = large_enough(classes, settings)
    compared = _compared(classes, settings)
    chances = holm_adjusted([_chance_of_class(tally, compared[name], limit) for name, tally in judged.items()])
    return [
        _class_finding(name, tally, compared[name], evidence_of(tally, limit, chance))
        for (name, tally), chance in zip(judged.items(), chances, strict=True)
        if chance < ALPHA and chance_above(tally, limit) < DOUBT and _stands_out(tally, compared[name])
    ]


def _compared(classes: Mapping[str, Tally], settings: "Reporting") -> dict[str, Tally]:
    """Give for each class what it is compared with: the others together, or nothing if they are too few.

    Others that are themselves above the limit are left out if enough images remain; else two bad classes
    would hide each other.
    """
    above = {name for name, tally in classes.items() if chance_above(tally, settings.class_rate_limit) < DOUBT}
    everything = together(classes.values())
    ordinary = together(tally for name, tally in classes.items() if name not in above)
    compared = {}
    for name, tally in classes.items():
        choices = (ordinary if name in above else ordinary.without(tally), everything.without(tally))
        compared[name] = next((each for each in choices if each.total >= settings.min_sample), Tally())
    return compared


def _stands_out(tally: Tally, others: Tally) -> bool:
    return tally.rate >= CLEARLY_HIGHER * others.rate


def _class_finding(name: str, tally: Tally, others: Tally, evidence: dict[str, float]) -> Finding:
    subject = f"Class '{shown(name)}'" if name else "Images without a class"
    contrast = f"; other classes: {percent(others.rate)} of {others.total:,}" if others.total else ""
    look_at = "Look at how this class is collected: a model could learn the flaw as the class."
    compared = {"others_total": others.total, "others_rejected": others.rejected, "others_rate": others.rate}
    sentence = f"{subject}: {rejected_in_words(tally)}{contrast}."
    return Finding("class_consistently_rejected", name, sentence, look_at, evidence | compared)


def dominating_reasons(overall: Tally, settings: "Reporting") -> list[Finding]:
    """Tell which reason is behind most rejections."""
    if overall.rejected < settings.min_sample:
        return []
    return [
        _reason_finding(reason, Tally(overall.rejected, {reason: images}), settings.mostly_share)
        for reason, images in overall.ranked_reasons().items()
        if chance_of_at_least(images, overall.rejected, settings.mostly_share) < DOUBT
    ]


def _reason_finding(reason: str, rejections: Tally, limit: float) -> Finding:
    counted = share(rejections.rejected, rejections.total)
    sentence = f"{counted} rejections ({percent(rejections.rate)}) are for {shown(reason)}."
    chance = chance_of_at_least(rejections.rejected, rejections.total, limit)
    look_at = ADVICE.get(reason, "Look at these images.")
    return Finding(f"mostly_{reason}", reason, sentence, look_at, evidence_of(rejections, limit, chance))


def large_enough(tallies: Mapping[str, Tally], settings: "Reporting") -> dict[str, Tally]:
    """Keep those with enough images, the most rejected first."""
    ranked = sorted(tallies.items(), key=lambda item: (-item[1].rate, -item[1].total, item[0]))
    return {name: tally for name, tally in ranked if tally.total >= settings.min_sample}


def chance_above(tally: Tally, limit: float) -> float:
    """Give the probability of such a rate or a higher one, were the true one at the limit."""
    return chance_of_at_least(tally.rejected, tally.total, limit)


def _chance_of_class(tally: Tally, others: Tally, limit: float) -> float:
    """Give the probability by chance of the difference to the others or, without others, to the limit."""
    if not others.total:
        return chance_above(tally, limit)
    return chance_of_difference((tally.rejected, tally.total), (others.rejected, others.total))
