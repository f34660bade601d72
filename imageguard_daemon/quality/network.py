"""A small feed-forward network, run by NumPy alone; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from imageguard_daemon.quality.tiles import Floats

_ABOUT = "about"
_SCALES = ("low", "high", "mean", "spread")


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
        """Give the outputs for each row of a table of features; of `stacked` networks: network x row x output."""
        values = (np.clip(features, self.low, self.high) - self.mean) / self.spread
        for matrix, bias in self.layers[:-1]:
            values = values @ matrix + bias
            values = np.maximum(values, 0.01 * values)
        matrix, bias = self.layers[-1]
        return np.asarray(values @ matrix + bias, np.float32)


def stacked(networks: Sequence[Network]) -> Network:
    """Give networks of one shape as one, which is asked in one go: the arrays have an axis more, the first."""

    def together(parts: Iterable[Floats]) -> Floats:
        return np.stack([np.atleast_2d(part) for part in parts])

    low, high, mean, spread = (together(getattr(one, name) for one in networks) for name in _SCALES)
    depths = range(len(networks[0].layers))
    layers = tuple(
        (together(one.layers[depth][0] for one in networks), together(one.layers[depth][1] for one in networks))
        for depth in depths
    )
    return Network(low, high, mean, spread, layers)


@dataclass(frozen=True, slots=True)
class Panel:
    """Networks that are asked the same, and whose answers are averaged."""

    features: tuple[str, ...]
    """What they look at."""
    targets: tuple[str, ...]
    """What they answer."""
    networks: tuple[Network, ...]


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
        ValueError: it was written by another version.
    """
    with np.load(file, allow_pickle=False) as arrays:
        if "panels" not in arrays:
            raise ValueError("the readout is of another version: run `python -m training`")
        return tuple(_panel(arrays, at) for at in range(int(arrays["panels"])))


def about(file: BinaryIO) -> str:
    """Give what was said of how it was made, in JSON; nothing of a file that has no such words.

    Raises:
        ValueError: it is no readout.
    """
    with np.load(file, allow_pickle=False) as arrays:
        if "panels" not in arrays:
            raise ValueError("this is no readout, or one of another version")
        return str(arrays[_ABOUT]) if _ABOUT in arrays else ""


def _panel(arrays: Mapping[str, Any], at: int) -> Panel:
    features, targets = (tuple(map(str, arrays[f"{at}_{what}"])) for what in ("features", "targets"))
    numbers = range(int(arrays[f"{at}_count"]))
    return Panel(features, targets, tuple(_network(arrays, f"{at}_{number}") for number in numbers))


def _network(arrays: Mapping[str, Any], name: str) -> Network:
    depths = range(sum(key.startswith(f"{name}_matrix") for key in arrays))
    layers = tuple((arrays[f"{name}_matrix{depth}"], arrays[f"{name}_bias{depth}"]) for depth in depths)
    low, high, mean, spread = (arrays[f"{name}_{key}"] for key in _SCALES)
    return Network(low, high, mean, spread, layers)
