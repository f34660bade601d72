"""HEIC, with the extra and without.

The files in tests/data/heic were made from `photo(96, 64)` of tests/helpers/images.py by pillow-heif at quality 60.
"""

import gc
import importlib.util
import os
import weakref
from pathlib import Path

import numpy as np
import pytest

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode import heif
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.luma import grey_of
from imageguard_daemon.quality.measurement import measure_bytes
from imageguard_daemon.sandbox.decoder import Decoder
from imageguard_daemon.sandbox.tasks.measure import measuring
from imageguard_daemon.sandbox.wire import sealed_copy
from imageguard_daemon.sandbox.workers import measure_files
from tests.helpers import escapes

FILES = Path(__file__).parents[3] / "data" / "heic"
PHOTO = (FILES / "photo.heic").read_bytes()
needs_extra = pytest.mark.skipif(importlib.util.find_spec("pi_heif") is None, reason="needs the extra `heic`")


def _decoded(name: str):
    return decode((FILES / f"{name}.heic").read_bytes(), Limits())


@needs_extra
def test_it_is_judged_as_viewers_show_it() -> None:
    """Turned as displayed, also in colour, transparent parts over middle grey, with the camera from EXIF."""
    picture, turned = _decoded("photo"), _decoded("turned")
    assert (picture.width, picture.height, picture.camera) == (96, 64, "Acme Snap 3")
    assert (turned.width, turned.height) == (64, 96)
    assert np.abs(turned.grey.astype(int) - np.rot90(picture.grey, -1)).mean() < 8
    assert np.array_equal(grey_of(turned.glance()), turned.grey)
    transparent = _decoded("alpha").grey
    assert _decoded("alpha").glance() is None
    assert set(np.unique(transparent[:, 56:])) == {128}
    assert np.abs(transparent[:, :40].astype(int) - picture.grey[:, :40]).mean() < 2


@needs_extra
@pytest.mark.parametrize("name", ["photo", "grey", "alpha"])
def test_pixels_keep_the_file_in_whose_memory_they_lie(name: str) -> None:
    """Whatever is cut out of them does, too, and without them nothing is kept."""
    opened = heif.opened_heic((FILES / f"{name}.heic").read_bytes())
    owner = weakref.ref(opened)
    part = heif.pixels_of(opened)[8:16]
    del opened
    gc.collect()
    assert owner() is not None
    del part
    gc.collect()
    assert owner() is None


@needs_extra
def test_grey_pixels_stay_when_others_use_the_memory() -> None:
    """Luma of one channel is not computed but looked at where libheif has put it."""
    picture = _decoded("grey")
    before = picture.grey.copy()
    gc.collect()
    others = [np.full_like(before, 7) for _ in range(1000)]
    assert np.array_equal(picture.grey, before), len(others)
    assert np.abs(before.astype(int) - _decoded("photo").grey).mean() < 4
    assert picture.glance() is None


@needs_extra
@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.95])
def test_a_truncated_file_is_corrupt(share: float) -> None:
    """Half an upload is never taken for an image."""
    with pytest.raises(ImageError, match="corrupt"):
        decode(PHOTO[: int(len(PHOTO) * share)], Limits())


@needs_extra
def test_a_hole_is_corrupt() -> None:
    """Sectors that a torn upload left empty are found, though the decoder conceals them."""
    data = bytearray((FILES / "two.heic").read_bytes())
    at = (data.index(b"mdat") + 500) // 512 * 512 + 512
    data[at : at + 512] = bytes(512)
    with pytest.raises(ImageError, match="corrupt"):
        decode(bytes(data), Limits())


@needs_extra
def test_another_codec_is_unsupported_and_a_huge_picture_too_large() -> None:
    """What is not HEVC inside is no damage; limits hold before anything is decoded."""
    with pytest.raises(ImageError, match="unsupported: HEIC: it has no picture in HEVC"):
        decode(PHOTO.replace(b"hvc1", b"j2k1"), Limits())
    with pytest.raises(ImageError, match="too_large"):
        decode(PHOTO, Limits(max_pixels=6000))


@needs_extra
def test_it_is_decoded_in_the_confined_process() -> None:
    """The workers measure it like the library does, and none of them ends of it."""
    paths = sorted(str(path) for path in FILES.glob("*.heic"))
    found = {one.candidate.relative_path: one for one in measure_files(paths, Scoring(workers=1))}
    assert len(found) == 6
    for path, one in found.items():
        expected = measure_bytes(Path(path).read_bytes(), Limits())
        assert one.measurement is not None, one.error
        assert (one.measurement.measures, one.measurement.detail) == (expected.measures, expected.detail)


@needs_extra
def test_threads_are_all_that_it_may_start_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra every attempt to escape is denied as without."""
    monkeypatch.setattr(heif, "is_available", lambda: True)
    decoder = Decoder(4 << 30, measuring(escapes.attempt_all))
    contents = sealed_copy(b"x")
    try:
        assert decoder.ask(contents, Limits()).detail == "all denied"
    finally:
        os.close(contents)
        decoder.close()


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is unsupported, by name, and the reason helps."""
    monkeypatch.setattr(heif, "is_available", lambda: False)
    measured = measure_bytes(PHOTO, Limits())
    assert measured.issue == "unsupported"
    assert "pip install 'imageguard-daemon[heic]'" in measured.detail
