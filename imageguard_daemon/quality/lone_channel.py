"""Pictures that have light in one channel alone, as those of a blue dye: luma makes them dark, and they are not; pure.

Luma has a ninth of blue and less than a third of red. What has hardly any other light is judged by that channel.
"""

import cv2
import numpy as np

from imageguard_daemon.quality.luma import Grey

_BRIGHTEST = 160
"""What luma makes of one channel that is white: green, the brightest, comes to 150."""
_LEGEND = 0.02
"""Share of the pixels that may be brighter: scale bars and letters."""
_EVERY = 4
_LEAST_LIGHT, _OTHERS = 8, 0.1
"""Mean level of the channel, below which colours are chance; and most of that in another one."""


def may_have_lone_channel(grey: Grey) -> bool:
    """Tell whether luma is so dark that a look at the colours is worth it."""
    some = grey[::_EVERY, ::_EVERY]
    return int(np.count_nonzero(some > _BRIGHTEST)) <= _LEGEND * some.size


def lone_channel(pixels: Grey) -> Grey | None:
    """Give the channel that alone has light, of height x width x 3; None when another one has some, too."""
    light = np.array(cv2.mean(pixels)[:3])
    order = np.argsort(light)
    brightest, second = light[order[2]], light[order[1]]
    if brightest < _LEAST_LIGHT or second > _OTHERS * brightest:
        return None
    return np.ascontiguousarray(pixels[:, :, order[2]])
