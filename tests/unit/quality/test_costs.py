"""What one image costs, in counts that do not depend on the machine."""

import functools
import importlib
import tracemalloc
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image

from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decode import decoder, tiff
from tests.helpers.images import encoded, jpeg, photo

LIMITS = Limits()
RGB = photo(320, 240)
FILES = {
    "JPEG": jpeg(RGB),
    "progressive JPEG": jpeg(RGB, progressive=True),
    "PNG": encoded(Image.fromarray(RGB), "PNG"),
    "PNG with alpha": encoded(Image.fromarray(RGB).convert("RGBA"), "PNG"),
    "WebP": encoded(Image.fromarray(RGB), "WEBP"),
    "TIFF": encoded(Image.fromarray(RGB), "TIFF", compression="tiff_deflate"),
    "BMP": encoded(Image.fromarray(RGB), "BMP"),
    "GIF": encoded(Image.fromarray(RGB), "GIF"),
}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count decodes by whichever library, and hashes."""
    counted: Counter[str] = Counter()

    def count(owner: object, name: str, what: str) -> None:
        real = getattr(owner, name)

        @functools.wraps(real)
        def counting(*arguments: object, **options: object) -> object:
            counted[what] += 1
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    count(importlib.import_module("imageguard_daemon.quality.decode.jpeg"), "_decode", "decode")
    count(cv2, "imdecode", "decode")
    count(importlib.import_module("imageguard_daemon.quality._pillow.ImageFile").ImageFile, "load_prepare", "decode")
    count(measurement.hashlib, "sha256", "hash")
    return counted


@pytest.mark.parametrize("kind", FILES)
def test_an_image_is_decoded_once_and_hashed_once(kind: str, counts: Counter[str]):
    """Integrity, six signals and the record all come from one decode and one hash; a BMP is read as it lies."""
    assert measurement.measure_bytes(FILES[kind], LIMITS).measures is not None
    assert counts == ({"hash": 1} if kind == "BMP" else {"decode": 1, "hash": 1})


def test_a_sound_deflated_tiff_is_inflated_by_its_decoder_alone(monkeypatch: pytest.MonkeyPatch):
    """Strict checks cost no second inflating."""
    monkeypatch.setattr(tiff.zlib, "decompressobj", lambda: pytest.fail("inflated again"))
    assert measurement.measure_bytes(FILES["TIFF"], LIMITS).measures is not None


def test_a_larger_picture_costs_hardly_more_memory_than_its_pixels():
    """Native pixels are looked at where they lie: nine more megapixels add less than a byte for each."""
    tile = cv2.cvtColor(photo(500, 500), cv2.COLOR_RGB2GRAY)
    peaks = []
    for scale in (1, 2):
        picture = decoder.from_grey(np.tile(tile, (3 * scale, 4 * scale)), LIMITS)
        measurement.measure_picture(picture, LIMITS)
        tracemalloc.start()
        measurement.measure_picture(picture, LIMITS)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 9_000_000
