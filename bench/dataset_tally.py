"""Measured data sets to figures, and figures against those that were committed; pure."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.datasets import STANDARD_SIDES, Listed, Measured
from bench.tally import Share, fewest_pixels
from imageguard_daemon.calibration.proposal import MIN_IMAGES, make_proposal
from imageguard_daemon.calibration.samples import Collection, collect
from imageguard_daemon.core.model import Decision, Measurement
from imageguard_daemon.quality.policy import decide, thresholds_for
from imageguard_daemon.quality.scoring import LIMITS

MAX_REJECT = 0.02
"""Of the half of a soft set from which thresholds are made."""
Seen = Sequence[tuple[Listed, Decision]]


@dataclass(frozen=True, slots=True)
class SetFigures:
    """How the images of one set were judged at the defaults; `issues` has the most frequent first."""

    expect: str
    kind: str
    name: str
    wrong: Share
    borderline: Share
    issues: tuple[tuple[str, int], ...]

    @property
    def counted(self) -> bool:
        """Whether `wrong` is wrong, and not only shown."""
        return self.expect not in {"soft_source", "any"}


@dataclass(frozen=True, slots=True)
class SoftFigures:
    """How thresholds from one half of a soft set did on the other half.

    `rejected` is of the other half as it is; `missed` is what is still accepted of it after a further blur.
    """

    thresholds: Mapping[str, float]
    rejected: Share
    missed: Share


@dataclass(frozen=True, slots=True)
class DataSetFigures:
    """All figures of the data sets; `whole` is by preset, `crops` are by preset and side, `soft` by set."""

    sets: Sequence[SetFigures]
    everyday: Share
    everyday_borderline: Share
    good: Share
    whole: Mapping[str, Share]
    crops: Mapping[tuple[str, int], Share]
    soft: Mapping[str, SoftFigures]


def dataset_figures(measured: Measured) -> DataSetFigures:
    """Judge at the defaults of `general`, crops under each preset meant for them, and sum up."""
    seen = [(listed, _judged(measurement)) for listed, measurement in measured.images]
    everyday = [pair for pair in seen if pair[0].everyday]
    return DataSetFigures(
        sets=_sets(seen),
        everyday=_wrong(everyday),
        everyday_borderline=_borderline(everyday),
        good=_wrong([pair for pair in seen if pair[0].good]),
        whole={preset: _whole(measured, preset) for preset in STANDARD_SIDES},
        crops=_crops(measured),
        soft=_soft_sets(measured),
    )


def _judged(
    measurement: Measurement, preset: str = "general", thresholds: Mapping[str, float] | None = None
) -> Decision:
    return decide(measurement, preset, thresholds_for(preset, thresholds))


def _wrong(seen: Seen) -> Share:
    return Share.of(listed.wrong(decision.issues) for listed, decision in seen)


def _borderline(seen: Seen) -> Share:
    return Share.of(decision.borderline for _, decision in seen)


def _sets(seen: Seen) -> list[SetFigures]:
    groups: dict[tuple[str, str, str], list[tuple[Listed, Decision]]] = {}
    for listed, decision in seen:
        groups.setdefault((listed.expect, listed.kind, listed.set), []).append((listed, decision))
    return [SetFigures(*key, _wrong(of), _borderline(of), _issues(of)) for key, of in sorted(groups.items())]


def _issues(seen: Seen) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(issue for _, decision in seen for issue in decision.issues).most_common())


def _whole(measured: Measured, preset: str) -> Share:
    """Give the share rejected of everyday photos that have the pixels which the preset demands."""
    photos = [measurement for listed, measurement in measured.images if listed.everyday]
    return Share.of(not _judged(one, preset).ok for one in photos if _pixels(one) >= fewest_pixels(preset))


def _pixels(measurement: Measurement) -> float:
    """Give width x height; more than any preset demands where nothing could be measured, since its size is not why."""
    measures = measurement.measures
    return measures.width * measures.height if measures else math.inf


def _crops(measured: Measured) -> dict[tuple[str, int], Share]:
    """Give, by preset and side, the share rejected of the crops of photos that the preset accepts as they are.

    What a strict preset finds in the whole photo it may find in a crop: only the others tell what cropping does.
    """
    found: dict[tuple[str, int], Share] = {}
    for preset, sides in STANDARD_SIDES.items():
        photos = [listed.path for listed, one in measured.images if listed.everyday and _judged(one, preset).ok]
        crops = [measured.crops[path] for path in photos]
        for side in sides:
            found[preset, side] = Share.of(not _judged(one[side], preset).ok for one in crops if side in one)
    return found


def _soft_sets(measured: Measured) -> dict[str, SoftFigures]:
    sets: dict[str, list[tuple[Listed, Measurement]]] = {}
    for listed, measurement in measured.images:
        if listed.expect == "soft_source":
            sets.setdefault(listed.set, []).append((listed, measurement))
    return {name: _soft(images, measured) for name, images in sorted(sets.items()) if len(images) >= MIN_IMAGES}


def _soft(images: Sequence[tuple[Listed, Measurement]], measured: Measured) -> SoftFigures:
    """Calibrate on every second image, judge the others."""
    collection = collect((str(listed.path), measurement) for listed, measurement in images[::2])
    proposal = make_proposal(collection, Collection(), "general", MAX_REJECT)
    thresholds = dict(zip(LIMITS, proposal.thresholds, strict=True))
    others = images[1::2]
    return SoftFigures(
        thresholds,
        rejected=Share.of(not _judged(measurement, thresholds=thresholds).ok for _, measurement in others),
        missed=Share.of(_judged(measured.blurred[listed.path], thresholds=thresholds).ok for listed, _ in others),
    )


def held_figures(figures: DataSetFigures) -> dict[str, Share]:
    """Give by name all shares that later work may not make worse; in each, hits are what is wrong."""
    soft = figures.soft.items()
    shares = {
        **{f"{one.expect} {one.name} ({one.kind})": one.wrong for one in figures.sets if one.counted},
        "all good sets": figures.good,
        "everyday photos": figures.everyday,
        "everyday photos, borderline": figures.everyday_borderline,
        **{f"everyday photos, {preset}": share for preset, share in figures.whole.items() if preset != "general"},
        **{f"crops {preset} {side}": share for (preset, side), share in figures.crops.items()},
        **{f"soft {name}, other half rejected": one.rejected for name, one in soft},
        **{f"soft {name}, blurred further and accepted": one.missed for name, one in soft},
    }
    return {name: share for name, share in shares.items() if share.trials}


def worse(now: Mapping[str, Share], committed: Mapping[str, Share]) -> list[str]:
    """Name, in words, what is beyond the interval of the committed share, or is not measured any more."""
    return [
        f"{name}: {in_words(now[name])}, was {in_words(share)}" if name in now else f"{name}: not measured any more"
        for name, share in committed.items()
        if name not in now or now[name].hits / now[name].trials > share.interval[1]
    ]


def in_words(share: Share) -> str:
    """Give `3 of 60`."""
    return f"{share.hits} of {share.trials}"
