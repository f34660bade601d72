"""How many pixels the images of each source and class have, and where many small ones are of nearly one size.

The finding: small copies among larger images are previews and thumbnails that were collected for originals.

The roll-ups have no sizes, but the score of resolution has one meaning: so many effective pixels. A table turns it
back, so that a pass over the log costs a look-up for each image.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.columns import Batch
from imageguard_daemon.audit.keys import Keys
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.reporting.finding import ALPHA, CLEARLY_HIGHER, Finding, Shows, evidence_of
from imageguard_daemon.reporting.statistics import chance_of_at_least, holm_adjusted
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent, share, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting


_Ints = npt.NDArray[np.int64]
_RESOLUTION = SCORE_NAMES.index("resolution_score")
_A_POINT = 10
_STEP = 0.02
"""A bin is so wide in the logarithm of pixels: 2 %."""
_FIRST_PIXELS, _SMALL_PIXELS = 900, 125_000
"""From icons of 30 x 30 to previews of 400 x 300: what is larger is not looked for."""
FAR_LARGER = 3.0
"""So many times as many pixels make an image far larger; 640 x 480 beside 320 x 240 is, at 4."""
_SMALL_BINS = math.ceil(math.log(_SMALL_PIXELS / _FIRST_PIXELS) / _STEP)
_FAR_BINS = math.floor(math.log(FAR_LARGER) / _STEP)
BINS = _SMALL_BINS + _FAR_BINS + 2
"""The last one has all larger images, and what is smaller than the first is in the first."""
_AROUND_BINS = round(math.log(2) / _STEP)
"""What lies around a band: down to half and up to twice as many pixels."""
_MAX_CLASSES = 10_000
"""Only so many are looked at: their histograms must fit into memory."""
EXAMPLES_KEPT = 3
MIN_IMAGES = 6
"""Fewer are never a band; fewer images are not a group to look at."""
MIN_SHARE = 0.03
"""A smaller share of thumbnails is told of no source: it costs little, and some source always has an odd size."""
_ALIKE = 0.25
"""A size that is named has so nearly the number of pixels that is told."""
_LARGER_SHARE, _LARGER_OF_OTHERS = 0.2, 0.4
"""So many of all, and of those that are not in the band, must be far larger: else small is what these images are."""


_THUMBNAILS = "Look at whether thumbnails or previews are collected in place of the originals"
_LOOK_AT = {
    "Class": f"{_THUMBNAILS}.",
    "Source": f"{_THUMBNAILS}. Where they are all the images of one class, that may be its size.",
    "": f"{_THUMBNAILS}.",
}


class Width(NamedTuple):
    """How wide a band may be, and above which share of the images in and around it a band is not a chance."""

    bins: int
    share: float


WIDTHS = (
    # One size: 225 x 225, 259 x 194 and 275 x 183 have the same pixels. A smooth density has 5 % there.
    Width(4, 0.12),
    # One longer side, at any proportions. A smooth density has 30 % there.
    Width(30, 0.5),
)


@dataclass(frozen=True, slots=True)
class Band:
    """Small images of nearly one size: `images` of `total`, with `near` others around and `larger` far larger ones.

    `pixels` is their mean, `share` and `places` what a smooth density must be checked against and how many bands there
    might have been. `sizes` are the width and height of some, `ids` decisions that can tell them.
    """

    total: int
    images: int
    near: int
    larger: int
    pixels: float
    share: float
    places: int
    scores: tuple[float, float] = (0.0, 0.0)
    """From which score of resolution to which its images lie."""
    ids: tuple[int, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()

    @property
    def chance(self) -> float:
        """The probability of so many in one of the places, were the pixels of images spread as at `share`."""
        return min(1.0, self.places * chance_of_at_least(self.images, self.images + self.near, self.share))


@dataclass(frozen=True, slots=True)
class Bands:
    """The most conspicuous band of each name, and how many names were looked at."""

    looked_at: int = 0
    found: Mapping[str, Band] = field(default_factory=dict)


def bin_of(score: float) -> int:
    """Give the bin of an image with this score of resolution, 0 to 100."""
    return int(_BIN_OF_SCORE[min(max(int(score * _A_POINT), 0), 100 * _A_POINT)])


def best_band(counts: _Ints, total: int, least: int) -> tuple[int, int, Band] | None:
    """Find the most conspicuous band of at least so many images, with its first bin and the first one after it.

    `counts` has the images in each bin but the last, which has the rest of `total`.
    """
    below = np.concatenate(([0], np.cumsum(counts[: BINS - 1])))
    bands = [band for width in WIDTHS if (band := _fullest(below, total, width)) and band[2].images >= least]
    return min(bands, key=lambda band: band[2].chance, default=None)


def _fullest(below: _Ints, total: int, width: Width) -> tuple[int, int, Band]:
    starts = np.arange(_SMALL_BINS - width.bins)
    inside = below[starts + width.bins] - below[starts]
    first = int(inside.argmax())
    after = first + width.bins
    images = int(below[after] - below[first])
    begin = max(first - _AROUND_BINS, 0)
    end = min(after + _AROUND_BINS, BINS - 1)
    far = min(first + width.bins // 2 + _FAR_BINS, BINS - 1)
    by_bin = np.diff(below[first : after + 1])
    middle = float(np.average(np.arange(first, after) + 0.5, weights=by_bin + 1e-9))
    band = Band(
        total=total,
        images=images,
        near=int(below[end] - below[begin]) - images,
        larger=total - int(below[far]),
        pixels=_pixels(middle),
        share=width.share,
        places=len(starts) // max(width.bins // 4, 1),
        scores=(_lowest_score(first), _lowest_score(after)),
    )
    return first, after, band


def _lowest_score(bin_: int) -> float:
    return int(np.searchsorted(_BIN_OF_SCORE, bin_)) / _A_POINT


def _pixels(bins: float) -> float:
    return _FIRST_PIXELS * math.exp(bins * _STEP)


def bands_of(sizes: Mapping[str, Mapping[int, Sequence[int]]]) -> Bands:
    """Give what is conspicuous of groups for which each bin has how many images, and the width and height of one."""
    bands, looked_at = {}, 0
    for name, by_bin in sizes.items():
        counts = np.zeros(BINS, np.int64)
        for at, (images, *_) in by_bin.items():
            counts[at] = images
        total = int(counts.sum())
        looked_at += total >= MIN_IMAGES
        if best := best_band(counts, total, MIN_IMAGES):
            first, after, band = best
            within = [by_bin[at] for at in range(first, after) if at in by_bin]
            within.sort(key=lambda entry: -entry[0])
            sizes_of_most = tuple((width, height) for _, width, height in within[:EXAMPLES_KEPT])
            bands[name] = replace(band, sizes=sizes_of_most)
    return Bands(looked_at, bands)


class SizeCounter:
    """Takes batches with their scores; memory grows with sources and, up to a bound, classes."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._by_key = np.zeros(len(keys), np.int64)
        self._groups = {"source": _Groups(keys, "source"), "class": _Groups(keys, "class_name")}

    def add(self, batch: Batch) -> None:
        """Count the images of a batch that could be measured."""
        scores = batch.scores[:, _RESOLUTION]
        measured = ~np.isnan(scores)
        keys = batch.keys[measured].astype(np.int64)
        self._by_key += np.bincount(keys, minlength=len(self._by_key))
        points = np.clip((scores[measured] * _A_POINT).astype(np.int64), 0, 100 * _A_POINT)
        bins = _BIN_OF_SCORE[points]
        limited = np.flatnonzero(bins < BINS - 1)  # most images are large: what is done for each must be little
        if len(limited):
            ids = batch.ids[measured][limited]
            for groups in self._groups.values():
                groups.add(keys[limited], bins[limited], ids)

    def bands(self) -> dict[str, Bands]:
        """Give what is conspicuous of each source and class.

        Looked at are the images judged by one version of the scorer, that which judged most: another one's scores may
        mean other sizes.
        """
        versions, of_key = self._keys.groups("scorer_version")
        images = np.bincount(np.maximum(of_key, 0), self._by_key).tolist()
        counted = [(number, name) for (name,), number in zip(versions, images, strict=False) if number]
        _, version = max(counted, default=(0, ""))
        return {what: groups.bands(version, self._by_key) for what, groups in self._groups.items()}


