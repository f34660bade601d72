"""What people said of images, as examples: released and approved ones are good, confirmed and rejected ones bad."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from imageguard_daemon.core.model import Measurement, Measures

_MEASURES = {one.name for one in fields(Measures)}


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
