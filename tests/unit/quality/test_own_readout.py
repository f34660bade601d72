"""A readout of one's own in place of the package's."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.core.errors import ConfigError, NoInputError
from imageguard_daemon.quality import network
from imageguard_daemon.quality.readout import configured
from imageguard_daemon.quality.version import SCORER_VERSION
from tests.helpers.images import photo, png
from tests.helpers.readouts import write_readout
from training.__main__ import main as training

RGB = photo(320, 240)


def test_another_readout_judges_and_is_named_in_the_decision(tmp_path: Path) -> None:
    """Every kind of image is judged by it; its hash stands beside the code's number, so that records are not mixed."""
    own = write_readout(tmp_path / "own.npz")
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
    path = write_readout(tmp_path / "own.npz", moved=0)
    same = validate(RGB, readout=path)
    assert same.measures == validate(RGB).measures
    write_readout(path)
    assert validate(RGB, readout=str(path)).scorer_version != same.scorer_version


def test_what_is_no_readout_is_an_error(tmp_path: Path) -> None:
    """A file of something else, of other features, and none at all."""
    (tmp_path / "text").write_bytes(b"text")
    np.savez(tmp_path / "other.npz", panels=np.array(1))
    for name in ("text", "other.npz"):
        with pytest.raises(ValueError, match="is not a readout"):
            validate(RGB, readout=tmp_path / name)
    with pytest.raises(FileNotFoundError):
        validate(RGB, readout=tmp_path / "nowhere")


def test_no_file_is_told_how_to_run_what_is_in_it(tmp_path: Path) -> None:
    """A picture, one with an archive behind it, nothing, half a readout: none is an archive, and that is all."""
    whole = write_readout(tmp_path / "own.npz").read_bytes()
    for content in (png(RGB), png(RGB) + whole, b"", whole[:1000], whole[:-30], pickle.dumps({"panels": 1})):
        (tmp_path / "p.jpg").write_bytes(content)
        with pytest.raises(ValueError, match=r"p\.jpg is not a readout: it is not a \.npz archive, or it is cut off$"):
            validate(RGB, readout=tmp_path / "p.jpg")


Arrays = dict[str, Any]


def _arrays(path: Path) -> Arrays:
    with np.load(path) as file:
        return dict(file)


def _set(**changes: Any) -> Callable[[Arrays], Arrays]:
    return lambda arrays: {name: value for name, value in {**arrays, **changes}.items() if value is not None}


def _filled(name: str, value: float) -> Callable[[Arrays], Arrays]:
    return lambda arrays: arrays | {name: np.full_like(arrays[name], value)}


_WRONG_ARRAYS: dict[str, Callable[[Arrays], Arrays]] = {
    "no member": _set(**{"0_0_low": None}),
    "no layer in between": _set(**{"0_0_matrix1": None}),
    "no layers": lambda arrays: {name: value for name, value in arrays.items() if "_matrix" not in name},
    "no networks": _set(**{"0_count": np.array(0)}),
    "fewer than none": _set(**{"0_count": np.array(-1)}),
    "too many": _set(**{"0_count": np.array(2**62)}),
    "no panels": _set(panels=np.array(0)),
    "panels in words": _set(panels=np.array("two")),
    "panels in a row": _set(panels=np.arange(3)),
    "panels not finite": _set(panels=np.array(np.inf)),
    "objects": _set(**{"0_0_low": np.array([{}], object)}),
    "an object for names": _set(**{"0_features": np.array(None, object)}),
    "names that are one": _set(**{"0_features": np.array("blur")}),
    "names that are numbers": _set(**{"0_targets": np.arange(4)}),
    "words for numbers": _set(**{"0_0_mean": np.array(["a", "b"])}),
    "complex numbers": lambda arrays: arrays | {"0_0_mean": arrays["0_0_mean"].astype(complex)},
    "too short a range": _set(**{"0_0_high": np.zeros(3, np.float32)}),
    "a range of one": _set(**{"0_0_spread": np.float32(1)}),
    "a matrix that is none": _set(**{"0_0_matrix0": np.zeros(162, np.float32)}),
    "a turned matrix": lambda arrays: arrays | {"0_0_matrix0": arrays["0_0_matrix0"].T},
    "too short a bias": _set(**{"0_0_bias2": np.zeros(3, np.float32)}),
    "a wider network beside": lambda arrays: (
        arrays
        | {name: np.repeat(arrays[name], 2, axis=-1) for name in ("0_1_matrix0", "0_1_bias0")}
        | {"0_1_matrix1": np.repeat(arrays["0_1_matrix1"], 2, axis=0)}
    ),
    "not a number": _filled("0_0_matrix1", np.nan),
    "without end": _filled("0_0_bias0", np.inf),
    "beyond all numbers": _filled("0_0_matrix1", 3e38),
    "nothing to divide by": _filled("0_0_spread", 0),
    "a range that ends before it begins": _filled("0_0_low", 1e9),
}


def _refused(path: Path) -> None:
    with pytest.raises(ValueError, match="is not a readout") as raised:
        validate(RGB, readout=path)
    assert str(path) in str(raised.value)
    with path.open("rb") as file, pytest.raises(ValueError, match=path.name):
        network.load(file)


@pytest.mark.parametrize("what", _WRONG_ARRAYS)
def test_a_readout_with_wrong_arrays_is_named(tmp_path: Path, what: str) -> None:
    """Whatever its members are: no image is judged by it, and the sentence says which file it is."""
    arrays = _WRONG_ARRAYS[what](_arrays(write_readout(tmp_path / "own.npz", moved=0)))
    np.savez(tmp_path / "wrong.npz", **arrays)
    _refused(tmp_path / "wrong.npz")


