"""Thumbnails among larger images: which are told, and which spreads of sizes are none."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from imageguard_daemon.audit.columns import Batch
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.quality.version import SCORER_VERSION
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.sizes import Band, Bands, SizeCounter, bands_of, bin_of, thumbnails_mixed_in

Pixels = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Pixels]
SCALE = next(scale for scale in SCALES if scale.measure == "effective_pixels")
RESOLUTION = SCORE_NAMES.index("resolution_score")


def _preview(rng: np.random.Generator, images: int) -> Pixels:
    widths = rng.integers(190, 320, images)
    return widths * np.round(50_400 / widths)  # as search engines make them: 259 x 194, 275 x 183, 225 x 225


def _web(rng: np.random.Generator, images: int) -> Pixels:
    return np.exp(rng.normal(np.log(900e3), 0.9, images))


def _photos(rng: np.random.Generator, images: int) -> Pixels:
    return rng.choice([12e6, 8e6, 2e6, 1e6], images)


THUMBNAILS: dict[str, Draw] = {
    "previews": _preview,
    "150 x 150": lambda _, images: np.full(images, 22_500.0),
    "320 x 240": lambda _, images: np.full(images, 76_800.0),
}
LARGER: dict[str, Draw] = {"web": _web, "photos": _photos}
ORDINARY: dict[str, Draw] = {
    "lognormal": lambda rng, images: np.exp(rng.normal(np.log(rng.uniform(1e5, 2e6)), rng.uniform(0.2, 1.5), images)),
    "any side": lambda rng, images: rng.integers(60, 3000, images) * rng.integers(60, 3000, images).astype(float),
    "crops": lambda rng, images: np.exp(rng.normal(np.log(3e4), 1.0, images)),
    "one small size": lambda _, images: np.full(images, 224.0 * 224),
    "camera sizes": lambda rng, images: rng.choice([640 * 480.0, 640 * 427, 500 * 375, 640 * 360], images),
    "crops and photos": lambda rng, images: np.where(
        rng.random(images) < 0.3, np.exp(rng.normal(np.log(5e4), 0.6, images)), 8e6
    ),
}


def scores_of(pixels: Pixels) -> Pixels:
    """Give the scores of resolution."""
    return np.array([SCALE.score(float(value)) for value in pixels])


def found(**groups: Pixels) -> list[Finding]:
    """Give the findings on sources with images of so many pixels, as a scan counts them."""
    counted: dict[str, dict[int, list[int]]] = {}
    for name, pixels in groups.items():
        for score in scores_of(pixels).tolist():
            counted.setdefault(name, {}).setdefault(bin_of(score), [0, 259, 194])[0] += 1
    return thumbnails_mixed_in({"source": bands_of(counted)}, Reporting())


@pytest.mark.parametrize("larger", LARGER)
@pytest.mark.parametrize("thumbnails", THUMBNAILS)
def test_planted_thumbnails_are_found(thumbnails: str, larger: str) -> None:
    """Of sources from 200 images on of which 5 to 40 % are thumbnails, at least nine in ten are told."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(100):
        images, part = int(rng.integers(200, 2000)), rng.uniform(0.05, 0.4)
        small = rng.binomial(images, part)
        pixels = np.concatenate([THUMBNAILS[thumbnails](rng, small), LARGER[larger](rng, images - small)])
        hits += [one.kind for one in found(web=pixels)] == ["thumbnails_mixed_in"]
    assert hits >= 90


@pytest.mark.parametrize("spread", ORDINARY)
def test_ordinary_spreads_of_sizes_are_none(spread: str) -> None:
    """Sizes that vary, and sources small by design, give a finding in at most one of a hundred reports."""
    rng = np.random.default_rng(6)
    wrong = sum(
        bool(found(**{f"s{n}": ORDINARY[spread](rng, int(rng.integers(30, 1500))) for n in range(4)}))
        for _ in range(100)
    )
    assert wrong <= 1


