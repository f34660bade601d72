"""What OpenCV decodes, in less time than Pillow or where Pillow does not; touches no disk.

Whatever it refuses is for Pillow, which has the last word on what is damaged.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.luma import Grey, grey_of, scaled_to_8_bit

AS_STORED = cv2.IMREAD_UNCHANGED
IN_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
_COLOURS = 3
"""Channels of a picture in colour, and axes of its array."""
_must_be_quiet = True


def prepare_worker() -> None:
    """Let libpng say what it likes: a process that does nothing else has a standard error of its own."""
    global _must_be_quiet  # noqa: PLW0603 - so is libpng's output
    _must_be_quiet = False


def must_be_quiet() -> bool:
    """Check whether this is somebody else's process, on whose standard error libpng must print nothing."""
    return _must_be_quiet


def pixels_of(data: bytes, flags: int = AS_STORED) -> NDArray[np.generic] | None:
    """Decode to height x width or height x width x channels (BGR, BGRA), of any depth; None when it refuses.

    Raises:
        MemoryError: there is not enough.
    """
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        return None


def grey_by_opencv(data: bytes, flags: int) -> Grey | None:
    """Give the luma, height x width uint8; None when OpenCV refuses the file."""
    pixels = pixels_of(data, flags)
    return None if pixels is None else grey_of(scaled_to_8_bit(pixels), bgr=True)


def colours_by_opencv(data: bytes, flags: int) -> Grey | None:
    """Give the colours, height x width x 3; None when there are none, or something is transparent."""
    pixels = pixels_of(data, flags)
    return None if pixels is None else rgb_of(scaled_to_8_bit(pixels))


def rgb_of(pixels: Grey) -> Grey | None:
    """Give pixels as OpenCV has them in the order of everybody else; None when they are grey or transparent."""
    if pixels.ndim != _COLOURS or pixels.shape[2] != _COLOURS:
        return None
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
