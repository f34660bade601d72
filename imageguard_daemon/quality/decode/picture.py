"""A decoded picture, what every decoder refuses, and colours: when they are looked at, and in what size.

Refused are pictures of a size that is not allowed, and holes: sectors of zeros or of 0xFF where compressed data should
be. Those are left by uploads and disks that lost power, and decoders pass over them in silence: they notice only data
that ends too early or cannot be read.

Every measure is taken from luma. Colours matter twice: what has light in one channel alone is judged by that channel,
and a glance at them tells whether a channel is clipped. Here alone both are decided, for files, Pillow images and
arrays alike, so that a picture gets one verdict however it comes in.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import cv2
import numpy as np

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.luma import Grey

MAX_COLOUR_PX = 50_000_000
"""Larger pictures are not looked at in colour: decoding one again takes three times the memory."""
GLANCE_PX = 256
"""The long side of a glance; smaller pictures are looked at as they are."""
Look = Callable[[], Grey | None]
"""Gives height x width x 3 uint8; None where there are no colours, or they cannot be had."""

_BRIGHTEST = 160
"""What luma makes of one channel that is white: green, the brightest, comes to 150."""
_LEGEND = 0.02
"""Share of the pixels that may be brighter: scale bars and letters."""
_EVERY = 4
_MIN_LIGHT, _OTHERS = 8, 0.1
"""Mean level of the channel, below which colours are chance; and most of that in another one."""

_SECTOR, _PAGE = 512, 4096
_MISSING = (b"\0", b"\xff")
_RUNS = {byte: re.compile(re.escape(byte) + b"*") for byte in _MISSING}


def no_colours() -> Grey | None:
    """Give the colours of a picture that has none."""
    return None


@dataclass(frozen=True, slots=True)
class Picture:
    """One decoded image: luma as stored, height x width uint8, and what the container says."""

    grey: Grey
    width: int
    height: int
    image_format: str
    camera: str = ""
    table_quality: int | None = None
    glance: Look = no_colours
    """Gives its colours, averaged down to a long side of `GLANCE_PX`."""


def require_size(width: int, height: int, limits: Limits) -> None:
    """Refuse a picture that is larger than allowed, or of no size at all.

    Raises:
        ImageError: `too_large` or `corrupt`.
    """
    if width <= 0 or height <= 0:
        raise ImageError("corrupt", f"the header claims {width} x {height} pixels")
    if width * height > limits.max_pixels:
        claimed, allowed = width * height / 1e6, limits.max_pixels / 1e6
        text = f"the header claims {width} x {height} = {claimed:.0f} megapixels (limit {allowed:.0f})"
        raise ImageError("too_large", text)


def hole_in(data: bytes, start: int, end: int) -> int | None:
    """Give where sectors that were never written begin, or None.

    Every coder may repeat one byte for long, over a blank sky or a black border: that alone proves nothing. A run
    counts as a hole only if it begins and ends with a sector of 512 bytes, or begins with a page of 4096 and goes on
    to the end of the data. A run that an encoder wrote does so by chance once in 262 144, or in 4096 times.
    """
    for byte in _MISSING:
        at = data.find(byte * _SECTOR, start, end)
        while at != -1:
            stop = _end_of_run(data, byte, at, end)
            ends_like_one = stop % _SECTOR == 0 if stop < end else at % _PAGE == 0
            if at % _SECTOR == 0 and ends_like_one:
                return at
            at = data.find(byte * _SECTOR, stop, end)
    return None


def _end_of_run(data: bytes, byte: bytes, at: int, end: int) -> int:
    run = _RUNS[byte].match(data, at, end)
    return run.end() if run else at


def require_no_hole(data: bytes, start: int, end: int, name: str) -> None:
    """Refuse a hole within compressed pixels.

    Raises:
        ImageError: `corrupt`.
    """
    at = hole_in(data, start, end)
    if at is not None:
        fill = "zeros" if data[at] == 0 else "0xFF"
        raise ImageError("corrupt", f"{name}: a hole filled with {fill} at byte {at}")


# --- colours


def in_colour(picture: Picture, whole: Look, reduced: Look | None = None) -> Picture:
    """Give the picture with what it is judged by, and with a glance at its colours for whoever asks.

    Both must come from the bytes and by the library that luma came from: others may refuse the file, or scale its
    samples otherwise. `reduced` gives the picture in fewer pixels, though no fewer than a glance has, where that takes
    less time.
    """
    if picture.grey.size > MAX_COLOUR_PX:
        return picture
    looks = [_unless_refused(look) for look in (reduced, whole) if look]
    grey = judged_by(picture.grey, lambda: (look() for look in looks))
    return replace(picture, grey=grey, glance=lambda: _averaged_down(looks[0](), picture.grey))


def _unless_refused(look: Look) -> Look:
    """Have luma decide where there is no room for colours, or their decoder does not read what another one did."""

    def colours() -> Grey | None:
        try:
            return look()
        except (ImageError, MemoryError):
            return None

    return colours


def _averaged_down(pixels: Grey | None, grey: Grey) -> Grey | None:
    """Average down to a size that follows from the whole picture's, not from what a decoder has reduced it to."""
    scale = GLANCE_PX / max(grey.shape)
    if pixels is None or scale >= 1:
        return pixels
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def judged_by(grey: Grey, looks: Callable[[], Iterable[Grey | None]]) -> Grey:
    """Give what a picture is judged by: its luma, or the one channel that has its light, as a blue dye does.

    Luma has a ninth of blue and less than a third of red: it makes such pictures dark, and they are not. `looks` gives
    the colours, height x width x 3, and is asked only where luma is so dark that they are worth it: the whole picture
    last, before it smaller ones that cost less, if there are such. None of them may have another channel with light;
    None is a picture whose colours cannot be had.
    """
    if not _is_dark(grey):
        return grey
    channel: Grey | None = None
    try:
        for pixels in looks():
            channel = None if pixels is None else _lone_channel(pixels)
            if channel is None:
                return grey
    except MemoryError:  # no room for colours: luma it is
        return grey
    # Whatever a decoder does with samples of another depth or kind, nothing becomes darker for it.
    is_usable = channel is not None and channel.shape == grey.shape and channel.mean() >= grey.mean()
    return channel if channel is not None and is_usable else grey


def _is_dark(grey: Grey) -> bool:
    some = grey[::_EVERY, ::_EVERY]
    return int(np.count_nonzero(some > _BRIGHTEST)) <= _LEGEND * some.size


def _lone_channel(pixels: Grey) -> Grey | None:
    """Give the channel that alone has light; None when another one has some, too."""
    light = np.array(cv2.mean(pixels)[:3])
    order = np.argsort(light)
    brightest, second = light[order[2]], light[order[1]]
    if brightest < _MIN_LIGHT or second > _OTHERS * brightest:
        return None
    return np.ascontiguousarray(pixels[:, :, order[2]])
