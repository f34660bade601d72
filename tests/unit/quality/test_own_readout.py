"""A readout of one's own in place of the package's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.quality import network
from imageguard_daemon.quality.network import Network
from imageguard_daemon.quality.readout import panels
from imageguard_daemon.quality.version import SCORER_VERSION
from tests.helpers.images import photo, png

RGB = photo(320, 240)


def _moved(one: Network) -> Network:
    *before, (matrix, bias) = one.layers
    return replace(one, layers=(*before, (matrix, bias - np.float32(0.5))))


def _write(path: Path, *, moved: bool) -> Path:
    """Write the package's own networks, or such as call everything worse."""
    made = [replace(panel, networks=tuple(map(_moved, panel.networks))) if moved else panel for panel in panels()]
    with path.open("wb") as file:
        network.save(file, made)
    return path


def test_another_readout_judges_and_is_named_in_the_decision(tmp_path: Path) -> None:
    """Every kind of image is judged by it; its hash stands beside the code's number, so that records are not mixed."""
    own = _write(tmp_path / "own.npz", moved=True)
    (tmp_path / "a.png").write_bytes(png(RGB))
    for image in (RGB, png(RGB), tmp_path / "a.png", Image.fromarray(RGB)):
        shipped, decision = validate(image), validate(image, readout=own)
        assert decision.scores["blur_score"] < shipped.scores["blur_score"]
        assert shipped.scorer_version == SCORER_VERSION
        number, _, digest = decision.scorer_version.partition("+")
        assert (number, len(digest)) == (SCORER_VERSION, 12)
    assert validate(b"no image", readout=own).scorer_version == decision.scorer_version


def test_the_file_decides_and_not_its_name(tmp_path: Path) -> None:
    """Another content under the same name is another readout, at once; the same networks measure the same."""
    path = _write(tmp_path / "own.npz", moved=False)
    same = validate(RGB, readout=path)
    assert same.measures == validate(RGB).measures
    _write(path, moved=True)
    assert validate(RGB, readout=str(path)).scorer_version != same.scorer_version


def test_what_is_no_readout_is_an_error(tmp_path: Path) -> None:
    """A file of something else, of other features, and none at all."""
    (tmp_path / "text").write_bytes(b"text")
    np.savez(tmp_path / "other.npz", panels=np.array(1))
    for name in ("text", "other.npz"):
        with pytest.raises(ValueError, match="is no readout"):
            validate(RGB, readout=tmp_path / name)
    with pytest.raises(FileNotFoundError):
        validate(RGB, readout=tmp_path / "nowhere")
