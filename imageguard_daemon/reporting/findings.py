"""Patterns in the counts that a person should hear of; docs/reports.md states the rules."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imageguard_daemon.reporting.finding import ADVICE, ALPHA, CLEARLY_HIGHER, DOUBT, Finding, Shows, named_in_words
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

__all__ = ["ADVICE", "ALPHA", "DOUBT", "Finding", "Patterns", "find_patterns"]


def find_patterns(seen: Patterns, settings: "Reporting") -> tuple[Finding, ...]:
    """Give what is worth telling: the overall rate first, then where it comes from, since when, and why."""
    if not seen.panel.overall.total:
        return ()
    sources = seen.panel.tallies("source")
    mostly = mostly_rejected_sources(seen, settings)
    changed, different = changes(seen, settings), list(differing(seen, settings))
    groups = [one for one, _ in changed]
    unlike = list(_different(seen, settings, different, mostly, groups))
    overall = high_rejection_rate(seen, settings)
    alone = bool(mostly) and len(sources) == 1  # then the overall rate is its rate
    reasons = [one for one in dominating_reasons(seen, settings) if not _is_reason_of(one, mostly, seen)]
    thumbnails = thumbnails_mixed_in(seen.bands, settings, of_a_log=seen.of_a_log)
    found = (
        *(() if alone else (_explained(one, (*mostly, *unlike), seen, settings) for one in overall)),
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
        *(one for one in thumbnails if not _are_rejected(one, (*mostly, *reasons), seen)),
        *arriving_again(seen, settings),
        *class_twins(seen, settings),
    )
    if not seen.of_a_log:
        return tuple(replace(one, where={}, shows=Shows.nothing) for one in found)
    return tuple(replace(one, scope=seen.scope) for one in found)


def _explained(one: Finding, reported: Sequence[Finding], seen: Patterns, settings: "Reporting") -> Finding:
    """Say what the overall rate is without the groups that are reported, where that is no more above the limit."""
    named: list[Mapping[str, str]] = []
    without = np.zeros(len(seen.panel.streams), bool)
    for each in sorted(reported, key=lambda each: (each.kind != "source_mostly_rejected", -each.excess)):
        where = {name: value for name, value in each.where.items() if name != "reason"}
        chosen = _streams_of(where, seen)
        if (chosen & ~without).any():
            named.append(where)
            without |= chosen
    rest = seen.panel.tally(~without)
    if not named or rest.total < settings.min_sample or rest.rate > settings.rejection_rate_limit:
        return one
    rate = f"{percent(rest.rate)} of {rest.total:,}"
    sentence = f"{one.sentence} Without {named_in_words(named)} it is {rate}."
    return replace(one, sentence=sentence, look_at="Start with the findings on these.")


def _reported_streams(
    seen: Patterns, different: Sequence[tuple[Different, Finding]], mostly: Sequence[Finding]
) -> npt.NDArray[np.bool_]:
    """Give the streams of groups that differ and of sources that are mostly rejected."""
    sources = {one.subject for one in mostly}
    reported = np.array([stream[1] in sources for stream in seen.panel.streams])
    for one, _ in different:
        reported |= one.chosen
    return reported


def _different(
    seen: Patterns,
    settings: "Reporting",
    different: Sequence[tuple[Different, Finding]],
    mostly: Sequence[Finding],
    changed: Sequence[Changed],
) -> Iterator[Finding]:
    """Give the groups that differ, but not what is said of a source already, nor what only its change makes differ."""
    reported = {one.subject for one in mostly}
    for one, finding in different:
        if one.where.get("source") in reported and len(one.where) == 1:
            continue
        if finding.kind != "class_consistently_rejected" and _is_its_change(one, changed, seen):
            continue
        source = _only_source(one, seen)
        if source in reported and _is_like_its_source(one, seen, settings.min_sample):
            continue
        yield _referring(finding, source, reported)


def _is_its_change(one: Different, changed: Sequence[Changed], seen: Patterns) -> bool:
    """Check whether a group was like the others before it changed."""
    others = one.others_rejected / max(one.others_total, 1)
    for each in changed:
        if each.where and (each.chosen & one.chosen).any():
            before = seen.panel.tally(one.chosen, 0, each.rise.begin)
            after = seen.panel.tally(one.chosen, each.rise.end)
            if before.rejected + after.rejected < CLEARLY_HIGHER * others * (before.total + after.total):
                return True
    return False


def _only_source(one: Different, seen: Patterns) -> str | None:
    """Give the one of several sources that all images of a class or a camera come from; None if there is none."""
    if "source" in one.where or len(seen.panel.groups("source")) == 1:
        return None
    sources = {seen.panel.streams[at][1] for at in _streams_of(one.where, seen).nonzero()[0].tolist()}
    return sources.pop() if len(sources) == 1 else None


def _streams_of(where: Mapping[str, str], seen: Patterns) -> npt.NDArray[np.bool_]:
    """Give all streams of a group: some of them may have been reported with another."""
    groups = seen.panel.groups(*where)
    return np.equal(groups.of_stream, groups.names.index(tuple(where.values())))


def _is_like_its_source(one: Different, seen: Patterns, least: int) -> bool:
    """Check whether other images of its only source are hardly better: then what is reported of the source says it."""
    ours = _streams_of(one.where, seen)
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
    sources, classes = seen.panel.tallies("source"), seen.panel.tallies("class")
    group = (sources if sources.get(thumbnails.subject) else classes).get(thumbnails.subject, Tally())
    of_size = group.reasons.get("low_resolution", 0) * 2 > thumbnails.evidence["rejected"]
    return of_size and any(
        one.kind == "mostly_low_resolution"
        or (one.kind == "source_mostly_rejected" and sources[one.subject].top_reason == "low_resolution")
        for one in reported
    )


def _is_reason_of(one: Finding, mostly: Sequence[Finding], seen: Patterns) -> bool:
    """Check whether most rejections for a reason are those of sources of which that is reported."""
    sources = seen.panel.tallies("source")
    reported = [each for each in mostly if sources[each.subject].top_reason == one.subject]
    return sum(each.evidence["rejected"] for each in reported) * 2 > one.evidence["rejected"]
