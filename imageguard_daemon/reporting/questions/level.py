"""Which rates and shares are above the limits that people have set?

Model: binomial, with the scatter that neighbouring times show. Null: the true rate is at the limit. A limit is no
hypothesis: DOUBT says how sure one must be. Correction: Holm where several sources or classes are looked at.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from imageguard_daemon.audit.keys import distinct
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.reporting.finding import (
    ADVICE,
    ALPHA,
    CLEARLY_HIGHER,
    DOUBT,
    Finding,
    Shows,
    evidence_of,
    group_in_words,
    options_of,
    rejected_in_words,
    selected,
)
from imageguard_daemon.reporting.panel import Counts, Patterns
from imageguard_daemon.reporting.statistics import (
    chance_above,
    chance_with_scatter,
    holm_adjusted,
    wilson_interval,
)
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import limit_percent, percent, share, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

MIN_OF_A_SOURCE = 30
"""From so many images on a source can be one that thresholds do not fit; a bad first delivery has often fewer."""
_LOGGED = frozenset({"source", "class", "since", "until"})
"""What of a log `calibrate` can be asked about."""
_MAY_NOT_FIT = 0.25
"""Where so large a share is rejected for reasons of thresholds, it may be these that are wrong."""
_LEARNED = " model could learn the flaw as the class."
LOOK_AT = {
    "class": f"Look at how this class is collected: a{_LEARNED}",
    "source": "Look at what delivers to this inbox.",
    "camera": "Look at this camera, its settings and where it stands.",
    "host": "Look at what differs on this server: who delivers to it, its version, its configuration.",
    "preset": "Look at whether this preset fits what is judged by it.",
}
OF_THRESHOLDS = frozenset(scale.issue for scale in SCALES)
"""The reasons that other thresholds would change."""


def high_rejection_rate(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Tell when the overall rate is above its limit."""
    overall, limit = seen.panel.overall, settings.rejection_rate_limit
    chance = chance_above(overall.rejected, overall.total, limit, seen.effect)
    if overall.total < settings.min_sample or chance >= DOUBT:
        return []
    sentence = f"{rejected_in_words(overall)}; the limit is {limit_percent(limit)}."
    calibrate = f", and {_calibrate(seen)} proposes others for one source" if seen.of_a_log else ""
    look_at = (
        f"Look at some of them: if they are fine, the thresholds are too strict{calibrate}; if not, something is wrong "
        "where images come from."
    )
    everything = np.ones(len(seen.panel.streams), bool)
    evidence = evidence_of(overall, limit, chance)
    return [
        Finding(
            "high_rejection_rate", "all images", sentence, look_at, evidence, example_id=seen.example_of(everything)
        )
    ]


