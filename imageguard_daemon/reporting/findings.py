"""Patterns in the counts that a person should hear of; docs/reports.md states the rules."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imageguard_daemon.reporting.statistics import chance_of_at_least, chance_of_difference, holm_adjusted
from imageguard_daemon.reporting.tallies import Tally, together
from imageguard_daemon.reporting.wording import limit_percent, percent, share, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

ALPHA = 0.05
"""A difference that is more probable than this by chance alone is none."""
DOUBT = 0.2
"""A rate counts as above a limit when, were it at the limit, so many would come less often than this. A limit is a line
drawn by people, and being told of it a little early costs a look."""
CLEARLY_HIGHER = 1.5
"""A class stands out at so many times the others' rate: among a million images a hair is no chance."""

ADVICE: dict[str, str] = {
    "blurry": "Look at focus, shutter speed and lens of the cameras, and at frames taken from video.",
    "low_resolution": "Look at whether thumbnails or previews are collected in place of the originals.",
    "noisy": "Look at the light and the ISO setting where these images are taken.",
    "overexposed": "Look at the exposure setting of the cameras and at flash or sun in the scene.",
    "underexposed": "Look at the exposure setting of the cameras and at images taken at night.",
    "compressed": "Look at which step saves these images at a low JPEG quality.",
    "pixelated": "Look at which step enlarges these images; collect them before it.",
    "corrupt": "Look at how these files are transferred: they arrive damaged or cut off.",
    "unsupported": "Look at what is delivered: these files are no images in a known format.",
    "too_large": "Look at the limits scoring.max_pixels and scoring.max_megabytes.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One pattern: `kind` for programs, `subject` its topic, `message` for people, `evidence` in numbers."""

    kind: str
    subject: str
    message: str
    evidence: Mapping[str, float]


def find_patterns(
    overall: Tally, classes: Mapping[str, Tally], sources: Mapping[str, Tally], settings: "Reporting"
) -> tuple[Finding, ...]:
    """Give what is worth telling: the overall rate first, then sources, classes (worst first) and reasons."""
    return (
        *_high_rejection_rate(overall, settings),
        *_high_source_rates(sources, settings),
        *_rejected_classes(classes, settings),
        *_dominating_reasons(overall, settings),
    )


def _high_rejection_rate(overall: Tally, settings: "Reporting") -> list[Finding]:
    chance = _chance_above(overall, settings.rejection_rate_limit)
    if overall.total < settings.min_sample or chance >= DOUBT:
        return []
    message = (
        f"{_rejected(overall)}; the limit is {limit_percent(settings.rejection_rate_limit)}. "
        "Look at some of them: if they are fine, the thresholds are too strict; if not, something is wrong "
        "where images come from."
    )
    evidence = _evidence(overall, settings.rejection_rate_limit, chance)
    return [Finding("high_rejection_rate", "all images", message, evidence)]


def _high_source_rates(sources: Mapping[str, Tally], settings: "Reporting") -> list[Finding]:
    if len(sources) < 2:  # nothing that the overall rate does not say
        return []
    limit = settings.rejection_rate_limit
    judged = _large_enough(sources, settings)
    chances = holm_adjusted([_chance_above(tally, limit) for tally in judged.values()])
    return [
        Finding(
            "source_high_rejection_rate",
            name,
            _source_message(name, tally, limit),
            _evidence(tally, limit, chance),
        )
        for (name, tally), chance in zip(judged.items(), chances, strict=True)
        if chance < ALPHA
    ]


def _source_message(name: str, tally: Tally, limit: float) -> str:
    return (
        f"Source '{shown(name)}': {_rejected(tally)}; the limit is {limit_percent(limit)}. "
        "Look at what delivers to this inbox."
    )


def _rejected_classes(classes: Mapping[str, Tally], settings: "Reporting") -> list[Finding]:
    if not any(classes):  # images without a class are no class, unless there are others
        return []
    limit = settings.class_rate_limit
    judged = _large_enough(classes, settings)
    compared = _compared(classes, settings)
    chances = holm_adjusted([_chance_of_class(tally, compared[name], limit) for name, tally in judged.items()])
    return [
        _class_finding(name, tally, compared[name], _evidence(tally, limit, chance))
        for (name, tally), chance in zip(judged.items(), chances, strict=True)
        if chance < ALPHA and _chance_above(tally, limit) < DOUBT and _stands_out(tally, compared[name])
    ]


def _compared(classes: Mapping[str, Tally], settings: "Reporting") -> dict[str, Tally]:
    """Give for each class what it is compared with: the others together, or nothing if they are too few.

    Others that are themselves above the limit are left out if enough images remain; else two bad classes
    would hide each other.
    """
    above = {name for name, tally in classes.items() if _chance_above(tally, settings.class_rate_limit) < DOUBT}
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
    message = (
        f"{subject}: {_rejected(tally)}{contrast}. "
        "Look at how this class is collected: a model could learn the flaw as the class."
    )
    compared = {"others_total": others.total, "others_rejected": others.rejected, "others_rate": others.rate}
    return Finding("class_consistently_rejected", name, message, evidence | compared)


def _dominating_reasons(overall: Tally, settings: "Reporting") -> list[Finding]:
    if overall.rejected < settings.min_sample:
        return []
    return [
        _reason_finding(reason, Tally(overall.rejected, {reason: images}), settings.mostly_share)
        for reason, images in overall.ranked_reasons().items()
        if chance_of_at_least(images, overall.rejected, settings.mostly_share) < DOUBT
    ]


def _reason_finding(reason: str, rejections: Tally, limit: float) -> Finding:
    message = (
        f"{share(rejections.rejected, rejections.total)} rejections ({percent(rejections.rate)}) are for "
        f"{shown(reason)}. {ADVICE.get(reason, 'Look at these images.')}"
    )
    chance = chance_of_at_least(rejections.rejected, rejections.total, limit)
    return Finding(f"mostly_{reason}", reason, message, _evidence(rejections, limit, chance))


def _rejected(tally: Tally) -> str:
    """Say how many were rejected and which reason leads."""
    return f"{share(tally.rejected, tally.total)} images were rejected ({percent(tally.rate)}), {_reason(tally)}"


def _reason(tally: Tally) -> str:
    images = tally.reasons[tally.top_reason]
    if images == tally.rejected:
        return f"all for {shown(tally.top_reason)}"
    word = "mostly" if images * 2 > tally.rejected else "most often"
    return f"{word} {shown(tally.top_reason)} ({images:,})"


def _large_enough(tallies: Mapping[str, Tally], settings: "Reporting") -> dict[str, Tally]:
    """Keep those with enough images, the most rejected first."""
    ranked = sorted(tallies.items(), key=lambda item: (-item[1].rate, -item[1].total, item[0]))
    return {name: tally for name, tally in ranked if tally.total >= settings.min_sample}


def _chance_above(tally: Tally, limit: float) -> float:
    return chance_of_at_least(tally.rejected, tally.total, limit)


def _chance_of_class(tally: Tally, others: Tally, limit: float) -> float:
    """Give the probability by chance of the difference to the others or, without others, to the limit."""
    if not others.total:
        return _chance_above(tally, limit)
    return chance_of_difference((tally.rejected, tally.total), (others.rejected, others.total))


def _evidence(tally: Tally, limit: float, chance: float) -> dict[str, float]:
    low, high = tally.interval
    return {
        "total": tally.total,
        "rejected": tally.rejected,
        "rate": tally.rate,
        "low": low,
        "high": high,
        "limit": limit,
        "p_value": chance,
    }
