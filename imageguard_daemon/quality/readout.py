"""Features to measures: the trained readout, and the facts that need no estimate; pure but for reading its data once.

The networks in `readout.npz` were made by `python -m training`; docs/model-card.md says from what, how good they
are and where they fail. They give scores, as 0 to 1, because there an error counts alike wherever it is; `SCALES`
turns these back into the measure that has this score.
"""

import functools
import hashlib
import importlib.resources
import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.errors import ConfigError, NoInputError, PermissionDeniedError
from imageguard_daemon.core.model import Measures
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.regular_files import NotRegularError, regular_file
from imageguard_daemon.quality.features.exposure import Tones, partly_clipped_share
from imageguard_daemon.quality.features.tiles import Floats
from imageguard_daemon.quality.features.vector import AT_WORKING_SIZE, NAMES, Features
from imageguard_daemon.quality.network import MAX_BYTES, Network, Panel, load
from imageguard_daemon.quality.scoring import SCALES, Scale
from imageguard_daemon.quality.version import compiled_features, scorer_with

TARGETS = ("blur_sigma_px", "noise_sigma", "jpeg_quality", "enlargement", "overexposure", "underexposure")
"""The measures that are estimated."""
PANELS = (
    (AT_WORKING_SIZE, ("blur_sigma_px", "noise_sigma")),
    (AT_WORKING_SIZE, ("overexposure", "underexposure")),
    (NAMES, ("jpeg_quality", "enlargement")),
)
"""What each panel of networks looks at and answers.

Blur and noise are those at working size. Of a large file, native pixels may be soft, sharpened or noisy, and most of
that is gone when it is reduced: networks that saw it took a blurred photo for sharp by its camera's sharpened noise.
Exposure has networks of its own: what taught it new kinds of pictures made those of blur miss real defocus.
"""

_DATA = "readout.npz"
_SMALLEST_SIDE_PX = 16
"""A few pixels say how many they are, and nothing else."""
_SMALL_SIDE_PX, _SMALL_NOISE_SIDE_PX, _MIN_SAID = 64, 96, 0.3
"""A picture with a shorter side is blamed less the smaller it is, and at half of that by so much of the estimate."""
_BLANK = 0.9995
"""Share of clipped pixels from which on there is nothing else to be seen."""
_USED_LEVELS, _FEW_LEVELS = NAMES.index("used_levels"), 0.02
_INK, _DARK, _BRIGHT = (NAMES.index(name) for name in ("darker_than_48", "darker_than_64", "brighter_than_224"))
_MIN_INK, _INK_FOR_TONES, _MAX_BETWEEN, _DRAWN_LEVELS, _DRAWN_PAGE = 0.01, 0.5, 0.05, 0.85, 0.25
"""A page that a program drew: shares of ink, by itself and of the tones between it and the paper, which are few; the
share of levels in use; and the most that it may be over-exposed.

Too much light leaves a colour photo all levels; of 110 grey ones given 3.3 stops too much three are like that. A page
whose ink is no longer that dark is not spared.
"""
_CERTAIN = (0.7, 0.85)
"""Over-exposure by luma that is no longer a doubt: of 169 drawn pages of 17 public sets the most is 0.66."""
_DOUBTFUL, _CLIPPED_SKY, _CLIPPED_COLOURS = 0.15, 0.02, 7.0
"""Over-exposure by luma from which on colours are looked at, which few good photos reach; the share of partly clipped
ones that the edge of a bright sky may have; and how fast a share beyond it closes the gap to 1.

Of cut-outs before white and of photos with too much light luma says 0.15 to 0.5 alike: colours tell them apart.
"""
_BENEFIT = {"overexposure": 0.0, "underexposure": 0.0}
"""What the networks disagree on is not proved: one standard deviation of their answers speaks for the image.

Not so of exposure, of which there is no proof: a good and a badly exposed picture differ by what was meant.
"""
_DOUBT = {"enlargement": (0.6, 0.88, 0.97), "overexposure": (0.5, 0.92, 0.98)}
"""Undamaged photos get such scores, too: beyond the first they are stretched so that the second becomes the third."""
_native = compiled_features()
_SCALE_OF = {scale.measure: scale for scale in SCALES}
_BEYOND_BLURRED = ((-10.0, 8.0), (-25.0, 16.0))
"""Where the scale of blur ends at 0, sources that are soft by nature begin: the networks tell them apart, too."""


def _target_scale(measure: str) -> Scale:
    scale = _SCALE_OF[measure]
    if measure != "blur_sigma_px":
        return scale
    return replace(scale, anchors=(*scale.anchors[:-1], *_BEYOND_BLURRED))


TARGET_SCALES = {measure: _target_scale(measure) for measure in TARGETS}
"""How a measure becomes what a network gives for it, times 100: its scale, of blur a longer one."""


