"""`python -m training` makes a readout from any folder of good photos."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon.quality import network
from imageguard_daemon.quality.decoding import Limits, decode
from imageguard_daemon.quality.features import AT_WORKING_SIZE, NAMES, extract
from imageguard_daemon.quality.version import SCORER_VERSION
from tests.helpers.images import blurred, photo, png
from training.__main__ import main


def trained(folder, out, *more: str) -> np.ndarray:
    arguments = ["--good", str(folder), "--out", str(out), "--per-photo", "12", "--drawn", "1", "--networks", "2"]
    assert main([*arguments, "--epochs", "60", "--processes", "1", *more]) == 0
    with out.open("rb") as file:
        at_working_size, _native = network.load(file)
    scenes = [photo(320, 240, seed=seed) for seed in range(90, 96)]
    pictures = [decode(png(scene), Limits()) for scene in [*scenes, *(blurred(scene, 5) for scene in scenes)]]
    features = np.array([extract(picture, 1024).vector for picture in pictures])[:, np.isin(NAMES, AT_WORKING_SIZE)]
    return np.mean([one(features) for one in at_working_size.networks], axis=0)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    for seed in range(14):
        Image.fromarray(photo(320, 240, seed=seed)).save(folder / f"{seed}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_small_set_trains_a_readout_that_knows_blur(good, tmp_path):
    """From fourteen photos, sharp and blurred scenes not seen before are told apart; what is no picture is left out."""
    blur = trained(good, tmp_path / "readout.npz")[:, 0]
    assert blur[:6].min() > blur[6:].max()


def test_a_readout_says_how_it_was_made(good, tmp_path, capsys):
    """Command, seed, versions and a summary of the data; of the one in the package, too, or that nothing is said."""
    trained(good, tmp_path / "readout.npz", "--seed", "4", "--per-photo", "2")
    capsys.readouterr()
    assert main(["--describe", str(tmp_path / "readout.npz")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["command"]["seed"], told["command"]["per_photo"]) == (4, 2)
    assert told["versions"]["scorer"] == SCORER_VERSION
    assert (told["data"]["pictures"], told["data"]["left_out"]) == (16, 1)  # with a drawn one; notes are no picture
    assert main(["--describe", str(Path(network.__file__).with_name("readout.npz"))]) == 0
    with pytest.raises(SystemExit, match=r"notes\.txt"):
        main(["--describe", str(good / "notes.txt")])


def test_where_a_readout_goes_is_looked_at_first(good, tmp_path):
    """Hours of training do not end with a folder that is not there; and a failed one leaves the old file."""
    with pytest.raises(SystemExit, match="cannot write"):
        main(["--good", str(good), "--out", str(tmp_path / "nowhere" / "readout.npz")])
    (tmp_path / "empty").mkdir()
    (tmp_path / "readout.npz").write_bytes(b"old")
    with pytest.raises(SystemExit, match="no picture could be read"):
        main(["--good", str(tmp_path / "empty"), "--drawn", "0", "--out", str(tmp_path / "readout.npz")])
    assert (tmp_path / "readout.npz").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "readout.npz"]


def test_training_is_repeatable(good, tmp_path):
    """The same photos and the same seed make the same readout."""
    one, same = (trained(good, tmp_path / name, "--seed", "4", "--per-photo", "2") for name in ("a.npz", "b.npz"))
    assert np.array_equal(one, same)


def test_labelled_images_are_taken_with_their_labels(good, tmp_path):
    """Real images with a known truth take part."""
    Image.fromarray(photo(320, 240, seed=50)).save(tmp_path / "real.png")
    labels = tmp_path / "labels.csv"
    labels.write_text("path,blur_sigma_px\nreal.png,..1.4\n")
    trained(good, tmp_path / "readout.npz", "--labels", str(labels), "--per-photo", "2")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """A typing error ends at once."""
    with pytest.raises(SystemExit, match="nowhere"):
        main(["--good", str(tmp_path / "nowhere"), "--out", str(tmp_path / "readout.npz")])
