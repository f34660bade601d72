"""Colours of a picture whose luma is decoded: up to which size of picture they are had, and in what size looked at.

Here alone it is decided, for files, Pillow images and arrays alike, so that a picture gets one verdict however it comes
in.
"""

from collections.abc import Callable

import cv2
import numpy as np

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.quality.decode.luma import Grey
from imageguard_daemon.quality.decode.single_channel import judged

MOST_PX = 50_000_000
"""Larger pictures are not looked at in colour: decoding one again takes three times the memory."""
GLANCE_PX = 256
"""The long side of a glance; smaller pictures are looked at as they are."""
Look = Callable[[], Grey | None]
"""Gives height x width x 3 uint8; None where there are no colours, or they cannot be had."""


def no_colours() -> Grey | None:
    """Give the colours of a picture that has none."""
    return None


def looked_at(grey: Grey, whole: Look, reduced: Look | None = None) -> tuple[Grey, Look]:
    """Give what a picture is judged by (`lone_channel.py`), and what gives a glance at its colours.

    `reduced` gives the picture in less pixels, though no fewer than a glance has, where that takes less time.
    """
    if grey.size > MOST_PX:
        return grey, no_colours
    looks = [_unless_refused(look) for look in (reduced, whole) if look]
    return judged(grey, lambda: (look() for look in looks)), lambda: _glance(looks[0](), grey)


def _unless_refused(look: Look) -> Look:
    """Have luma decide where there is no room for colours, or their decoder does not read what another one did."""

    def colours() -> Grey | None:
        try:
            return look()
        except (ImageError, MemoryError):
            return None

    return colours


def _glance(pixels: Grey | None, grey: Grey) -> Grey | None:
    """Average down to a size that follows from the whole picture's, not from what a decoder has reduced it to."""
    scale = GLANCE_PX / max(grey.shape)
    if pixels is None or scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA), np.uint8)
