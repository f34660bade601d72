"""JPEG decoded strictly: whatever libjpeg warns of is an error; touches no disk.

By simplejpeg where it is installed, else by calls of our own to libjpeg (`native/jpeg.c`), which a wheel has where
libjpeg's headers were there when it was built. Both give the same pixels and the same words.
"""

import importlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.errors import UnavailableError

try:
    from simplejpeg import decode_jpeg
except ImportError:
    decode_jpeg = None

Pixels = NDArray[np.uint8]
"""Height x width x 1 for luma, x 4 for inks as they are stored."""
Decode = Callable[[bytes, bool], Pixels]
_MISSING = (
    "JPEG cannot be decoded: install simplejpeg, or libjpeg with its headers (Debian: libjpeg-dev) and then "
    "imageguard-daemon once more from its source"
)


def by_simplejpeg(data: bytes, inks: bool) -> Pixels:
    """Decode by simplejpeg."""
    return np.asarray(decode_jpeg(data, colorspace="CMYK" if inks else "GRAY"), np.uint8)


def own_decoder() -> Decode | None:
    """Give what decodes by our own calls; None where they were not compiled, or where libjpeg is not installed."""
    try:
        call = importlib.import_module("imageguard_daemon.quality.decode._jpeg").decode
    except ImportError:
        return None

    def by_own_calls(data: bytes, inks: bool) -> Pixels:
        height, width, pixels = call(data, inks)
        return np.frombuffer(pixels, np.uint8).reshape(height, width, 4 if inks else 1)

    return by_own_calls


def _chosen() -> Decode:
    found = by_simplejpeg if decode_jpeg is not None else own_decoder()
    if found is None:
        raise UnavailableError(_MISSING)
    return found


_decode = _chosen()


def decode(data: bytes, *, inks: bool = False) -> Pixels:
    """Decode luma, or four inks.

    Raises:
        ValueError: libjpeg warned or gave up, in its words.
    """
    return _decode(data, inks)
