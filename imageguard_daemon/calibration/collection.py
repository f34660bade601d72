"""What was measured in the two folders, sorted into what counts and what does not."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from imageguard_daemon.calibration.thresholds import Scores
from imageguard_daemon.core.model import Measurement, Measures
from imageguard_daemon.quality.scoring import scale_scores


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
            collection.samples.append(_sample(name, measurement.measures, measurement.sha256))
    return collection


def _sample(name: str, measures: Measures, sha256: str) -> Sample:
    return Sample(name, measures, tuple(scale_scores(measures).values()), sha256)
