"""Damage of a known strength is measured in its unit, and named."""

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.quality import readout
from tests.helpers.images import blurred, decoded, encoded, enlarged, exposed, jpeg, noisy, photo, pixelated, png

SCENES = [photo(seed=seed) for seed in range(3)]


@pytest.mark.parametrize("seed", range(8))
def test_good_scenes_are_accepted_with_margins(seed: int):
    """A sharp, clean, well exposed scene is far from every threshold."""
    decision = validate(photo(seed=seed))
    assert decision.ok
    assert decision.score > 0.65


@pytest.mark.parametrize("size", [(320, 240), (240, 320), (1600, 1200), (3000, 2000)])
def test_size_does_not_spoil_a_good_scene(size: tuple[int, int]):
    """Small, portrait and large scenes are accepted alike."""
    assert validate(jpeg(photo(*size))).ok


DAMAGE = {
    "blur_sigma_px": (blurred, [0.6, 1.2, 2, 3, 5], ["blurry"]),
    "noise_sigma": (noisy, [2, 6, 12, 20, 35], ["noisy"]),
    "enlargement": (pixelated, [2, 3, 5, 7], ["pixelated", "low_resolution"]),
    "underexposure": (lambda rgb, stops: exposed(rgb, -stops), [1, 2, 4, 6], ["underexposed"]),
    "overexposure": (exposed, [0.3, 1.5, 3, 5], ["overexposed"]),
}


@pytest.mark.parametrize("measure", DAMAGE)
@pytest.mark.parametrize("scene", SCENES, ids=["a", "b", "c"])
def test_more_damage_measures_worse(measure: str, scene: np.ndarray):
    """A measure rises with the damage it is about, and the worst damage is named."""
    damage, strengths, issues = DAMAGE[measure]
    decisions = [validate(damage(scene, strength)) for strength in strengths]
    values = [decision.measures[measure] for decision in decisions]
    assert values == sorted(values)
    assert decisions[-1].reason in issues


@pytest.mark.parametrize("sigma", [2.0, 3.0, 4.0])
def test_blur_is_measured_in_pixels(sigma: float):
    """The blur told is that of the Gaussian applied, within a factor of two."""
    for scene in SCENES:
        assert sigma / 2 < validate(blurred(scene, sigma)).measures["blur_sigma_px"] < sigma * 2


@pytest.mark.parametrize("sigma", [8.0, 16.0, 30.0])
def test_noise_is_measured_in_grey_levels(sigma: float):
    """The noise told is that of the grain applied, within a third."""
    for scene in SCENES:
        assert validate(noisy(scene, sigma)).measures["noise_sigma"] == pytest.approx(sigma, rel=0.33)


@pytest.mark.parametrize("quality", [5, 10, 14, 30, 50])
@pytest.mark.parametrize("container", ["PNG", "JPEG"])
def test_jpeg_quality_survives_another_container(quality: int, container: str):
    """A PNG or a fine JPEG made from a coarse JPEG is as bad as that was."""
    options = {"quality": 95} if container == "JPEG" else {}
    found = validate(encoded(Image.fromarray(decoded(jpeg(SCENES[0], quality))), container, **options))
    assert found.measures["jpeg_quality"] == pytest.approx(quality, abs=4)


def test_a_cropped_jpeg_is_still_one():
    """The block grid is found where it is."""
    assert validate(png(decoded(jpeg(SCENES[0], 10))[3:, 5:])).reason == "compressed"


def test_pixels_that_never_were_jpeg_look_like_none():
    """No compression is seen where there was none."""
    for scene in SCENES:
        assert validate(png(scene)).measures["jpeg_quality"] > 80


def test_enlargement_is_measured_as_a_factor():
    """Blocks tell their factor, and smooth interpolation does within a half."""
    for factor in (2.7, 3.4, 5.3):
        assert validate(pixelated(SCENES[0], factor)).measures["enlargement"] == pytest.approx(factor, rel=0.05)
        assert validate(enlarged(SCENES[0], factor)).measures["enlargement"] == pytest.approx(factor, rel=0.5)


def test_a_sharp_subject_before_a_blurred_background_is_sharp():
    """The sharpest meaningful region counts, not the average."""
    rgb = blurred(SCENES[0], 6)
    rgb[140:340, 200:440] = SCENES[0][140:340, 200:440]
    assert "blurry" not in validate(rgb).issues


def test_motion_is_blur_though_some_edges_stay_sharp():
    """Edges along the path of a motion do not make the picture sharp."""
    smeared = np.asarray(SCENES[0], np.float32)
    smeared = np.mean([np.roll(smeared, shift, axis=1) for shift in range(-10, 11)], axis=0)
    assert validate(smeared.astype(np.uint8)).reason == "blurry"


def test_a_plain_white_background_is_no_overexposure():
    """A product photo on white is well exposed."""
    rgb = np.full((480, 640, 3), 255, np.uint8)
    rgb[120:360, 180:460] = SCENES[0][120:360, 180:460]
    assert "overexposed" not in validate(rgb).issues


