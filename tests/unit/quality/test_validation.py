"""The library's one call, and what importing the package costs."""

import io
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import imageguard_daemon
from imageguard_daemon import PRESETS, Decision, PresetName, Thresholds, validate
from imageguard_daemon.core.model import THRESHOLD_NAMES
from tests.helpers.images import blurred, encoded, jpeg, photo, png

RGB = photo()


def test_every_kind_of_argument_gives_the_same_verdict(tmp_path: Path):
    """Path, string, bytes, Pillow image and array are judged alike."""
    path = tmp_path / "photo.png"
    path.write_bytes(png(RGB))
    decisions = [validate(given) for given in (path, str(path), png(RGB), Image.fromarray(RGB), RGB)]
    assert all(isinstance(decision, Decision) and decision.ok for decision in decisions)
    assert len({decision.score for decision in decisions}) == 1


def test_grey_images_are_images():
    """Grey arrays of two or three dimensions and grey Pillow images are judged."""
    image = Image.fromarray(RGB).convert("L")
    grey = np.asarray(image)
    assert validate(grey).ok
    assert validate(grey).score == validate(grey[..., None]).score == validate(image).score


@pytest.mark.parametrize("mode", ["1", "P", "CMYK", "RGBA", "LA", "I", "F", "I;16"])
def test_pillow_modes_are_judged(mode: str):
    """No mode of a Pillow image is an exception."""
    image = Image.fromarray(RGB).convert("L").convert(mode) if mode != "P" else Image.fromarray(RGB).convert(mode)
    assert 0 <= validate(image).score <= 1


def test_thresholds_and_presets_count():
    """What is asked for decides, and is recorded."""
    soft = blurred(RGB, 1.1)
    lenient, strict = validate(soft, thresholds={"blur_score": 1}), validate(soft, thresholds={"blur_score": 99})
    assert lenient.ok
    assert strict.reason == "blurry"
    assert strict.thresholds["blur_score"] == 99
    assert validate(soft, "detection").preset == "detection"


def test_a_link_is_what_it_points_to(tmp_path: Path):
    """A caller who names a link means its target."""
    (tmp_path / "photo.png").write_bytes(png(RGB))
    (tmp_path / "link").symlink_to("photo.png")
    assert validate(tmp_path / "link").ok


def test_a_wrong_suffix_does_not_matter(tmp_path: Path):
    """The content decides the format."""
    path = tmp_path / "photo.gif"
    path.write_bytes(jpeg(RGB))
    assert validate(path).ok


def test_bad_images_are_decisions(tmp_path: Path):
    """A loop over a folder never breaks on a damaged file."""
    path = tmp_path / "bad.jpg"
    path.write_bytes(jpeg(RGB)[:2000])
    decision = validate(path)
    assert (decision.ok, decision.reason, decision.score) == (False, "corrupt", 0.0)
    assert validate(b"").reason == "corrupt"
    truncated = Image.open(io.BytesIO(encoded(Image.fromarray(RGB), "PNG")[:5000]))
    assert validate(truncated).reason == "corrupt"


@pytest.mark.parametrize(
    ("image", "error"),
    [
        (None, TypeError),
        (3, TypeError),
        ([[1]], TypeError),
        (RGB.astype(np.float32), TypeError),
        (RGB[None], ValueError),
        (RGB[:, :, :2], ValueError),
        (RGB[:0], ValueError),
        ("no/such/file.jpg", FileNotFoundError),
        ("", FileNotFoundError),
        ("/", IsADirectoryError),
        ("/dev/null", ValueError),
    ],
)
def test_wrong_arguments_are_errors(image, error):
    """A mistake of the caller is an exception, not a verdict."""
    with pytest.raises(error):
        validate(image)


def test_one_pixel_shows_nothing_and_two_are_a_small_image():
    """The smallest image is of one colour, the next of low resolution, whatever else is said of it."""
    assert validate(RGB[:1, :1]).reason == "blank"
    assert validate(np.array([[0, 255]], np.uint8)).reason == "low_resolution"


def test_a_misspelt_preset_or_threshold_is_a_mistake_to_type_checkers() -> None:
    """They need not be run to be found: mypy checks these lines, and would call an exception for it unused."""
    assert get_args(PresetName) == tuple(PRESETS)
    assert tuple(Thresholds.__annotations__) == THRESHOLD_NAMES
    validate(RGB, preset="documents", thresholds={"blur_score": 55, "overexposure_score": 20})
    with pytest.raises(ValueError, match="did you mean 'general'"):
        validate(RGB, preset="genral")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="did you mean 'blur_score'"):
        validate(RGB, thresholds={"blur_scor": 55})  # type: ignore[typeddict-unknown-key]


def test_public_names_are_there():
    """What the package promises to export, it exports."""
    names = {"PRESETS", "Decision", "PresetName", "Thresholds", "__version__", "validate"}
    assert set(imageguard_daemon.__all__) == names
    assert set(PRESETS) == {"general", "fine_grained", "detection", "segmentation", "small_images", "documents"}
    assert imageguard_daemon.__version__
    assert set(imageguard_daemon.__all__) <= set(dir(imageguard_daemon))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = imageguard_daemon.nonsense


def test_importing_is_light():
    """Importing the package loads no image, settings or database library."""
    code = "import imageguard_daemon, sys; print(*sys.modules)"
    modules = set(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.decode().split())
    assert not modules & {"numpy", "cv2", "PIL", "pydantic", "sqlalchemy", "simplejpeg"}


def test_scores_can_be_judged_again_without_an_image_library():
    """Reports re-judge records without numpy or OpenCV."""
    code = "import imageguard_daemon.quality.policy, sys; print(*sys.modules)"
    modules = set(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.decode().split())
    assert not modules & {"numpy", "cv2", "PIL"}
