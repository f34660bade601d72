"""Pictures that have light in one channel alone, as those of a blue dye: luma makes them dark, and they are not; pure.

Luma has a ninth of blue and less than a third of red. What has hardly any other light is judged by that channel.
Here alone it is decided, for files, Pillow images and arrays alike.
"""

from collections.abc import Callable, Iterable

import cv2
import numpy as np

from imageguard_daemon.quality.decode.luma import Grey

_BRIGHTEST = 160
"""What luma makes of one channel that is white: green, the brightest, comes to 150."""
_LEGEND = 0.02
"""Share of the pixels that may be brighter: scale bars and letters."""
_EVERY = 4
_LEAST_LIGHT, _OTHERS = 8, 0.1
"""Mean level of the channel, below which colours are chance; and most of that in another one."""


def judged(grey: Grey, looks: Callable[[], Iterable[Grey | None]]) -> Grey:
    """Give what a picture is judged by: its luma, or the one channel that has its light.

    `looks` gives its colours, height x width x 3, and is asked only where luma is so dark that they are worth it: the
    whole picture last, before it smaller ones that cost less, if there are such. None of them may have another
    channel with light; None is a picture whose colours cannot be had.
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
    if brightest < _LEAST_LIGHT or second > _OTHERS * brightest:
        return None
    return np.ascontiguousarray(pixels[:, :, order[2]])
