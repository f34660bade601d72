"""`python -m training` makes a readout from any folder of good photos."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality import network
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.features.vector import AT_WORKING_SIZE, NAMES, extract
from imageguard_daemon.quality.version import SCORER_VERSION
from tests.helpers.images import blurred, photo, png
from training.__main__ import main


def trained(folder, out, *more: str) -> np.ndarray:
    arguments = ["--good", str(folder), "--out", str(out), "--per-photo", "6", "--drawn", "1", "--networks", "2"]
    assert main([*arguments, "--epochs", "60", "--processes", "1", *more]) == 0
    return answers(out)


def answers(out) -> np.ndarray:
    with out.open("rb") as file:
        blur_and_noise, *_others = network.load(file)
    scenes = [photo(320, 240, seed=seed) for seed in range(90, 96)]
    pictures = [decode(png(scene), Limits()) for scene in [*scenes, *(blurred(scene, 5) for scene in scenes)]]
    features = np.array([extract(picture, 1024).vector for picture in pictures])[:, np.isin(NAMES, AT_WORKING_SIZE)]
    return np.mean([one(features) for one in blur_and_noise.networks], axis=0)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    for seed in range(14):
        Image.fromarray(photo(320, 240, seed=seed)).save(folder / f"{seed}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def readout(good, tmp_path_factory):
    """Train one for all who only look at it or go on from it."""
    path = tmp_path_factory.mktemp("trained") / "readout.npz"
    trained(good, path)
    return path


@pytest.fixture(scope="module")
def small_readout(good, tmp_path_factory):
    """Train one on fewer damaged photos."""
    path = tmp_path_factory.mktemp("trained") / "small.npz"
    trained(good, path, "--seed", "4", "--per-photo", "2")
    return path


def test_a_small_set_trains_a_readout_that_knows_blur(readout):
    """From fourteen photos, sharp and blurred scenes not seen before are told apart; what is no picture is left out."""
    blur = answers(readout)[:, 0]
    assert blur[:6].min() > blur[6:].max()


def test_a_readout_says_how_it_was_made(good, small_readout, capsys):
    """Command, seed, versions and a summary of the data; of the one in the package, too, or that nothing is said."""
    capsys.readouterr()
    assert main(["--describe", str(small_readout)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["command"]["seed"], told["command"]["per_photo"]) == (4, 2)
    assert told["versions"]["scorer"] == SCORER_VERSION
    assert (told["data"]["pictures"], told["data"]["left_out"]) == (16, 1)  # with a drawn one; notes are no picture
    assert main(["--describe", str(Path(network.__file__).with_name("readout.npz"))]) == 0
    with pytest.raises(SystemExit, match=r"notes\.txt"):
        main(["--describe", str(good / "notes.txt")])


def test_training_goes_on_from_a_readout(readout, tmp_path, capsys):
    """Labelled images are enough then, the networks are as many as there were, and the record says from which file."""
    start, out, labels = readout, tmp_path / "readout.npz", tmp_path / "labels.csv"
    before = answers(start)
    Image.fromarray(photo(320, 240, seed=50)).save(tmp_path / "real.png")
    labels.write_text("path,blur_sigma_px,overexposure\nreal.png,..1.4,..0.2\n")
    arguments = ["--start", str(start), "--labels", str(labels), "--out", str(out), "--drawn", "0", "--processes", "1"]
    assert main([*arguments, "--per-photo", "6"]) == 0
    with out.open("rb") as file:
        assert [len(panel.networks) for panel in network.load(file)] == [2, 2, 2]
    capsys.readouterr()
    main(["--describe", str(out)])
    told = json.loads(capsys.readouterr().out)
    assert told["start_sha256"] == hashlib.sha256(start.read_bytes()).hexdigest()
    assert told["command"]["start"] == str(start)
    assert np.abs(answers(out) - before).mean() < 0.1


@pytest.mark.parametrize("more", [["--networks", "3"], []])
def test_a_start_that_makes_no_sense_is_refused_at_once(good, tmp_path, more, capsys):
    """It is not a readout, or another number of networks is asked for."""
    with pytest.raises(SystemExit) as end:
        main(["--start", str(good / "notes.txt"), "--good", str(good), "--out", str(tmp_path / "out.npz"), *more])
    said = f"{capsys.readouterr().err}{end.value}"
    assert ("--networks are as many" if more else "notes.txt is not a readout") in said
    assert not list(tmp_path.iterdir())


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


def test_training_is_repeatable(good, small_readout, tmp_path):
    """The same photos and the same seed make the same readout."""
    again = trained(good, tmp_path / "again.npz", "--seed", "4", "--per-photo", "2")
    assert np.array_equal(answers(small_readout), again)


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