class _Groups:
    """A histogram for each value that a field of the keys has, apart for each version of the scorer."""

    def __init__(self, keys: Keys, name: str) -> None:
        groups, of_key = keys.groups(name, "scorer_version")
        looked_at = [at for at, (value, _) in enumerate(groups) if value][:_MAX_CLASSES]
        places = np.full(len(groups) + 1, -1, np.int64)  # one more, for numbers that are not in use
        places[looked_at] = np.arange(len(looked_at))
        self._of_key = places[of_key]
        self._groups = [groups[at] for at in looked_at]
        self._counts = np.zeros(max(len(looked_at), 1) * BINS, np.int32)
        self._newest = np.zeros(max(len(looked_at), 1) * BINS, np.int64)

    def add(self, keys: _Ints, bins: _Ints, ids: _Ints) -> None:
        of_key = self._of_key[keys]
        known = of_key >= 0
        codes = of_key[known] * BINS + bins[known]
        self._newest[codes] = ids[known]
        np.add.at(self._counts, codes, np.int32(1))

    def bands(self, version: str, by_key: _Ints) -> Bands:
        known = self._of_key >= 0
        images = np.bincount(self._of_key[known], by_key[known], minlength=len(self._groups))
        totals = images.astype(np.int64)
        looked_at, bands = 0, {}
        for number, (name, of_version) in enumerate(self._groups):
            if of_version != version or totals[number] < MIN_IMAGES:
                continue
            looked_at += 1
            rows = slice(number * BINS, (number + 1) * BINS)
            if best := best_band(self._counts[rows].astype(np.int64), int(totals[number]), MIN_IMAGES):
                first, after, band = best
                ids = self._newest[rows][first:after]
                newest = sorted(ids[ids > 0].tolist(), reverse=True)[:EXAMPLES_KEPT]
                bands[name] = replace(band, ids=tuple(newest))
        return Bands(looked_at, bands)


