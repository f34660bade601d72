"""Patterns in the counts that a person should hear of; docs/reports.md states the rules."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imageguard_daemon.reporting.finding import CLEARLY_HIGHER, Finding, Shows, named_in_words
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.questions.boundary import just_below
from imageguard_daemon.reporting.questions.change import Changed, changes, more_near_thresholds
from imageguard_daemon.reporting.questions.cycle import cycles
from imageguard_daemon.reporting.questions.difference import Different, differing, small_classes
from imageguard_daemon.reporting.questions.level import (
    LOOK_AT,
    arriving_again,
    dominating_reasons,
    high_rejection_rate,
    lone_classes,
    mostly_rejected_sources,
)
from imageguard_daemon.reporting.questions.mix import reasons_changed
from imageguard_daemon.reporting.questions.oddities import class_twins
from imageguard_daemon.reporting.questions.silence import volumes
from imageguard_daemon.reporting.rises import is_clear
from imageguard_daemon.reporting.sizes import thumbnails_mixed_in
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting


def find_patterns(seen: Patterns, settings: "Reporting") -> tuple[Finding, ...]:
    """Give what is worth telling: the overall rate first, then where it comes from, since when, and why."""
    if not seen.panel.overall.total:
        return ()
    sources = seen.panel.tallies("source")
    mostly = mostly_rejected_sources(seen, settings)
    changed = changes(seen, settings)
    different = list(differing(seen, settings))
    groups = [change for change, _ in changed]
    unlike = list(_different(seen, settings, different, mostly, groups))
    overall = high_rejection_rate(seen, settings)
    alone = bool(mostly) and len(sources) == 1  # then the overall rate is its rate
    # What one finding says is not told again by another; this is the order in which a person reads them.
    reasons = [finding for finding in dominating_reasons(seen, settings) if not _is_reason_of(finding, mostly, seen)]
    thumbnails = thumbnails_mixed_in(seen.bands, settings, of_a_log=seen.of_a_log)
    findings = (
        *(() if alone else (_explained(finding, (*mostly, *unlike), seen, settings) for finding in overall)),
        *mostly,
        *(() if alone else lone_classes(seen, settings)),
        *unlike,
        *small_classes(seen, settings, _reported_streams(seen, different, mostly)),
        *(finding for _, finding in changed),
        *cycles(seen, settings),
        *volumes(seen, settings),
        *reasons,
        *reasons_changed(seen, settings, groups),
        *more_near_thresholds(seen, settings, groups),
        *just_below(seen.missed, seen.scope, settings),
        *(finding for finding in thumbnails if not _are_rejected(finding, (*mostly, *reasons), seen)),
        *arriving_again(seen, settings),
        *class_twins(seen, settings),
    )
    if not seen.of_a_log:
        return tuple(replace(finding, where={}, shows=Shows.nothing) for finding in findings)
    return tuple(replace(finding, scope=seen.scope) for finding in findings)


def _explained(overall: Finding, reported: Sequence[Finding], seen: Patterns, settings: "Reporting") -> Finding:
    """Say what the overall rate is without the groups that are reported, where that is no more above the limit."""
    named: list[Mapping[str, str]] = []
    without = np.zeros(len(seen.panel.streams), bool)
    for finding in sorted(reported, key=lambda finding: (finding.kind != "source_mostly_rejected", -finding.excess)):
        where = {name: value for name, value in finding.where.items() if name != "reason"}
        streams = _streams_of(where, seen)
        if (streams & ~without).any():
            named.append(where)
            without |= streams
    rest = seen.panel.tally(~without)
    if not named or rest.total < settings.min_sample or rest.rate > settings.rejection_rate_limit:
        return overall
    rate = f"{percent(rest.rate)} of {rest.total:,}"
    sentence = f"{overall.sentence} Without {named_in_words(named)} it is {rate}."
    return replace(overall, sentence=sentence, look_at="Start with the findings on these.")


def _reported_streams(
    seen: Patterns, different: Sequence[tuple[Different, Finding]], mostly: Sequence[Finding]
) -> npt.NDArray[np.bool_]:
    """Give the streams of groups that differ and of sources that are mostly rejected."""
    sources = {finding.subject for finding in mostly}
    reported = np.array([stream[1] in sources for stream in seen.panel.streams])
    for group, _ in different:
        reported |= group.streams
    return reported


def _different(
    seen: Patterns,
    settings: "Reporting",
    different: Sequence[tuple[Different, Finding]],
    mostly: Sequence[Finding],
    changed: Sequence[Changed],
) -> Iterator[Finding]:
    """Give the groups that differ, but not what is said of a source already, nor what only its change makes differ."""
    reported = {finding.subject for finding in mostly}
    for group, finding in different:
        if group.where.get("source") in reported and len(group.where) == 1:
            continue
        if finding.kind != "class_consistently_rejected" and _is_its_change(group, changed, seen):
            continue
        source = _only_source(group, seen)
        if source in reported and _is_like_its_source(group, seen, settings.min_sample):
            continue
        yield _referring(finding, source, reported)


def _is_its_change(group: Different, changed: Sequence[Changed], seen: Patterns) -> bool:
    """Check whether a group was like the others before it changed."""
    others = group.others_rejected / max(group.others_total, 1)
    for change in changed:
        if change.where and (change.streams & group.streams).any():
            before = seen.panel.tally(group.streams, 0, change.rise.begin)
            after = seen.panel.tally(group.streams, change.rise.end)
            if before.rejected + after.rejected < CLEARLY_HIGHER * others * (before.total + after.total):
                return True
    return False


def _only_source(group: Different, seen: Patterns) -> str | None:
    """Give the one of several sources that all images of a class or a camera come from; None if there is none."""
    if "source" in group.where or len(seen.panel.groups("source")) == 1:
        return None
    streams = np.flatnonzero(_streams_of(group.where, seen)).tolist()
    sources = {seen.panel.streams[at][1] for at in streams}
    return sources.pop() if len(sources) == 1 else None


def _streams_of(where: Mapping[str, str], seen: Patterns) -> npt.NDArray[np.bool_]:
    """Give all streams of a group: some of them may have been reported with another."""
    groups = seen.panel.groups(*where)
    return np.equal(groups.of_stream, groups.names.index(tuple(where.values())))


def _is_like_its_source(group: Different, seen: Patterns, least: int) -> bool:
    """Check whether other images of its only source are hardly better: then what is reported of the source says it."""
    ours = _streams_of(group.where, seen)
    source = seen.panel.streams[int(ours.argmax())][1]
    theirs = np.array([stream[1] == source for stream in seen.panel.streams]) & ~ours
    rest = seen.panel.tally(theirs)
    return rest.total >= least and not is_clear(np.array(seen.panel.tally(ours).rate), np.array(rest.rate))


def _referring(finding: Finding, source: str | None, reported: set[str]) -> Finding:
    """Have the finding about a class refer to the one source that it comes from."""
    if source is None:
        return finding
    alone = f"Its images come from source '{shown(source)}' alone"
    if source in reported:
        return replace(finding, look_at=f"{alone}: see there. {LOOK_AT[next(iter(finding.where))]}")
    return replace(finding, look_at=f"{alone}. {finding.look_at}")


def _are_rejected(thumbnails: Finding, reported: Sequence[Finding], seen: Patterns) -> bool:
    """Check whether most of the thumbnails are rejected for their size, and a finding has said so already."""
    sources = seen.panel.tallies("source")
    classes = seen.panel.tallies("class")
    group = (sources if sources.get(thumbnails.subject) else classes).get(thumbnails.subject, Tally())
    of_size = group.reasons.get("low_resolution", 0) * 2 > thumbnails.evidence["rejected"]
    return of_size and any(
        finding.kind == "mostly_low_resolution"
        or (finding.kind == "source_mostly_rejected" and sources[finding.subject].top_reason == "low_resolution")
        for finding in reported
    )


def _is_reason_of(finding: Finding, mostly: Sequence[Finding], seen: Patterns) -> bool:
    """Check whether most rejections for a reason are those of sources of which that is reported."""
    sources = seen.panel.tallies("source")
    theirs = [source for source in mostly if sources[source.subject].top_reason == finding.subject]
    return sum(source.evidence["rejected"] for source in theirs) * 2 > finding.evidence["rejected"]
