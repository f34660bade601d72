"""A small feed-forward network, run by NumPy alone; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from imageguard_daemon.quality.tiles import Floats


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
        """Give the outputs for one vector of features, or for each row of a table of them."""
        values = (np.clip(features, self.low, self.high) - self.mean) / self.spread
        for matrix, bias in self.layers[:-1]:
            values = values @ matrix + bias
            values = np.maximum(values, 0.01 * values)
        matrix, bias = self.layers[-1]
        return np.asarray(values @ matrix + bias, np.float32)


def save(file: BinaryIO, networks: Sequence[Network], names: Sequence[str]) -> None:
    """Write networks and the names of the features they read."""
    arrays = {"names": np.array(names), "count": np.array(len(networks))}
    for number, network in enumerate(networks):
        for key in ("low", "high", "mean", "spread"):
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
    low, high, mean, spread = (arrays[f"{number}_{key}"] for key in ("low", "high", "mean", "spread"))
    return Network(low, high, mean, spread, layers)