def mostly_rejected_sources(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Tell which sources lose most of their images to one reason that is a matter of thresholds, and others do not."""
    limit = settings.mostly_share
    sources = seen.panel.tallies("source")
    judged = {
        name: Tally(tally.total, {tally.top_reason: tally.reasons[tally.top_reason]})
        for name, tally in large_enough(sources, settings.min_sample).items()
        if tally.total >= MIN_OF_A_SOURCE and tally.top_reason in OF_THRESHOLDS
    }
    effects = seen.effects_at(limit, "source")
    chances = _chances(judged, limit, effects)
    findings = []
    for (name, tally), chance in zip(judged.items(), chances, strict=True):
        effect = effects[name,]
        low, _ = wilson_interval(tally.rejected / effect, tally.total / effect)
        is_theirs = len(sources) == 1 or _more_than_others(tally, seen.panel.overall, effect)
        if chance < DOUBT and low > limit and is_theirs:
            findings.append(_mostly_rejected(name, tally, evidence_of(tally, limit, chance), seen))
    return findings


def _chances(judged: Mapping[str, Tally], limit: float, effects: Mapping[tuple[str, ...], float]) -> list[float]:
    """Give the corrected probability that each is above a limit by chance alone."""
    single = (chance_above(tally.rejected, tally.total, limit, effects[name,]) for name, tally in judged.items())
    return holm_adjusted(list(single))


def _more_than_others(tally: Tally, overall: Tally, effect: float) -> bool:
    """Where all sources are alike, what is told of all says it."""
    others = Tally(overall.total - tally.total, {"": overall.reasons[tally.top_reason] - tally.rejected})
    chance = chance_with_scatter((tally.rejected, tally.total), (others.rejected, others.total), effect)
    return chance < ALPHA and tally.rate >= CLEARLY_HIGHER * others.rate


def _mostly_rejected(name: str, tally: Tally, evidence: dict[str, float], seen: Patterns) -> Finding:
    what = f"Source '{shown(name)}': " if seen.of_a_log else ""
    reason = tally.top_reason
    counted = f"{share(tally.rejected, tally.total)} images ({percent(tally.rate)})"
    look_at = images_or_thresholds("source", name, reason, seen)
    sentence = f"{what}{counted} were rejected for one reason, {shown(reason)}."
    groups = seen.panel.groups("source")
    streams = groups.of_stream == groups.names.index((name,))
    where = {"source": name, "reason": reason}
    return Finding(
        "source_mostly_rejected", name, sentence, look_at, evidence, where, example_id=seen.example_of(streams)
    )


def images_or_thresholds(field: str, name: str, reason: str, seen: Patterns) -> str:
    """Say what to look at where a source or a class loses most of its images for a reason of thresholds.

    Whether the images or the thresholds are wrong nobody can tell from the scores: that is for people to say.
    """
    if seen.of_a_log:
        command = f"{_calibrate(seen, **{field: name})} proposes thresholds from the log"
    else:
        command = "`imageguard-daemon calibrate FOLDER` proposes thresholds from them"
    where = {"source": "", "class": " for a source of its own" if seen.of_a_log else ", given its folder"}[field]
    return (
        "Look at some of them: if they are fine for you, the thresholds do not fit this "
        f"{field}, and {command}{where}. If they are not: {ADVICE[reason][0].lower()}{ADVICE[reason][1:]}"
    )


def _calibrate(seen: Patterns, **where: str) -> str:
    """Give the command that proposes thresholds; of several sources it takes one, that with most rejections."""
    panel, groups = seen.panel, seen.panel.groups("source")
    streams = np.ones(len(panel.streams), bool)
    for name, value in where.items():
        of = panel.groups(name)
        streams &= of.of_stream == of.names.index((value,))
    rejected = groups.sums(panel.rejected.sum(axis=1) * streams)
    if len(distinct(groups.of_stream[streams])) > 1:
        where["source"] = groups.names[int(rejected.argmax())][0]
    asked = {option: value for option, value in selected(seen.scope, where).items() if option in _LOGGED}
    return f"`imageguard-daemon calibrate --log ROOT{options_of(asked)}`"


def advice_on(group: tuple[str, str], tally: Tally, effect: float, seen: Patterns, source: str | None = None) -> str:
    """Say what to look at where a source or a class is rejected more often than others, or than its limit.

    `source` is the one that delivers this class and nothing else: it has the thresholds.
    """
    field, _ = group
    learned = f" A{_LEARNED}" if field == "class" else ""
    if _may_not_fit(tally, effect):
        theirs = group if source is None else ("source", source)
        return f"{images_or_thresholds(*theirs, tally.top_reason, seen)}{learned}"
    return f"{LOOK_AT[field]}{advice_on_reason(tally)}"


def advice_on_reason(tally: Tally) -> str:
    """Say what to look at for the reason behind most rejections, with a space before it; nothing if there is none."""
    is_most = tally.rejected and tally.reasons[tally.top_reason] * 2 > tally.rejected
    return f" {ADVICE[tally.top_reason]}" if is_most and tally.top_reason in ADVICE else ""


def _may_not_fit(tally: Tally, effect: float) -> bool:
    """Check whether so many of many images are rejected for reasons of thresholds that these may not fit them."""
    bad = sum(images for reason, images in tally.reasons.items() if reason in OF_THRESHOLDS)
    is_theirs = tally.total >= MIN_OF_A_SOURCE and tally.top_reason in OF_THRESHOLDS
    return is_theirs and wilson_interval(bad / effect, tally.total / effect)[0] > _MAY_NOT_FIT


def lone_classes(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Tell that a class is consistently rejected where there are too few others to compare with."""
    classes = seen.panel.tallies("class")
    limit = settings.class_rate_limit
    everything = seen.panel.overall
    lone = {
        name: tally
        for name, tally in large_enough(classes, settings.min_sample).items()
        if name and everything.total - tally.total < settings.min_sample
    }
    effects = seen.effects_at(limit, "class")
    return [
        Finding(
            "class_consistently_rejected",
            name,
            f"{group_in_words({'class': name})}: {rejected_in_words(tally)}; the limit is {limit_percent(limit)}.",
            advice_on(("class", name), tally, effects[name,], seen),
            evidence_of(tally, limit, chance),
            {"class": name},
        )
        for (name, tally), chance in zip(lone.items(), _chances(lone, limit, effects), strict=True)
        if chance < ALPHA
    ]


def dominating_reasons(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Tell which reason is behind most rejections."""
    overall, panel = seen.panel.overall, seen.panel
    if overall.rejected < settings.min_sample or overall.reasons[overall.top_reason] * 2 < overall.rejected:
        return []
    reason = overall.top_reason
    groups = panel.groups("class", "source", "camera")
    effect = _effect_of_share(seen, groups.sums(panel.rejected), panel.rejected_for(reason, groups))
    chance = chance_above(overall.reasons[reason], overall.rejected, settings.mostly_share, effect)
    tally = Tally(overall.rejected, {reason: overall.reasons[reason]})
    if chance >= DOUBT:
        return []
    sentence = f"{share(tally.rejected, tally.total)} rejections ({percent(tally.rate)}) are for {shown(reason)}."
    look_at = ADVICE.get(reason, "Look at these images.")
    evidence = evidence_of(tally, settings.mostly_share, chance)
    return [Finding(f"mostly_{reason}", reason, sentence, look_at, evidence, {"reason": reason})]


def _effect_of_share(seen: Patterns, rejected: Counts, for_reason: Counts) -> float:
    whole = rejected.sum(axis=0, keepdims=True)
    rate = for_reason.sum() / max(whole.sum(), 1)
    return float(seen.scatter_of_shares(rejected, for_reason).effects(whole, np.array([rate]))[0])


def arriving_again(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Tell which sources send what was there before."""
    enough = large_enough(seen.panel.tallies("source"), settings.min_sample)
    limit = settings.duplicate_share_limit
    again = {name: Tally(tally.total, {"": tally.duplicates}) for name, tally in enough.items()}
    # By the hour nobody counts what came again; a burst that shares its verdict came together, and comes so again.
    bursts: dict[tuple[str, ...], float] = {(name,): seen.scatter.burst for name in again}
    return [
        _arriving_again(name, tally, limit, chance)
        for (name, tally), chance in zip(again.items(), _chances(again, limit, bursts), strict=True)
        if chance < ALPHA
    ]


def _arriving_again(name: str, again: Tally, limit: float, chance: float) -> Finding:
    sentence = (
        f"Source '{shown(name)}': {share(again.rejected, again.total)} images ({percent(again.rate)}) had been filed "
        f"before, byte for byte; the limit is {limit_percent(limit)}."
    )
    look_at = "Look at whether a job sends its files again, or collects the same images twice."
    evidence = evidence_of(again, limit, chance)
    return Finding("duplicates_arriving_again", name, sentence, look_at, evidence, {"source": name}, shows=Shows.days)


def large_enough(tallies: Mapping[str, Tally], least: int) -> dict[str, Tally]:
    """Keep those with enough images, the most rejected first."""
    ranked = sorted(tallies.items(), key=lambda item: (-item[1].rate, -item[1].total, item[0]))
    return {name: tally for name, tally in ranked if tally.total >= least}