def read_out(features: Features, readout: "Readout | None" = None) -> Measures:
    """Give the measures of an image, by the package's own readout or another."""
    asked = readout.asked if readout else _asked()
    estimates = _estimates(features.vector, min(features.width, features.height), asked)
    tones = features.exposure
    measures = Measures(
        width=features.width,
        height=features.height,
        blur_sigma_px=estimates["blur_sigma_px"],
        noise_sigma=estimates["noise_sigma"],
        jpeg_quality=_jpeg_quality(estimates["jpeg_quality"], features),
        enlargement=_enlargement(estimates["enlargement"], features),
        clipped_low=tones.clipped_low,
        clipped_high=tones.clipped_high,
        tone_low=tones.low,
        tone_median=tones.median,
        tone_high=tones.high,
        overexposure=1.0 if tones.clipped_high >= _BLANK else _overexposure(estimates["overexposure"], features),
        underexposure=1.0 if tones.clipped_low >= _BLANK else min(estimates["underexposure"], _most_under(tones)),
    )
    return _innocent(measures) if min(features.width, features.height) < _SMALLEST_SIDE_PX else measures


def _overexposure(estimate: float, features: Features) -> float:
    """Add what too much light did to the colours, which are looked at only where luma leaves a doubt."""
    most = _most_over(features, estimate)
    pixels = features.glance() if _DOUBTFUL <= estimate < most else None
    if pixels is None:
        return min(estimate, most)
    clipped = max(0.0, partly_clipped_share(pixels) - _CLIPPED_SKY)
    proof = clipped * _said_by("overexposure", min(features.width, features.height))
    return min(1 - (1 - estimate) * math.exp(-_CLIPPED_COLOURS * proof), most)


def _most_over(features: Features, estimate: float) -> float:
    """Give the most that a picture without bright places may be over-exposed, or, in doubt, one that is ink on paper.

    Five stops too much make a few black shapes on white of a photo: then luma alone is certain.
    """
    by_brightness = _ramp(features.exposure.high, 170, 215)
    if estimate <= _DRAWN_PAGE or not _is_ink_on_paper(features.vector):
        return by_brightness
    return min(by_brightness, _DRAWN_PAGE + (1 - _DRAWN_PAGE) * _ramp(estimate, *_CERTAIN))


def _is_ink_on_paper(vector: Floats) -> bool:
    """Check whether a program drew dark on white: too much light leaves tones between in a photo, and little dark."""
    ink, dark, bright = (float(vector[at]) ** 2 for at in (_INK, _DARK, _BRIGHT))
    between = 1 - dark - bright
    is_clear = between <= _MAX_BETWEEN and ink >= max(_MIN_INK, _INK_FOR_TONES * between)
    return is_clear and bool(vector[_USED_LEVELS] < _DRAWN_LEVELS)


def _most_under(tones: Tones) -> float:
    """Give the most that a picture may be under-exposed half of which is bright."""
    return 1 - _ramp(tones.median, 90, 125)


def _ramp(value: float, start: float, end: float) -> float:
    """Give 0 up to `start`, 1 from `end` on; many times as fast as `numpy.interp` for one number."""
    return min(max((value - start) / (end - start), 0.0), 1.0)


def _jpeg_quality(estimate: float, features: Features) -> float:
    """Prefer the steps that the pixels show, or the file's table, unless an older and worse compression shows."""
    table, grid = float(features.table_quality or 100), features.grid
    if features.vector[_USED_LEVELS] < _FEW_LEVELS:
        return table  # compression would have left more than black and white
    found = grid.is_found and _agree("jpeg_quality", estimate, float(grid.quality), 40)
    if found or _agree("jpeg_quality", estimate, table, 25):
        return min(table, float(grid.quality)) if found else table
    return min(estimate, table)


def _enlargement(estimate: float, features: Features) -> float:
    """Prefer the factor by which pixels repeat, where that is not a drawing's nature."""
    is_fact = features.repeated > 1 and _agree("enlargement", estimate, features.repeated, 30)
    return features.repeated if is_fact else estimate


def _agree(measure: str, estimate: float, fact: float, points: float) -> bool:
    score = _SCALE_OF[measure].score
    return abs(score(estimate) - score(fact)) <= points


def _innocent(measures: Measures) -> Measures:
    """Blame a tiny image for its size alone."""
    return replace(measures, blur_sigma_px=0.0, noise_sigma=0.0, enlargement=1.0, overexposure=0.0, underexposure=0.0)


def _estimates(vector: Floats, short_side: int, panels_asked: "tuple[_Asked, ...]") -> dict[str, float]:
    found: dict[str, float] = {}
    for asked in panels_asked:
        answers, width = asked.answers(vector), len(asked.targets)
        # A few numbers: NumPy would take longer to begin than to add them.
        for at, name in enumerate(asked.targets):
            of_each = answers[at::width]
            mean = sum(of_each) / len(of_each)
            spread = math.sqrt(sum((answer - mean) ** 2 for answer in of_each) / len(of_each))
            score = mean + _BENEFIT.get(name, 1.0) * spread
            found[name] = _measure(name, score, _said_by(name, short_side))
    return found


def _said_by(name: str, short_side: int) -> float:
    """Give how much so few pixels say, 0 to 1: of noise the least, for which few of them are flat."""
    start = _SMALL_NOISE_SIDE_PX if name == "noise_sigma" else _SMALL_SIDE_PX
    return _MIN_SAID + (1 - _MIN_SAID) * _ramp(short_side, start / 2, start)


