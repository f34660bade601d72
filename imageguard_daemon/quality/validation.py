"""The library's one call: is this image good enough?"""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Decision, Limits, Measurement, PresetName, Thresholds
from imageguard_daemon.quality.decode.decoder import Picture, from_grey, from_pillow, require_size
from imageguard_daemon.quality.decode.luma import grey_of, scaled_to_8_bit
from imageguard_daemon.quality.measurement import measure_bytes, measure_file, measure_picture
from imageguard_daemon.quality.policy import decide, thresholds_for
from imageguard_daemon.quality.readout import Readout, readout_of

_LIMITS = Limits()
_FOR_WHOLE_NUMBERS = "; if its values are of 0 ... 255, give array.astype(numpy.uint8)"
_HINTS = {
    "f": "; if its values are of 0 ... 1, give (array * 255).astype(numpy.uint8)",
    "i": _FOR_WHOLE_NUMBERS,
    "u": _FOR_WHOLE_NUMBERS,
}
"""What to do with an array of another type, by its kind."""


def validate(
    image: str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any],
    preset: PresetName = "general",
    thresholds: Thresholds | None = None,
    readout: str | os.PathLike[str] | None = None,
) -> Decision:
    """Judge one image: a path, a file's bytes, a Pillow image, or an RGB or grey array.

    A damaged or hostile image gives a decision that is not `ok`. `thresholds` replaces some of the preset's,
    such as `{"blur_score": 55}`. `bytes` are a file's content, never its name. `readout` is a file that
    `python -m training` has written, in place of the package's own; `scorer_version` of the decision then has its hash.

    An array is height x width (grey), or height x width x 1, 3 (RGB) or 4 (RGBA), of uint8, of uint16 (scaled as
    a file's: 12-bit data is not a dark picture) or of bool; neither contiguous nor writable need it be. Of a Pillow
    image the current frame is judged. Thresholds may be NumPy's numbers.

    It may be called from any thread and in any process, forked or spawned, and leaves the process as it was: settings
    of Pillow and OpenCV, warnings, environment and random numbers are the caller's, and do not decide a verdict. One
    array or path may be judged by several threads at once; a Pillow image is for one at a time, as Pillow has it.

    Raises:
        FileNotFoundError: there is no such path. Other `OSError` as the system gives them.
        TypeError: the image is nothing of the above, or an array is of another type.
        ValueError: an unknown preset or threshold, an array of another shape, a Pillow image that is closed, or a
            `readout` that is none, is damaged in any way, or was trained for other features.
    """
    in_force = thresholds_for(preset, thresholds)
    own = None if readout is None else readout_of(os.fsdecode(readout))
    return validate_by(own, image, preset, in_force)


def validate_by(own: Readout | None, image: Any, preset: str, in_force: Mapping[str, float]) -> Decision:
    """Judge one image by a readout that was read already, so that several are judged by the same one.

    `in_force` are all thresholds; errors are those of `validate`.
    """
    decision = decide(_measure(image, own), preset, in_force)
    return decision if own is None else replace(decision, scorer_version=own.identity)


def _measure(image: Any, readout: Readout | None) -> Measurement:
    if isinstance(image, bytes | bytearray | memoryview):
        return measure_bytes(bytes(image), _LIMITS, readout)
    if isinstance(image, Image.Image):
        return _measure_pillow(image, readout)
    if isinstance(image, np.ndarray):
        return _measure_array(image, readout)
    if isinstance(image, str | os.PathLike):
        return _measure_path(os.fsdecode(image), readout)
    kind, hint = type(image), ""
    if hasattr(image, "read"):
        hint = "; of an open file give its content: file.read()"
    elif hasattr(image, "numpy"):
        hint = "; of a tensor give an array, as tensor.permute(1, 2, 0).numpy(), of uint8"
    raise TypeError(f"an image must be a path, bytes, a Pillow image or an array, not {kind.__name__}{hint}")


def _measure_path(path: str, readout: Readout | None) -> Measurement:
    mode = os.stat(path).st_mode  # not of its real path, in which an empty one is the current folder
    # Unlike the daemon, a caller who names a link means what it points to.
    real = os.path.realpath(path)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(mode):
        raise ValueError(f"not a regular file: {path!r}")
    return measure_file(real, _LIMITS, lambda data, limits: measure_bytes(data, limits, readout))


def _measure_array(array: NDArray[Any], readout: Readout | None) -> Measurement:
    array = array.astype(array.dtype.newbyteorder("="), copy=False)  # as TIFF readers give it
    if array.dtype not in (np.uint8, np.uint16, np.bool_):
        message = f"an array must be of uint8, uint16 or bool, not {array.dtype}"
        raise TypeError(message + _HINTS.get(array.dtype.kind, ""))
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        is_turned = array.ndim == 3 and 0 not in array.shape and array.shape[0] in (1, 3, 4)
        hint = "; channels come last: array.transpose(1, 2, 0)" if is_turned else ""
        raise ValueError(f"an array must be height x width or height x width x 1, 3 or 4, not {array.shape}{hint}")
    # A float copy of a 16-bit array is not made before its size is known to be allowed.
    return _measure_picture(lambda: _picture_of(array), readout)


def _picture_of(array: NDArray[Any]) -> Picture:
    require_size(array.shape[1], array.shape[0], _LIMITS)
    pixels = scaled_to_8_bit(np.ascontiguousarray(array))
    has_colours = pixels.ndim == 3 and pixels.shape[2] == 3
    return from_grey(grey_of(pixels), _LIMITS, pixels if has_colours else None)


def _measure_pillow(image: Image.Image, readout: Readout | None) -> Measurement:
    if 0 in image.size:
        raise ValueError("a Pillow image must have at least one pixel")
    return _measure_picture(lambda: from_pillow(image, _LIMITS), readout)


def _measure_picture(take: Callable[[], Picture], readout: Readout | None) -> Measurement:
    try:
        return measure_picture(take(), _LIMITS, readout)
    except ImageError as error:
        return Measurement("", issue=error.issue, detail=error.detail)
    except MemoryError:
        return Measurement("", issue="too_large", detail="it takes more memory than there is")
