"""A small feed-forward network, run by NumPy alone; pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO
from zipfile import ZipInfo, is_zipfile

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.names import printable
from imageguard_daemon.quality.features.tiles import Floats

_ABOUT = "about"
_ARCHIVE = b"PK\x03\x04"
_SCALES = ("low", "high", "mean", "spread")
MAX_BYTES = 256 << 20
"""Hundreds of times what training writes; no more is unpacked."""


@dataclass(frozen=True, slots=True)
class Network:
    """Features, cut to the range they were trained in, to outputs; hidden layers are leaky rectifiers."""

    low: Floats
    high: Floats
    mean: Floats
    spread: Floats
    layers: tuple[tuple[Floats, Floats], ...]
    """Matrix and bias of each layer."""

    def __call__(self, features: Floats) -> Floats:
        """Give the outputs for each row of a table of features, or for one row."""
        values = (np.clip(features, self.low, self.high) - self.mean) / self.spread
        for matrix, bias in self.layers[:-1]:
            values = values @ matrix + bias
            values = np.maximum(values, 0.01 * values)
        matrix, bias = self.layers[-1]
        return np.asarray(values @ matrix + bias, np.float32)


@dataclass(frozen=True, slots=True)
class Panel:
    """Networks that are asked the same, and whose answers are averaged."""

    features: tuple[str, ...]
    """What they look at."""
    targets: tuple[str, ...]
    """What they answer."""
    networks: tuple[Network, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """How many numbers go into the first layer, and come out of each, of all networks alike."""
        return len(self.features), *(bias.size for _, bias in self.networks[0].layers)

    def in_a_row(self) -> Floats:
        """Give all numbers of all networks one after another, as compiled code reads them: ranges, then layers."""
        parts = [
            part
            for network in self.networks
            for part in (network.low, network.high, network.mean, network.spread, *chain(*network.layers))
        ]
        return np.concatenate([part.ravel() for part in parts]).astype(np.float32, copy=False)


def save(file: BinaryIO, panels: Sequence[Panel], about: str = "") -> None:
    """Write panels with the names of what they look at and answer; `about` says in JSON how they were made."""
    arrays = {"panels": np.array(len(panels)), _ABOUT: np.array(about)}
    for at, panel in enumerate(panels):
        arrays[f"{at}_features"], arrays[f"{at}_targets"] = np.array(panel.features), np.array(panel.targets)
        arrays[f"{at}_count"] = np.array(len(panel.networks))
        for number, network in enumerate(panel.networks):
            for key in _SCALES:
                arrays[f"{at}_{number}_{key}"] = getattr(network, key)
            for depth, (matrix, bias) in enumerate(network.layers):
                arrays[f"{at}_{number}_matrix{depth}"], arrays[f"{at}_{number}_bias{depth}"] = matrix, bias
    np.savez_compressed(file, allow_pickle=False, **arrays)


def load(file: BinaryIO) -> tuple[Panel, ...]:
    """Read what `save` wrote.

    Raises:
        ValueError: it was written by another version, is damaged, or is nothing of the kind; with the file's name,
            where it has one.
    """
    with _arrays_of(file) as arrays:
        if "panels" not in arrays:
            raise ValueError("the readout is of another version: run `python -m training`")
        return tuple(_panel(arrays, at) for at in range(_count(arrays, "panels")))


def about(file: BinaryIO) -> str:
    """Give what was said of how it was made, in JSON; nothing of a file that has no such words.

    Raises:
        ValueError: it is not a readout.
    """
    with _arrays_of(file) as arrays:
        if "panels" not in arrays:
            raise ValueError("this is not a readout, or one of another version")
        _count(arrays, "panels")
        return str(arrays[_ABOUT]) if _ABOUT in arrays else ""


@contextmanager
def _arrays_of(file: BinaryIO) -> Iterator[Mapping[str, Any]]:
    name = getattr(file, "name", "")
    called = f"{printable(str(name))}: " if name else ""
    try:
        _require_archive(file)
        with np.load(file, allow_pickle=False) as arrays:
            _require_size(arrays.zip.infolist())
            yield arrays
    except ValueError as error:
        raise ValueError(f"{called}{error}") from error
    except Exception as error:  # zipfile, zlib and NumPy have a dozen for bytes that are damaged
        raise ValueError(f"{called}it is damaged, or no readout ({type(error).__name__}: {error})") from error


def _require_archive(file: BinaryIO) -> None:
    """Refuse what does not begin and end as an archive: of other files NumPy says how to have them run code."""
    if file.read(len(_ARCHIVE)) != _ARCHIVE or not is_zipfile(file):
        raise ValueError("it is not a .npz archive, or it is cut off")
    file.seek(0)


def _require_size(members: Iterable[ZipInfo]) -> None:
    if sum(member.file_size for member in members) > MAX_BYTES:
        raise ValueError(f"unpacked it is larger than any readout ({MAX_BYTES >> 20} MB)")


def _count(arrays: Mapping[str, Any], name: str) -> int:
    number = arrays[name]
    if number.shape or number.dtype.kind not in "iu" or number < 1:
        raise ValueError(f"its {name!r} is not a number of what it has")
    return int(number)


def _panel(arrays: Mapping[str, Any], at: int) -> Panel:
    features, targets = (_names(arrays, f"{at}_{what}") for what in ("features", "targets"))
    numbers = range(_count(arrays, f"{at}_count"))
    networks = tuple(_network(arrays, f"{at}_{number}", len(features), len(targets)) for number in numbers)
    if len({tuple(matrix.shape for matrix, _ in network.layers) for network in networks}) > 1:
        raise ValueError(f"its networks of panel {at} are not of one shape")
    return Panel(features, targets, networks)


def _names(arrays: Mapping[str, Any], name: str) -> tuple[str, ...]:
    names = arrays[name]
    if names.ndim != 1 or not names.size or names.dtype.kind != "U":
        raise ValueError(f"its {name!r} are not names")
    return tuple(map(str, names))


def _network(arrays: Mapping[str, Any], name: str, inputs: int, outputs: int) -> Network:
    depths = range(sum(key.startswith(f"{name}_matrix") for key in arrays))
    low, high, mean, spread = (_numbers(arrays, f"{name}_{key}", (inputs,)) for key in _SCALES)
    if not depths or (low > high).any() or (spread <= 0).any():
        raise ValueError(f"its network {name!r} has no layers or no range")
    layers, wide = [], inputs
    for depth in depths:
        bias = arrays[f"{name}_bias{depth}"]
        wider = outputs if depth == depths[-1] else bias.size
        matrix = _numbers(arrays, f"{name}_matrix{depth}", (wide, wider))
        layers.append((matrix, _numbers(arrays, f"{name}_bias{depth}", (wider,))))
        wide = wider
    made = Network(low, high, mean, spread, tuple(layers))
    with np.errstate(all="ignore"):  # numbers that are finite may have answers that are not
        is_sane = np.isfinite(made(np.stack([low, mean, high]))).all()
    if not is_sane:
        raise ValueError(f"its network {name!r} has answers that are not numbers")
    return made


def _numbers(arrays: Mapping[str, Any], name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    numbers: NDArray[np.float32] = arrays[name]
    if numbers.dtype.kind != "f" or numbers.shape != shape or not np.isfinite(numbers).all():
        raise ValueError(f"its {name!r} are not {' x '.join(map(str, shape))} finite numbers")
    return numbers