def _measure(name: str, score: float, said: float) -> float:
    scale = TARGET_SCALES[name]
    bounded = min(max(score, scale.anchors[-1][0] / 100), 1.0)
    return scale.limit(100 * _without_doubt(name, 1 - said * (1 - bounded)))


def _without_doubt(measure: str, score: float) -> float:
    """Call nearly perfect what is as good as undamaged photos look to the networks, which are never quite sure."""
    doubt = _DOUBT.get(measure)
    if doubt is None or score <= doubt[0]:
        return score
    start, end, reported = doubt
    return start + (reported - start) * _ramp(score, start, end) + (1 - reported) * _ramp(score, end, 1.0)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A panel as it is run: which columns of the features it gets, and its networks, by themselves and in a row."""

    columns: NDArray[np.int32]
    targets: tuple[str, ...]
    networks: tuple[Network, ...]
    widths: tuple[int, ...]
    in_a_row: Floats

    def answers(self, vector: Floats) -> list[float]:
        """Give what each network says to each target, one network after another."""
        if _native is not None:
            answers: list[float] = _native.answers(vector, self.columns, self.in_a_row, self.widths)
            return answers
        chosen = vector[self.columns]
        return [answer for network in self.networks for answer in network(chosen).tolist()]


def _as_run(panel: Panel) -> _Asked:
    columns = np.array([NAMES.index(name) for name in panel.features], np.int32)
    return _Asked(columns, panel.targets, panel.networks, panel.widths, panel.in_a_row())


@functools.cache
def _asked() -> tuple[_Asked, ...]:
    return tuple(_as_run(panel) for panel in panels())


@functools.cache
def panels() -> tuple[Panel, ...]:
    """Give the trained networks, read from the package's own data.

    Raises:
        ValueError: they were trained for other features or measures than these.
    """
    return _panels(importlib.resources.files(__package__).joinpath(_DATA).read_bytes())


def panels_in(data: bytes, path: str) -> tuple[Panel, ...]:
    """Give the networks in a file that `python -m training` has written, by its bytes; `path` is for the message.

    Raises:
        ValueError: it is not a readout, or was trained for other features than these.
    """
    with _naming(path):
        return _panels(data)


def _panels(data: bytes) -> tuple[Panel, ...]:
    found = load(io.BytesIO(data))
    if tuple((panel.features, panel.targets) for panel in found) != PANELS:
        raise ValueError("the readout was trained for other features: run `python -m training`")
    return found


@dataclass(frozen=True, slots=True)
class Readout:
    """Networks of somebody's own. `digest` is the hash of their file, `content` what stood in it."""

    digest: str
    asked: tuple[_Asked, ...]
    content: bytes

    @property
    def identity(self) -> str:
        """The code's number and the file's hash: what records say."""
        return scorer_with(self.digest)


def configured(path: str | os.PathLike[str] | None, setting: str = "scoring.readout") -> Readout | None:
    """Give the readout that a setting names; None where it names none: the package's own is in force.

    Raises:
        NoInputError, PermissionDeniedError: it cannot be read.
        ConfigError: it is not a readout, or not one for these features.
    """
    if path is None:
        return None
    try:
        return readout_of(os.fsdecode(path))
    except OSError as error:
        kind = PermissionDeniedError if isinstance(error, PermissionError) else NoInputError
        raise kind(f"{setting}: cannot read {printable(os.fsdecode(path))}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError([f"{setting}: {error}"]) from error


def scorer_of(path: str | os.PathLike[str] | None) -> str:
    """Name the scorer, as records do, by which images are measured where a setting names this readout, or none."""
    return scorer_by(configured(path))


def scorer_by(readout: Readout | None) -> str:
    """Name the scorer, as records do, that measures by this readout, or by the package's own."""
    return readout.identity if readout else scorer_with("")


def readout_of(path: str) -> Readout:
    """Give the readout in a file that `python -m training` has written; an unchanged file is read once.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is not a readout, is damaged, or was trained for other features than these.
    """
    real = os.path.realpath(path)
    state = os.stat(real)
    return _read(real, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns))


@functools.lru_cache(maxsize=4)
def _read(path: str, _state: tuple[int, ...]) -> Readout:
    with _naming(path):
        return readout_from(_bytes_of(path))


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Say of which file it is that it is not a readout."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{printable(path)} is not a readout: {error}") from error


def _bytes_of(path: str) -> bytes:
    try:
        with regular_file(path) as file:
            if file.status.st_size > MAX_BYTES:
                raise ValueError(f"it is larger than any readout ({MAX_BYTES >> 20} MB)")
            return file.read(MAX_BYTES)
    except NotRegularError as error:
        raise ValueError("it is not a regular file") from error


def readout_from(content: bytes) -> Readout:
    """Give the readout that stood in a file, whatever its name.

    Raises:
        ValueError: it is none, is damaged, or was trained for other features than these.
    """
    asked = tuple(map(_as_run, _panels(content)))
    return Readout(hashlib.sha256(content).hexdigest()[:12], asked, content)