def _as_zip(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return file.getvalue()


def _npy(header: str) -> bytes:
    padded = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded


def _as_npy(array: Any, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=allow_pickle)
    return file.getvalue()


_HUGE = "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}"
_WRONG_BYTES: dict[str, bytes] = {
    "empty": b"",
    "text": b"text",
    "one array": _as_npy(np.arange(3)),
    "a pickle": _as_npy(np.array([{}], object), allow_pickle=True),
    "a zip of text": _as_zip({"a.txt": b"text"}),
    "members that are text": _as_zip({"panels.npy": b"2"}),
    "an empty member": _as_zip({"panels.npy": b""}),
    "a huge shape": _as_zip({"panels.npy": _npy(_HUGE)}),
    "a header that is none": _as_zip({"panels.npy": _npy("{'descr': 5}")}),
    "a header without end": _as_zip({"panels.npy": _npy(3000 * "(")}),
}


@pytest.mark.parametrize("what", _WRONG_BYTES)
def test_a_file_of_something_else_is_named(tmp_path: Path, what: str) -> None:
    """What NumPy and its zip reader make of it is told in one way."""
    (tmp_path / "wrong.npz").write_bytes(_WRONG_BYTES[what])
    _refused(tmp_path / "wrong.npz")


def test_a_damaged_readout_is_named(tmp_path: Path) -> None:
    """Cut off or overwritten anywhere: it is refused, or is whole all the same."""
    whole = write_readout(tmp_path / "own.npz", moved=0).read_bytes()
    step = len(whole) // 40
    damaged = [whole[:at] for at in range(0, len(whole), step)]
    damaged += [whole[:at] + bytes(64) + whole[at + 64 :] for at in range(0, len(whole), step)]
    damaged += [whole[:at] + b"\xff" + whole[at + 1 :] for at in (4, 6, 8, 9, 26, 28, len(whole) - 22, len(whole) - 6)]
    damaged += [bytes([*whole[:-200], *(byte ^ 0x55 for byte in whole[-200:])])]
    judged = validate(RGB).measures
    told = []
    for number, data in enumerate(damaged):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(data)
        try:
            assert validate(RGB, readout=path).measures == judged
        except ValueError as error:
            told.append(f"{path} is not a readout" in str(error))
    assert all(told)
    assert len(told) > len(damaged) / 2


def test_what_is_no_file_is_no_readout(tmp_path: Path) -> None:
    """A folder, and a pipe that nobody writes to, which must hold up no one."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "folder", tmp_path / "pipe", Path(os.devnull)):
        with pytest.raises(ValueError, match=f"{path} is not a readout: it is not a regular file"):
            validate(RGB, readout=path)


def test_a_file_too_large_for_a_readout_is_not_read(tmp_path: Path) -> None:
    """Nor is what would unpack to more than memory has."""
    with (tmp_path / "large.npz").open("wb") as file:
        file.truncate(1 << 40)
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as made,
        made.open("panels.npy", "w", force_zip64=True) as member,
    ):
        for _ in range(300):
            member.write(bytes(1 << 20))
    for name in ("large.npz", "bomb.npz"):
        with pytest.raises(ValueError, match=f"{name} is not a readout: .*larger"):
            validate(RGB, readout=tmp_path / name)


def test_describe_says_what_is_wrong_with_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence with its name, whatever is wrong."""
    wrong = {**_WRONG_BYTES, "words that are none": b""}
    for what, data in wrong.items():
        path = tmp_path / "wrong.npz"
        path.write_bytes(data)
        if what == "words that are none":
            np.savez(path, panels=np.array(2), about=np.array("{"))
        monkeypatch.setattr(sys, "argv", ["training", "--describe", str(path)])
        with pytest.raises(SystemExit, match=f"{path}"):
            training()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    """What is checked of a readout is true of one that training writes."""
    with write_readout(tmp_path / "own.npz", moved=-0.5).open("rb") as file:
        assert network.about(file) == ""
        file.seek(0)
        assert json.dumps([panel.features for panel in network.load(file)])


def test_networks_that_give_no_numbers_are_no_readout(tmp_path: Path) -> None:
    """Found out when it is read, and not at every image, which would be called damaged for it."""
    with pytest.raises(ValueError, match=r"is not a readout: its .* are not [0-9]+ finite numbers"):
        validate(RGB, readout=write_readout(tmp_path / "own.npz", moved=float("nan")))


def test_a_setting_that_names_no_readout_is_told_with_its_name(tmp_path: Path) -> None:
    """One that is not there may come with its disk; a damaged one is a mistake of the configuration."""
    own = write_readout(tmp_path / "own.npz")
    assert configured(None) is None
    found = configured(own)
    assert found is not None
    assert found.identity == validate(RGB, readout=own).scorer_version
    own.write_bytes(own.read_bytes()[:-1000])
    for place, kind, told in (
        (tmp_path / "nowhere.npz", NoInputError, "scoring.readout: cannot read .*nowhere.npz: No such file"),
        (tmp_path, ConfigError, "scoring.readout: .* is not a readout: it is not a regular file"),
        (own, ConfigError, r"scoring.readout: .*own.npz is not a readout"),
    ):
        with pytest.raises(kind, match=told):
            configured(place)
