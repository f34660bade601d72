"""A small feed-forward network, run by NumPy alone; pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from imageguard_daemon.quality.tiles import Floats

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


def save(file: BinaryIO, networks: Sequence[Network], names: Sequence[str]) -> None:
    """Write networks and the names of the features they read."""
    arrays = {"names": np.array(names), "count": np.array(len(networks))}
    for number, network in enumerate(networks):
        for key in _SCALES:
            arrays[f"{number}_{key}"] = getattr(network, key)
        for depth, (matrix, bias) in enumerate(network.layers):
            arrays[f"{number}_matrix{depth}"], arrays[f"{number}_bias{depth}"] = matrix, bias
    np.savez_compressed(file, allow_pickle=False, **arrays)


def load(file: BinaryIO, names: Sequence[str]) -> tuple[Network, ...]:
    """Read what `save` wrote.

    Raises:
        ValueError: the networks read other features than those named.
    """
    with np.load(file, allow_pickle=False) as arrays:
        if tuple(arrays["names"]) != tuple(names):
            raise ValueError("the readout was trained for other features: run `python -m training`")
        return tuple(_network(arrays, number) for number in range(int(arrays["count"])))


def _network(arrays: Mapping[str, Floats], number: int) -> Network:
    depths = range(sum(key.startswith(f"{number}_matrix") for key in arrays))
    layers = tuple((arrays[f"{number}_matrix{depth}"], arrays[f"{number}_bias{depth}"]) for depth in depths)
    low, high, mean, spread = (arrays[f"{number}_{key}"] for key in _SCALES)
    return Network(low, high, mean, spread, layers)