def _table() -> _Ints:
    scale = next(scale for scale in SCALES if scale.measure == "effective_pixels")
    middles = (np.arange(100 * _A_POINT + 1) + 0.5) / _A_POINT
    pixels = np.array([scale.limit(min(score, 100.0)) for score in middles.tolist()])
    bins = np.floor(np.log(np.maximum(pixels, _FIRST_PIXELS) / _FIRST_PIXELS) / _STEP)
    table: _Ints = np.minimum(bins, BINS - 1).astype(np.int64)
    return table


_BIN_OF_SCORE = _table()


def thumbnails_mixed_in(bands: Mapping[str, Bands], settings: "Reporting", *, of_a_log: bool = True) -> list[Finding]:
    """Tell which sources have many small images of one size among far larger ones, and which classes have more."""
    sources = _conspicuous(bands.get("source", Bands()), settings)
    most = max((band.images / band.total for _, band, _ in sources), default=0.0)
    classes = [
        conspicuous
        for conspicuous in _conspicuous(bands.get("class", Bands()), settings)
        if conspicuous[1].images / conspicuous[1].total >= CLEARLY_HIGHER * most  # else it has what its source has
    ]
    what = "Source" if of_a_log else ""
    return [*_findings(what, sources), *_findings("Class", classes)]


_Found = tuple[str, Band, float]


def _conspicuous(bands: Bands, settings: "Reporting") -> list[_Found]:
    others = [1.0] * (bands.looked_at - len(bands.found))
    chances = holm_adjusted([*(band.chance for band in bands.found.values()), *others])
    conspicuous = [
        (name, band, chance)
        for (name, band), chance in zip(bands.found.items(), chances, strict=False)
        if chance < ALPHA and _is_among_larger(band, settings)
    ]
    return sorted(conspicuous, key=lambda band_of: (-band_of[1].images / band_of[1].total, band_of[0]))


def _is_among_larger(band: Band, settings: "Reporting") -> bool:
    return (
        band.images >= MIN_SHARE * band.total
        and band.larger >= max(settings.min_sample, _LARGER_SHARE * band.total)
        and band.larger >= _LARGER_OF_OTHERS * (band.total - band.images)
    )


def _findings(what: str, conspicuous: Iterable[_Found]) -> Iterable[Finding]:
    for name, band, chance in conspicuous:
        counted = Tally(band.total, {"": band.images})
        subject = f"{what} '{shown(name)}': " if what else ""
        # Of an enlarged image the band has the size that it was enlarged from.
        alike = [(w, h) for w, h in band.sizes if abs(w * h - band.pixels) <= _ALIKE * band.pixels]
        sizes = [f"{width} x {height}" for width, height in alike]
        such_as = f" ({' and '.join(sizes[:2])})" if sizes else ""
        sentence = (
            f"{subject}{share(band.images, band.total)} images ({percent(counted.rate)}) have nearly the same size of "
            f"about {band.pixels / 1000:.0f} kilopixels{such_as}, while {band.larger:,} have {FAR_LARGER:g} times as "
            "many pixels or more."
        )
        look_at = _LOOK_AT[what]
        where = {(what or "source").lower(): name}
        more = {"pixels": round(band.pixels), "larger": band.larger}
        yield Finding(
            "thumbnails_mixed_in",
            name,
            sentence,
            look_at,
            evidence_of(counted, MIN_SHARE, chance) | more,
            where,
            shows=Shows.accepted,
            score=("resolution_score", *band.scores),
        )
