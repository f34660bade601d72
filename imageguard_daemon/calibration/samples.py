"""Images as examples: what was measured in folders or stands in a log, sorted into what counts and what does not.

What people said of images of a log counts: released and approved ones are good, confirmed and rejected ones bad. Where
a proposal is made from all images, those that nobody called bad are taken as good, which is for people to judge.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from imageguard_daemon.calibration.thresholds import Scores
from imageguard_daemon.core.model import Measurement, Measures
from imageguard_daemon.quality.scoring import scale_scores

_MEASURES = {column.name for column in fields(Measures)}


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured image; `name` is its path as given, unescaped."""

    name: str
    measures: Measures
    scores: Scores
    sha256: str = ""


@dataclass(slots=True)
class Collection:
    """The images of one folder, by what can be learned from them. Names are in their order."""

    samples: list[Sample] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    """Same content as another one of this folder: counted once, or few images would look like many."""
    unmeasured: dict[str, str] = field(default_factory=dict)
    """Blank, corrupt, unsupported or too large, with the reason: rejected whatever the thresholds are."""
    contradictions: list[str] = field(default_factory=list)
    """Same content as an image of the other folder: good and bad at once, so it counts in neither."""


def collect(measured: Iterable[tuple[str, Measurement]], elsewhere: frozenset[str] = frozenset()) -> Collection:
    """Sort measurements; `elsewhere` has the SHA-256 of all images of the other folder."""
    collection = Collection()
    seen: set[str] = set()
    for name, measurement in sorted(measured, key=lambda pair: pair[0]):
        if measurement.measures is None:
            collection.unmeasured[name] = f"{measurement.issue}: {measurement.detail}"
        elif measurement.sha256 in elsewhere:
            collection.contradictions.append(name)
        elif measurement.sha256 in seen:
            collection.duplicates.append(name)
        else:
            seen.add(measurement.sha256)
            scores = tuple(scale_scores(measurement.measures).values())
            collection.samples.append(Sample(name, measurement.measures, scores, measurement.sha256))
    return collection


@dataclass(slots=True)
class LoggedImages:
    """Images of a log with their recorded measures, named by their path below the inbox."""

    good: list[tuple[str, Measurement]] = field(default_factory=list)
    bad: list[tuple[str, Measurement]] = field(default_factory=list)
    released: int = 0
    """So many of the good ones were released or approved by people."""
    left_out: int = 0
    """Nothing could be measured, or another version of the scorer did."""

    def add(self, name: str, sha256: str, text: str, is_bad: bool | None) -> None:
        """Take one in: measures as JSON, and whether people called it bad."""
        measures = recorded_measures(text)
        if measures is None:
            self.left_out += 1
            return
        (self.bad if is_bad else self.good).append((name, Measurement(sha256, measures)))
        self.released += is_bad is False


def logged_images(rows: Iterable[tuple[str, str, str, bool | None]]) -> LoggedImages:
    """Sort rows of the log: path, SHA-256, measures as JSON, and whether people called it bad."""
    images = LoggedImages()
    for name, sha256, text, is_bad in rows:
        images.add(name, sha256, text, is_bad)
    return images


def reviewed_images(rows: Iterable[tuple[bool, str, str, str, str]], scorer_version: str) -> LoggedImages:
    """Sort rows of the log: whether people called it bad, path, SHA-256, scorer version, measures as JSON."""
    images = LoggedImages()
    for is_bad, name, sha256, version, text in rows:
        images.add(name, sha256, text if version == scorer_version else "", is_bad)
    return images


def recorded_measures(text: str) -> Measures | None:
    """Read measures as the log has them; None where there are none, or not those of today."""
    try:
        recorded = json.loads(text)
        return Measures(**{name: value for name, value in recorded.items() if name in _MEASURES}) if recorded else None
    except (ValueError, TypeError, AttributeError):
        return None