def test_lights_in_the_night_are_no_underexposure():
    """A dark scene with its lights is well exposed."""
    rgb = exposed(SCENES[0], -5)
    rgb[200:260, 300:380] = SCENES[0][200:260, 300:380] // 2 + 128
    assert "underexposed" not in validate(rgb).issues


def test_thumbnails_are_of_low_resolution():
    """A scene of 120 x 90 is too small for anything."""
    assert validate(photo(120, 90)).reason == "low_resolution"


def test_ink_on_a_transparent_page_is_not_in_the_dark():
    """A page of black on nothing, laid over middle grey, is half bright: it cannot be under-exposed."""
    page = np.zeros((400, 300, 4), np.uint8)
    page[60:64, 40:240, 3] = 255
    page[90:94, 40:200, 3] = 255
    found = validate(page)
    assert found.measures["underexposure"] < 0.1
    assert found.measures["overexposure"] < 0.1


@pytest.mark.parametrize("side", [24, 48])
def test_few_pixels_are_blamed_for_little_but_their_number(side: int):
    """A tiny picture of fine detail is of low resolution, and neither noisy nor compressed nor pixelated."""
    scene = photo(640, 480, 5)
    tiny = np.asarray(Image.fromarray(scene).resize((side, side), Image.Resampling.NEAREST))
    assert set(validate(tiny).issues) <= {"low_resolution"}


@pytest.mark.parametrize("module_px", [4, 8, 16])
def test_a_code_of_black_and_white_squares_never_was_a_jpeg(module_px: int):
    """Squares of 8 px lie on the grid of a JPEG, and only two levels say that there never was one."""
    code = cv2.QRCodeEncoder.create().encode("x" * 300)
    found = validate(cv2.resize(code, None, fx=module_px, fy=module_px, interpolation=cv2.INTER_NEAREST))
    assert found.measures["jpeg_quality"] > 45
    assert "compressed" not in found.issues


def _diagram(seed: int, ink: int = 0) -> np.ndarray:
    """Boxes, lines and a few words, dark on white, as a program draws them."""
    colour = (ink, ink, ink)
    rng = np.random.default_rng(seed)
    page = np.full((348, 702, 3) if seed % 2 else (638, 437, 3), 255, np.uint8)
    for _ in range(2 + seed % 5):
        left, top = (int(rng.integers(10, side - 60)) for side in page.shape[1::-1])
        width, height = (int(side) for side in rng.integers(20, 90, 2))
        filled = -1 if rng.random() < 0.5 else 1
        cv2.rectangle(page, (left, top), (left + width, top + height), colour, filled)
        cv2.line(page, (left, top), (int(rng.integers(0, page.shape[1])), top), colour)
    for line in range(3):
        cv2.putText(page, "sheet before mask", (12, 120 + 12 * line), cv2.FONT_HERSHEY_PLAIN, 0.7, colour)
    return page


@pytest.mark.parametrize("ink", [0, 36])
@pytest.mark.parametrize("seed", [2, 16, 18, 29, 41, 44, 53])
def test_a_drawn_page_is_not_overexposed_however_little_ink_it_has(seed: int, ink: int):
    """Dark on white, and next to nothing between, is what a program draws and no camera sees."""
    assert validate(png(_diagram(seed, ink))).ok


@pytest.mark.parametrize(("by_luma", "told"), [(0.1, 0.1), (0.3, 0.25), (0.66, 0.25), (0.9, 0.9)])
def test_what_looks_drawn_is_spared_a_doubt_and_no_certainty(
    by_luma: float, told: float, monkeypatch: pytest.MonkeyPatch
):
    """What five stops too much leave of a photo may be black shapes on white, too; of that the networks are certain."""
    estimates = readout._estimates
    monkeypatch.setattr(readout, "_estimates", lambda *asked: estimates(*asked) | {"overexposure": by_luma})
    assert validate(_diagram(2)).measures["overexposure"] == told


@pytest.mark.parametrize("stops", [2.5, 3.3, 4.4])
def test_too_much_light_on_a_grey_photo_leaves_few_levels_and_is_seen(stops: float):
    """A brightened photo without colours has as few levels as a drawing, but tones between and no black."""
    for scene in SCENES:
        grey = np.repeat(cv2.cvtColor(scene, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
        assert "overexposed" in validate(png(exposed(grey, stops))).issues


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_a_washed_out_photo_of_a_page_is_overexposed(seed: int):
    """Ink that has turned grey, on paper that has turned white, is what too much light leaves of a page."""
    if cv2.__version__ < "5":
        pytest.skip("OpenCV 4 draws other letters, which make another page")
    page = 90 + _diagram(seed).astype(np.float32) / 2
    lit = cv2.GaussianBlur(page, (0, 0), 0.8) + np.random.default_rng(1).normal(0, 1.5, page.shape)
    assert "overexposed" in validate(png(exposed(np.clip(lit, 0, 255).astype(np.uint8), 1))).issues
