"""What becomes of content that was filed before: judged again, quarantined, or left where it lies. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from imageguard_daemon.core.model import Candidate, Measurement

Policy = Literal["accept", "quarantine", "skip"]
Pair = tuple[Candidate, Measurement]


@dataclass(frozen=True, slots=True)
class SortedOut:
    """What to do with the files of a group."""

    to_judge: list[Pair] = field(default_factory=list)
    skipped: list[tuple[Candidate, Measurement, str]] = field(default_factory=list)
    """Each with where its content was filed."""
    later: list[Candidate] = field(default_factory=list)
    """Twins of others in the group: what they are depends on what becomes of the first."""


def sort_out(pairs: Sequence[Pair], filed: Mapping[str, str], policy: Policy) -> SortedOut:
    """Sort a group by what is known of contents: `filed` has where each that was filed before is."""
    if policy == "accept":
        return SortedOut(to_judge=list(pairs))
    found = SortedOut()
    met: set[str] = set()
    for candidate, measurement in pairs:
        place = filed.get(measurement.sha256)
        if place is None and measurement.sha256 in met:
            found.later.append(candidate)
        elif place is None:
            found.to_judge.append((candidate, measurement))
        elif policy == "skip":
            found.skipped.append((candidate, measurement, place))
        else:
            found.to_judge.append((candidate, _marked(measurement, place)))
        met.add(measurement.sha256)
    return found


def _marked(measurement: Measurement, place: str) -> Measurement:
    """Make an image a duplicate, unless it could not be measured anyway."""
    if measurement.issue:
        return measurement
    return replace(measurement, measures=None, issue="duplicate", detail=f"the same bytes were filed as {place}")
