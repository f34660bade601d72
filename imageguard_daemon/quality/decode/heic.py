"""HEIC, the format of phones, by libheif; an extra, since few servers meet it and decoders are what attackers aim at.

Pillow's own list of formats is left as it is: a program that uses this library decides by itself what it opens.
"""

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.quality.decode.decoder_messages import complaint

_NOT_OURS = ("Unsupported feature", "Unsupported codec", "Unsupported file-type")


def is_available() -> bool:
    """Tell whether the extra is installed; loads nothing."""
    return importlib.util.find_spec("pi_heif") is not None


def prepare_worker() -> None:
    """Load what a confined process cannot load later, and keep the decoder to the one thread it may have."""
    if is_available():
        from pi_heif import options  # noqa: PLC0415 - an extra

        options.DECODE_THREADS = 1
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False  # nothing is read that is not judged


def opened(data: bytes) -> Any:
    """Read the header: gives pi-heif's file, whose `size` is as displayed, with the primary picture chosen.

    Raises:
        ImageError: `unsupported`, without the extra or for another codec than HEVC; `corrupt`.
    """
    if not is_available():
        raise ImageError("unsupported", "HEIC is not handled without pip install 'imageguard-daemon[heic]'")
    import pi_heif  # noqa: PLC0415 - an extra

    try:
        opened_file = pi_heif.open_heif(data)
    except Exception as error:
        raise _sorted(error) from error
    if not len(opened_file):
        raise ImageError("unsupported", "HEIC: it has no picture in HEVC")
    return opened_file


def pixels_of(opened_file: Any) -> NDArray[np.uint8]:
    """Decode the primary picture: height x width x channels, deeper samples scaled to 8 bits, turned as displayed.

    Raises:
        ImageError: `unsupported` or `corrupt`.
    """
    try:
        return np.asarray(_Owned(opened_file))
    except Exception as error:
        raise _sorted(error) from error


class _Owned:
    """Pixels as they lie in the memory of pi-heif's file, which NumPy keeps as long as any array looks into it.

    pi-heif gives out bare memory, which is freed with the file whoever still looks at it.
    """

    def __init__(self, opened_file: Any) -> None:
        pixels = np.asarray(opened_file, np.uint8)
        self._kept = opened_file, pixels
        self.__array_interface__ = pixels.__array_interface__  # the address: an array of it has this object as its base


def _sorted(error: Exception) -> ImageError:
    told = " ".join(str(error).split()) or type(error).__name__
    return ImageError("unsupported", f"HEIC: {told}") if told.startswith(_NOT_OURS) else complaint("HEIC", error)
