"""Images of a log as examples for calibration.

What people said of them counts: released and approved ones are good, confirmed and rejected ones bad. Where a proposal
is made from all images, those that nobody called bad are taken as good, which is for people to judge.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from imageguard_daemon.calibration.proposal import Proposal
from imageguard_daemon.core.model import Measurement, Measures
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.quality.scoring import LIMITS
from imageguard_daemon.reporting.simulation import Simulation
from imageguard_daemon.reporting.text import shown

_MEASURES = {one.name for one in fields(Measures)}


@dataclass(slots=True)
class LoggedImages:
    """Images with their recorded measures, named by their path below the inbox."""

    good: list[tuple[str, Measurement]] = field(default_factory=list)
    bad: list[tuple[str, Measurement]] = field(default_factory=list)
    released: int = 0
    """So many of the good ones were released or approved by people."""


@dataclass(frozen=True, slots=True)
class FromLog:
    """A proposal made from a log: what it was made from, what it would have decided, and what to do next.

    `measured` images were in scope, of which `sampled` were read; the other counts say why images were left out.
    """

    source: str
    measured: int
    sampled: int
    released: int
    unmeasured: Mapping[str, int]
    other_versions: Mapping[str, int]
    unreadable: int
    simulation: Simulation
    commands: tuple[str, ...]


def logged_images(rows: Iterable[tuple[str, str, str, bool | None]]) -> LoggedImages:
    """Sort rows of the log: path, SHA-256, measures as JSON, and whether people called it bad."""
    made = LoggedImages()
    for name, sha256, text, is_bad in rows:
        measures = recorded_measures(text)
        if measures is not None:
            (made.bad if is_bad else made.good).append((name, Measurement(sha256, measures)))
            made.released += is_bad is False
    return made


def changed(proposal: Proposal) -> dict[str, float]:
    """Give the thresholds that differ from the preset's, by name, as `--set` takes them."""
    preset = thresholds_for(proposal.preset_name)
    return {name: value for name, value in zip(LIMITS, proposal.thresholds, strict=True) if value != preset[name]}


def next_commands(proposal: Proposal, log: str, files: str, scope: str) -> tuple[str, ...]:
    """Give the commands that try the proposal and release what it accepts.

    `log` and `files` are the arguments by which they find the log and the images, the latter empty where a log has
    none; `scope` are the options that say which decisions.
    """
    sets = (f"--set {name}={value:g}" for name, value in changed(proposal).items())
    rules = " ".join((scope, f"--preset {proposal.preset_name}", *sets))
    simulate = f"imageguard-daemon simulate {log} {rules}"
    return (simulate, f"imageguard-daemon rejudge {files} {rules}") if files else (simulate,)


def in_words(origin: FromLog) -> Iterator[str]:
    """Say what the proposal rests on, for people."""
    yield (
        f"{origin.measured:,} images of source '{shown(origin.source)}' in the log; all that nobody rejected, or "
        "confirmed as rejected, are taken as good"
    )
    if origin.sampled < origin.measured:
        yield f"{origin.sampled:,} of them were read, spread evenly"
    if origin.released:
        yield f"{origin.released:,} of them were released or approved by people"
    if origin.unmeasured:
        reasons = ", ".join(f"{n:,} {shown(reason)}" for reason, n in Counter(origin.unmeasured).most_common())
        yield f"left out, since nothing could be measured: {reasons}"
    if origin.other_versions:
        versions = ", ".join(f"{n:,} by version {shown(v)}" for v, n in Counter(origin.other_versions).most_common())
        yield f"left out, since another scorer measured them: {versions}"
    if origin.unreadable:
        yield f"left out, since their scores cannot be read: {origin.unreadable:,}"


def as_dict(origin: FromLog) -> dict[str, Any]:
    """Give it in the form of `--format json`."""
    overall = origin.simulation.overall
    return {
        "source": origin.source,
        "measured": origin.measured,
        "sampled": origin.sampled,
        "released_by_people": origin.released,
        "unmeasured": dict(Counter(origin.unmeasured).most_common()),
        "other_scorer_versions": dict(Counter(origin.other_versions).most_common()),
        "unreadable": origin.unreadable,
        "total": overall.total,
        "rejected_before": overall.before,
        "rejected_after": overall.after,
        "newly_rejected": overall.newly_rejected,
        "newly_accepted": overall.newly_accepted,
        "reasons_before": dict(origin.simulation.reasons_before.most_common()),
        "reasons_after": dict(origin.simulation.reasons_after.most_common()),
        "commands": list(origin.commands),
    }


@dataclass(slots=True)
class ReviewedImages:
    """Reviewed images with their recorded measures, named by their path below the inbox."""

    good: list[tuple[str, Measurement]] = field(default_factory=list)
    bad: list[tuple[str, Measurement]] = field(default_factory=list)
    left_out: int = 0
    """Nothing could be measured, or another version of the scorer did."""


def reviewed_images(rows: Iterable[tuple[bool, str, str, str, str]], scorer_version: str) -> ReviewedImages:
    """Sort rows of the log: whether people called it bad, path, SHA-256, scorer version, measures as JSON."""
    made = ReviewedImages()
    for is_bad, name, sha256, version, text in rows:
        measures = recorded_measures(text) if version == scorer_version else None
        if measures is None:
            made.left_out += 1
        else:
            (made.bad if is_bad else made.good).append((name, Measurement(sha256, measures)))
    return made


def recorded_measures(text: str) -> Measures | None:
    """Read measures as the log has them; None where there are none, or not those of today."""
    try:
        found = json.loads(text)
        return Measures(**{name: value for name, value in found.items() if name in _MEASURES}) if found else None
    except (ValueError, TypeError, AttributeError):
        return None
