"""What the shell offers for values on a Tab: names from the code alone, so that it answers at once and reads no log."""

from collections.abc import Iterable

from imageguard_daemon.core.model import ISSUES, SCORE_NAMES, THRESHOLD_NAMES


def presets(incomplete: str) -> list[str]:
    """Offer the presets."""
    from imageguard_daemon.quality.policy import PRESETS

    return _beginning_with(incomplete, PRESETS)


def issues(incomplete: str) -> list[str]:
    """Offer what an image can be rejected for."""
    return _beginning_with(incomplete, ISSUES)


def thresholds(incomplete: str) -> list[str]:
    """Offer `blur_score=` and its like: the value is the user's."""
    return _beginning_with(incomplete, (f"{name}=" for name in THRESHOLD_NAMES))


def score_ranges(incomplete: str) -> list[str]:
    """Offer the scores that ranges can be of; `score` is the overall one."""
    return _beginning_with(incomplete, (f"{name}=" for name in (*SCORE_NAMES, "score")))


def dimensions(incomplete: str) -> list[str]:
    """Offer what a report can be grouped by, and behind a comma what that can be crossed with."""
    from imageguard_daemon.audit.counts import Dimension

    first, comma, second = incomplete.partition(",")
    if comma:
        return _beginning_with(f"{first},{second}", (f"{first},{other}" for other in Dimension if other != first))
    return _beginning_with(incomplete, Dimension)


def _beginning_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return [str(name) for name in names if name.startswith(incomplete)]
