"""The finding about small copies among larger images: previews and thumbnails that were collected for originals."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from imageguard_daemon.reporting.finding import ALPHA, CLEARLY_HIGHER, Finding, Shows, evidence_of
from imageguard_daemon.reporting.sizes import FAR_LARGER, Band, Bands
from imageguard_daemon.reporting.statistics import holm_adjusted
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import percent, share, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

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


def thumbnails_mixed_in(bands: Mapping[str, Bands], settings: "Reporting", *, of_a_log: bool = True) -> list[Finding]:
    """Tell which sources have many small images of one size among far larger ones, and which classes have more."""
    sources = _conspicuous(bands.get("source", Bands()), settings)
    most = max((band.images / band.total for _, band, _ in sources), default=0.0)
    classes = [
        one
        for one in _conspicuous(bands.get("class", Bands()), settings)
        if one[1].images / one[1].total >= CLEARLY_HIGHER * most  # else it has what its source has
    ]
    what = "Source" if of_a_log else ""
    return [*_findings(what, sources), *_findings("Class", classes)]


_Found = tuple[str, Band, float]


def _conspicuous(bands: Bands, settings: "Reporting") -> list[_Found]:
    others = [1.0] * (bands.looked_at - len(bands.found))
    chances = holm_adjusted([*(band.chance for band in bands.found.values()), *others])
    found = [
        (name, band, chance)
        for (name, band), chance in zip(bands.found.items(), chances, strict=False)
        if chance < ALPHA and _is_among_larger(band, settings)
    ]
    return sorted(found, key=lambda one: (-one[1].images / one[1].total, one[0]))


def _is_among_larger(band: Band, settings: "Reporting") -> bool:
    return (
        band.images >= MIN_SHARE * band.total
        and band.larger >= max(settings.min_sample, _LARGER_SHARE * band.total)
        and band.larger >= _LARGER_OF_OTHERS * (band.total - band.images)
    )


def _findings(what: str, found: Iterable[_Found]) -> Iterable[Finding]:
    for name, band, chance in found:
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