def test_the_finding_says_how_many_how_large_and_beside_what() -> None:
    """A person reads the counts, a size to look for, and what to look at."""
    [finding] = found(web=np.concatenate([np.full(60, 259.0 * 194), np.full(240, 2e6)]))
    assert finding.subject == "web"
    assert finding.sentence.startswith("Source 'web': 60 of 300 images (20.0 %) have nearly the same size of about 5")
    assert "(259 x 194)" in finding.sentence
    assert "240 have 3 times as many pixels or more" in finding.sentence
    assert "thumbnails or previews" in finding.look_at
    assert finding.evidence["rate"] == pytest.approx(0.2)
    listed = "imageguard-daemon quarantine list ROOT --state accepted --source web --score resolution_score="
    assert finding.command.startswith(listed)
    low, high = map(float, finding.command.removeprefix(listed).split(".."))
    assert low <= scores_of(np.array([259.0 * 194]))[0] <= high <= low + 5


def _batch(keys: list[int], pixels: Pixels) -> Batch:
    number = len(keys)
    scores = np.full((number, len(SCORE_NAMES)), 90.0)
    scores[:, RESOLUTION] = np.where(np.isnan(pixels), np.nan, scores_of(pixels))
    whole = np.arange(1, number + 1)
    return Batch(0, whole, np.array(keys, np.uint32), np.zeros(number, np.uint8), whole, scores)


def _key(source: str, class_name: str, version: str = SCORER_VERSION) -> Key:
    return Key("host", source, class_name, "", "general", "{}", "accepted", "", version)


def test_a_class_is_told_beside_its_source_only_if_it_has_clearly_more() -> None:
    """Thumbnails that lie in one class are told of that class; those that lie in all are told once."""
    keys = [None, _key("web", "lynx"), _key("web", "cat")]
    small, large = np.full(60, 50_400.0), np.full(240, 2e6)
    counter = SizeCounter(Keys.numbered(keys))
    counter.add(_batch([1] * 60 + [1] * 40 + [2] * 200, np.concatenate([small, large])))
    told = thumbnails_mixed_in(counter.bands(), Reporting())
    assert [(one.sentence.split()[0], one.subject) for one in told] == [("Source", "web"), ("Class", "lynx")]
    counter = SizeCounter(Keys.numbered(keys))
    counter.add(_batch([1, 2] * 150, np.concatenate([small, large])))
    assert [one.subject for one in thumbnails_mixed_in(counter.bands(), Reporting())] == ["web"]


def test_scores_of_different_scorers_are_not_mixed() -> None:
    """What one scorer calls 60 points may be another size to another: the one that judged most is looked at."""
    counter = SizeCounter(Keys.numbered([None, _key("web", "", "0"), _key("web", "")]))
    counter.add(_batch([1] * 60 + [2] * 240, np.concatenate([np.full(60, 50_400.0), np.full(240, 2e6)])))
    assert thumbnails_mixed_in(counter.bands(), Reporting()) == []


def test_the_bands_of_a_log_name_the_newest_images() -> None:
    """What is in the band can be looked at: the ids lead to records with width and height."""
    counter = SizeCounter(Keys.numbered([None, _key("web", "")]))
    counter.add(_batch([1] * 300, np.concatenate([np.full(60, 50_400.0), np.full(240, 2e6)])))
    assert counter.bands()["source"].found["web"].ids == (60,)


def test_images_that_could_not_be_measured_have_no_size() -> None:
    """They count nowhere, and an empty log has no bands."""
    counter = SizeCounter(Keys.numbered([None, _key("web", "")]))
    counter.add(_batch([1] * 40, np.full(40, np.nan)))
    assert counter.bands()["source"].found == {}
    assert SizeCounter(Keys.numbered([])).bands()["source"].found == {}


def test_sizes_that_are_named_are_of_the_number_of_pixels_that_is_told() -> None:
    """An enlarged image lies in the band of what it was enlarged from, and its own size would contradict that."""
    band = Band(300, 60, 0, 240, 65_536.0, 0.12, 200, sizes=((256, 256), (512, 512), (300, 300)))
    [finding] = thumbnails_mixed_in({"source": Bands(1, {"web": band})}, Reporting())
    assert "about 66 kilopixels (256 x 256), while 240" in finding.sentence
