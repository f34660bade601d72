"""Patterns in the counts that a person should hear of; docs/reports.md states the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from imageguard_daemon.reporting.changes import got_worse
from imageguard_daemon.reporting.finding import ADVICE, ALPHA, CLEARLY_HIGHER, DOUBT, Finding
from imageguard_daemon.reporting.origins import arriving_again, behind_most, just_below
from imageguard_daemon.reporting.rates import (
    dominating_reasons,
    high_rejection_rate,
    high_source_rates,
    mostly_rejected_sources,
    rejected_classes,
)
from imageguard_daemon.reporting.sizes import Bands
from imageguard_daemon.reporting.small_sizes import thumbnails_mixed_in
from imageguard_daemon.reporting.survey import Borderline
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.wording import shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

_SAME_TIME_SECONDS = 14 * 86_400
"""When a change is found wavers by some days, since chance hides its beginning."""

__all__ = ["ADVICE", "ALPHA", "DOUBT", "Finding", "Patterns", "find_patterns"]


@dataclass(frozen=True, slots=True)
class Patterns:
    """What findings are looked for in.

    `series` has for `source` and `camera` a tally for each (name, period); periods in text order are in time order.
    """

    overall: Tally
    classes: Mapping[str, Tally]
    sources: Mapping[str, Tally]
    cameras: Mapping[str, Tally] = field(default_factory=dict)
    series: Mapping[str, Mapping[tuple[str, ...], Tally]] = field(default_factory=dict)
    borderline: Mapping[str, Borderline] = field(default_factory=dict)
    source_of: Mapping[str, str] = field(default_factory=dict)
    """The source that a camera's images come from, of cameras with one alone."""
    source_of_class: Mapping[str, str] = field(default_factory=dict)
    """The same of classes."""
    bands: Mapping[str, Bands] = field(default_factory=dict)
    """Small images of one size, for `source` and `class`."""
    of_a_log: bool = True
    """Whether they are of a log, not of a folder judged in place."""


def find_patterns(seen: Patterns, settings: "Reporting") -> tuple[Finding, ...]:
    """Give what is worth telling: the overall rate first, then where it comes from, since when, and why."""
    mostly = mostly_rejected_sources(seen.sources, settings, of_a_log=seen.of_a_log)
    told = {finding.subject for finding in mostly}
    high_sources = [one for one in high_source_rates(seen.sources, settings) if one.subject not in told]
    told |= {finding.subject for finding in high_sources}  # that one of them is behind most says nothing more
    worse_sources = got_worse("source", seen.series.get("source", {}), settings)
    alone = bool(mostly) and len(seen.sources) == 1  # then the overall rate is its rate
    classes = (_referring(one, mostly, seen) for one in rejected_classes(seen.classes, settings))
    reasons = [one for one in dominating_reasons(seen.overall, settings) if not _is_reason_of(one, mostly, seen)]
    thumbnails = thumbnails_mixed_in(seen.bands, settings, of_a_log=seen.of_a_log)
    return (
        *(() if alone else high_rejection_rate(seen.overall, settings)),
        *mostly,
        *high_sources,
        *filter(None, classes),
        *(finding for finding in behind_most("source", seen.sources, settings) if finding.subject not in told),
        *behind_most("camera", seen.cameras, settings),
        *worse_sources,
        *(
            one
            for one in got_worse("camera", seen.series.get("camera", {}), settings)
            if not _is_told(one, worse_sources, seen)
        ),
        *reasons,
        *just_below(seen.borderline, settings),
        *(one for one in thumbnails if not _are_rejected(one, (*mostly, *reasons), seen)),
        *arriving_again(seen.sources, settings),
    )


def _referring(one: Finding, mostly: Sequence[Finding], seen: Patterns) -> Finding | None:
    """Have the finding about a class refer to that about its source; None where it would only repeat that one."""
    source = seen.source_of_class.get(one.subject)
    if source is None or source not in {each.subject for each in mostly}:
        return one
    if not one.evidence["others_total"]:
        return None
    return replace(one, look_at=f"Its images come from source '{shown(source)}' alone: see there. {one.look_at}")


def _are_rejected(thumbnails: Finding, told: Sequence[Finding], seen: Patterns) -> bool:
    """Tell whether most of the thumbnails are rejected for their size, and a finding has said so already."""
    group = (seen.sources if seen.sources.get(thumbnails.subject) else seen.classes).get(thumbnails.subject, Tally())
    of_size = group.reasons.get("low_resolution", 0) * 2 > thumbnails.evidence["rejected"]
    return of_size and any(
        one.kind == "mostly_low_resolution"
        or (one.kind == "source_mostly_rejected" and seen.sources[one.subject].top_reason == "low_resolution")
        for one in told
    )


def _is_reason_of(one: Finding, mostly: Sequence[Finding], seen: Patterns) -> bool:
    """Tell whether most rejections for a reason are those of sources of which that is told."""
    told = [each for each in mostly if seen.sources[each.subject].top_reason == one.subject]
    return sum(each.evidence["rejected"] for each in told) * 2 > one.evidence["rejected"]


def _is_told(camera: Finding, sources: Sequence[Finding], seen: Patterns) -> bool:
    """Tell whether a camera got worse just as its whole source did: then the camera is not what is wrong."""
    return any(
        seen.source_of.get(camera.subject) == source.subject
        and abs(camera.evidence["since"] - source.evidence["since"]) <= _SAME_TIME_SECONDS
        and camera.evidence["rate"] < CLEARLY_HIGHER * source.evidence["rate"]
        for source in sources
    )
