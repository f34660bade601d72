"""Patterns in the counts that a person should hear of; docs/reports.md states the rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from imageguard_daemon.reporting.changes import got_worse
from imageguard_daemon.reporting.finding import ADVICE, ALPHA, CLEARLY_HIGHER, DOUBT, Finding
from imageguard_daemon.reporting.origins import arriving_again, behind_most, just_below
from imageguard_daemon.reporting.rates import (
    dominating_reasons,
    high_rejection_rate,
    high_source_rates,
    rejected_classes,
)
from imageguard_daemon.reporting.survey import Borderline
from imageguard_daemon.reporting.tallies import Tally

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


def find_patterns(seen: Patterns, settings: "Reporting") -> tuple[Finding, ...]:
    """Give what is worth telling: the overall rate first, then where it comes from, since when, and why."""
    high_sources = high_source_rates(seen.sources, settings)
    told = {finding.subject for finding in high_sources}  # that one of them is behind most says nothing more
    worse_sources = got_worse("source", seen.series.get("source", {}), settings)
    return (
        *high_rejection_rate(seen.overall, settings),
        *high_sources,
        *rejected_classes(seen.classes, settings),
        *(finding for finding in behind_most("source", seen.sources, settings) if finding.subject not in told),
        *behind_most("camera", seen.cameras, settings),
        *worse_sources,
        *(
            one
            for one in got_worse("camera", seen.series.get("camera", {}), settings)
            if not _is_told(one, worse_sources, seen)
        ),
        *dominating_reasons(seen.overall, settings),
        *just_below(seen.borderline, settings),
        *arriving_again(seen.sources, settings),
    )


def _is_told(camera: Finding, sources: Sequence[Finding], seen: Patterns) -> bool:
    """Tell whether a camera got worse just as its whole source did: then the camera is not what is wrong."""
    return any(
        seen.source_of.get(camera.subject) == source.subject
        and abs(camera.evidence["since"] - source.evidence["since"]) <= _SAME_TIME_SECONDS
        and camera.evidence["rate"] < CLEARLY_HIGHER * source.evidence["rate"]
        for source in sources
    )
