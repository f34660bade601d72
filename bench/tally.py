"""Trials to figures: shares with their intervals, and rank correlations; pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from bench.kinds import KINDS, PAIRS
from bench.trials import Judged, PhotoTrials, Trial
from imageguard_daemon import PRESETS
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.reporting.statistics import wilson_interval

_RESOLUTION = next(scale for scale in SCALES if scale.signal == "resolution")


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many."""

    hits: int
    trials: int

    @classmethod
    def of(cls, answers: Iterable[bool]) -> "Share":
        """Count what is true."""
        counted = Counter(map(bool, answers))
        return cls(counted[True], counted.total())

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of Wilson."""
        return wilson_interval(self.hits, self.trials)

    def __str__(self) -> str:
        """Give the share in per cent, with its interval in brackets; a dash for nothing."""
        if not self.trials:
            return "-"
        low, high = self.interval
        return f"{100 * self.hits / self.trials:.3g} ({100 * low:.0f}-{100 * high:.0f})"

    def as_dict(self) -> dict[str, float | None]:
        """Give the share and its interval as numbers."""
        low, high = self.interval
        share = self.hits / self.trials if self.trials else None
        return {"share": share, "low": low, "high": high, "n": self.trials}


@dataclass(frozen=True, slots=True)
class KindFigures:
    """How one kind of damage was judged; `rank_correlation` is None where no photo gave one."""

    recall: Share
    reason_right: Share
    false_alarms: Share
    rank_correlation: float | None
    photos: int


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Give the rank of each value, 0 for the smallest; equal values share the mean of their ranks."""
    array = np.asarray(values, np.float64)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    not_above = (array[None, :] <= array[:, None]).sum(axis=1)
    return np.asarray((below + not_above - 1) / 2, np.float64)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Give Spearman's correlation, the linear one of the ranks; None for fewer than two different first values.

    A second sequence that is constant says nothing of the first: 0.
    """
    x, y = (ranks(values) - (len(values) - 1) / 2 for values in (first, second))
    if not x.any():
        return None
    return float(x @ y / np.sqrt((x @ x) * (y @ y))) if y.any() else 0.0


def kind_figures(name: str, photos: Sequence[PhotoTrials]) -> KindFigures:
    """Sum up one kind of damage.

    A false alarm is any issue in the harmless zone that the undamaged photo does not have.
    """
    kind = KINDS[name]
    series = [[trial for trial in photo.trials if trial.kind == name] for photo in photos]
    fatal = [trial for trials in series for trial in trials if trial.zone == "reject"]
    alarms = (
        bool(trial.issues - photo.issues)
        for photo, trials in zip(photos, series, strict=True)
        for trial in trials
        if trial.zone == "pass"
    )
    correlations = [found for trials in series if (found := _falls_with_damage(trials)) is not None]
    return KindFigures(
        recall=Share.of(bool(trial.issues & kind.issues) for trial in fatal),
        reason_right=Share.of(trial.reason in kind.issues for trial in fatal),
        false_alarms=Share.of(alarms),
        rank_correlation=fmean(correlations) if correlations else None,
        photos=len(correlations),
    )


def _falls_with_damage(trials: Sequence[Trial]) -> float | None:
    return rank_correlation([-trial.badness for trial in trials], [trial.score for trial in trials])


def pair_shares(photos: Sequence[PhotoTrials]) -> dict[tuple[str, str], Share]:
    """Give for each pair of faults how often both were raised."""
    return {
        pair: Share.of(
            all(issues & KINDS[name].issues for name in pair)
            for photo in photos
            for tried, issues in photo.pairs
            if tried == pair
        )
        for pair in PAIRS
    }


def quality_share(photos: Sequence[PhotoTrials]) -> Share:
    """Give how often the JPEG quality was found to 1."""
    return Share.of(abs(written - found) <= 1 for photo in photos for written, found in photo.qualities)


def by_label(judged: Iterable[Judged]) -> dict[str, list[Judged]]:
    """Give the images of each label, in the order of labels."""
    groups: dict[str, list[Judged]] = {}
    for image in judged:
        groups.setdefault(str(image.label), []).append(image)
    return dict(sorted(groups.items()))


def as_expected(judged: Sequence[Judged]) -> Share:
    """Give how many images were judged as their label says."""
    return Share.of(image.label.met_by(image.issues) for image in judged)


def too_small(judged: Sequence[Judged]) -> list[Judged]:
    """Give the images whose width x height alone is below the threshold: no estimate, and no error, rejects them."""
    return [image for image in judged if 0 < image.pixels < fewest_pixels("general")]


def fewest_pixels(preset: str) -> float:
    """Give the width x height below which a preset rejects whatever the image shows."""
    return _RESOLUTION.limit(PRESETS[preset]["resolution_score"])


def issues_raised(judged: Iterable[Judged]) -> list[tuple[str, int]]:
    """Give the issues raised, the most frequent first."""
    return Counter(issue for image in judged for issue in sorted(image.issues)).most_common()
