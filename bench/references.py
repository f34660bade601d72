"""Other people's decoders as judges of a file, and when two of them agree on its picture."""

import importlib
import importlib.util
import io
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from imageguard_daemon.quality.decode.formats import HANDLED

Small = NDArray[np.float32]
UNKNOWN = "unknown"
Answer = tuple[tuple[int, int], Small] | str | None
"""Width and height with the small picture; None when it refuses, `UNKNOWN` when it says it has no such kind."""
_NO_SUCH_KIND = re.compile(
    r"cannot identify image file|unsupported|not supported|not a known|unknown pixel|tiff2vips: ", re.IGNORECASE
)
_DAMAGE = re.compile(rb"Corrupt JPEG data|Premature end of JPEG|Inconsistent progression")
Reference = Callable[[bytes], NDArray[np.generic]]
_SMALL = (16, 16)
_NEAR = 12.0
"""Mean difference of grey levels, of 255, that colour spaces and ranges of deep samples may make."""


def _by_pillow(data: bytes) -> NDArray[np.generic]:
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return np.asarray(image if image.mode[:1] in "IF" else image.convert("RGB").convert("L"))


def _by_opencv(data: bytes) -> NDArray[np.generic]:
    """Decode, and refuse what libjpeg says of damage on standard error, for that is all that OpenCV does with it."""
    with _standard_error() as said:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE)
        said.seek(0)
        if pixels is None or _DAMAGE.search(said.read()):
            raise ValueError("refused")
    return np.asarray(pixels)


@contextmanager
def _standard_error() -> Iterator[BinaryIO]:
    """Lend a file with what C libraries say meanwhile."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _by_libvips(data: bytes) -> NDArray[np.generic]:
    """Decode to the end; of JPEG, where every decoder goes on after damage, warnings count."""
    vips = importlib.import_module("pyvips")
    strictness = "warning" if data.startswith(b"\xff\xd8") else "error"
    image = vips.Image.new_from_buffer(data, "", fail_on=strictness, access="sequential").colourspace("b-w")
    return np.asarray(image.extract_band(0).numpy())


_REFERENCES: dict[str, tuple[Reference, frozenset[str]]] = {
    "Pillow": (_by_pillow, HANDLED - {"HEIC"}),
    "OpenCV": (_by_opencv, HANDLED - {"HEIC"}),
    "libvips": (_by_libvips, HANDLED - {"BMP", "HEIC"}),
}


def installed() -> list[str]:
    """Name those that are there."""
    return [name for name in _REFERENCES if name != "libvips" or importlib.util.find_spec("pyvips")]


def who_know(image_format: str) -> list[str]:
    """Name those that are there and know a format."""
    return [name for name in installed() if image_format in _REFERENCES[name][1]]


def answer(reference: str, data: bytes) -> Answer:
    """Give what a reference makes of a file."""
    try:
        pixels = _REFERENCES[reference][0](data)
        return (int(pixels.shape[1]), int(pixels.shape[0])), _small(pixels)
    except Exception as error:  # noqa: BLE001 - whatever it says, it refuses
        is_unknown = isinstance(error, UnidentifiedImageError) or _NO_SUCH_KIND.search(str(error))
        return UNKNOWN if is_unknown and data[:2] in (b"II", b"MM") else None


def _small(pixels: NDArray[np.generic]) -> Small:
    """Make a picture small and stretch it from its darkest to its brightest: whatever its depth, it compares."""
    values = np.nan_to_num(pixels.astype(np.float32)).reshape(pixels.shape[:2])
    small = cv2.resize(values, _SMALL, interpolation=cv2.INTER_AREA)
    low, high = float(small.min()), float(small.max())
    return np.asarray((small - low) * (255 / (high - low)) if high > low else small * 0, np.float32)


def agreeing(answers: dict[str, Answer]) -> list[str]:
    """Name those that read a file and agree with at least one other on its size and its picture."""
    read = {name: found for name, found in answers.items() if isinstance(found, tuple)}
    return sorted(
        {
            name
            for name, (size, small) in read.items()
            for other, (other_size, other_small) in read.items()
            if name != other and sorted(size) == sorted(other_size) and _is_like(small, other_small)
        }
    )


def _is_like(one: Small, other: Small) -> bool:
    # A picture may be stored turned, and shown upright by some.
    turned = [np.rot90(version, quarter) for version in (one, one.T) for quarter in range(4)]
    return any(float(np.abs(version - other).mean()) <= _NEAR for version in turned)
