"""A small network from features to scores, trained by plain gradient descent (Adam) in NumPy.

The truth is an interval, and only what lies outside of it is an error, so that one network learns from exact
values, from "at least so blurred" and from "nobody knows". A few networks are averaged. A network may start from
another one and stay near it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.features.tiles import Floats
from imageguard_daemon.quality.features.vector import NAMES
from imageguard_daemon.quality.network import Network
from imageguard_daemon.quality.readout import TARGETS

_BAD = 0.75
_FEW_PIXELS = 12_000
_FEWEST_BATCHES = 4
"""Of few examples, smaller batches are made: less than one would teach nothing."""
_AS_BEFORE, _AS_LABELLED = 0.015, 0.04
"""So far, as a score of 0 to 1, a network may move from the answers of its start, and where labels allow them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one network is trained."""

    hidden: tuple[int, ...] = (128, 64)
    epochs: int = 30
    batch: int = 256
    rate: float = 2e-3
    decay: float = 2e-3
    jitter: float = 0.03
    dropped: float = 0.02
    huber: float = 0.05


FROM_A_START = Settings(epochs=20, rate=1e-3, decay=0.1)
"""Much of what a network knows, this training cannot show it: few and small steps, and a pull back at each."""


@dataclass(frozen=True, slots=True)
class Taught:
    """What a network learns from: n examples of f features, t intervals (n x t x 2) and t weights."""

    features: Floats
    truths: Floats
    weights: Floats
    spans: NDArray[np.bool_]
    """Whose features say in which range features are looked at: those that were damaged, if there are any.

    Where only labelled pictures are, nearly all of them good, the range itself, such as a large size, would pass
    for a sign of quality.
    """


def fit(taught: Taught, settings: Settings, seed: int, start: Network | None = None) -> Network:
    """Train one network anew, or from where another one stands: with its ranges, its weights and a pull to these."""
    rng = np.random.default_rng(seed)
    features, truths, weights = taught.features, taught.truths, taught.weights
    blank = start or _untrained(taught, settings, rng)
    inputs = ((np.clip(features, blank.low, blank.high) - blank.mean) / blank.spread).astype(np.float32)
    layers = [(matrix.copy(), bias.copy()) for matrix, bias in blank.layers]
    parts = [part for pair in layers for part in pair]
    adam = _Adam(parts, settings.decay, [part.copy() for part in parts] if start else [np.zeros_like(p) for p in parts])
    size = min(settings.batch, max(1, len(inputs) // _FEWEST_BATCHES))
    steps = settings.epochs * (len(inputs) // size)
    for step, rows in enumerate(_batches(len(inputs), size, settings.epochs, rng), 1):
        # The rate falls along a cosine to nothing.
        rate = settings.rate * 0.5 * (1 + np.cos(np.pi * step / max(1, steps)))
        batch = inputs[rows] + rng.normal(0, settings.jitter, (len(rows), inputs.shape[1])).astype(np.float32)
        batch *= rng.random(batch.shape, dtype=np.float32) >= settings.dropped
        slopes = _slopes(batch, truths[rows], weights[rows], layers, settings.huber)
        adam.move(slopes, rate)
    return replace(blank, layers=tuple(layers))


def rehearsed(truths: Floats, answers: Floats, labelled: NDArray[np.bool_]) -> Floats:
    """Give what a network must answer that goes on from another one, with n x t answers, and forgets nothing.

    Of labelled pictures that is the truth, narrowed to the answer wherever this is no error; of all others the answer
    itself, for the one before has seen more of what was damaged on purpose than is at hand.
    """
    low, high = truths[..., 0], truths[..., 1]
    is_right = (answers >= low) & (answers <= high)
    narrowed = np.stack([np.maximum(low, answers - _AS_LABELLED), np.minimum(high, answers + _AS_LABELLED)], axis=-1)
    of_labelled = np.where(is_right[..., None], narrowed, truths)
    as_before = np.stack([answers - _AS_BEFORE, answers + _AS_BEFORE], axis=-1)
    return np.where(labelled[:, None, None], of_labelled, as_before).astype(np.float32)


def weights(features: Floats, truths: Floats, labelled: NDArray[np.bool_]) -> Floats:
    """Give how much each of the n x 6 truths counts: bad images are the rarer ones, and small ones tell less."""
    low, high = truths[..., 0], truths[..., 1]
    found = np.where((high < _BAD) & (high > -5), 3.0, 1.0)
    found[(low < -5) & (high > 5)] = 0
    found[labelled] *= 2
    found[:, TARGETS.index("overexposure")] *= 2
    found[features[:, NAMES.index("log_pixels")] < np.log(_FEW_PIXELS)] *= 0.4
    return found.astype(np.float32)


def _untrained(taught: Taught, settings: Settings, rng: np.random.Generator) -> Network:
    low, high = (np.quantile(taught.features[taught.spans], share, axis=0) for share in (0.001, 0.999))
    clipped = np.clip(taught.features, low, high)
    mean, spread = clipped.mean(axis=0), np.maximum(clipped.std(axis=0), 1e-4)
    layers = _chance((taught.features.shape[1], *settings.hidden, taught.truths.shape[1]), rng)
    low, high, mean, spread = (scale.astype(np.float32) for scale in (low, high, mean, spread))
    return Network(low, high, mean, spread, tuple(layers))


def _chance(sizes: tuple[int, ...], rng: np.random.Generator) -> list[tuple[Floats, Floats]]:
    layers = [
        (rng.normal(0, (2 / shape[0]) ** 0.5, shape).astype(np.float32), np.zeros(shape[1], np.float32))
        for shape in pairwise(sizes)
    ]
    layers[-1] = layers[-1][0] * 0.3, np.full(sizes[-1], 0.8, np.float32)
    return layers


def _batches(count: int, size: int, epochs: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


def _slopes(
    batch: Floats, truths: Floats, weights: Floats, layers: list[tuple[Floats, Floats]], huber: float
) -> list[Floats]:
    """Give the slope of the mean error for every weight and bias, from the first layer to the last."""
    values = [batch]
    for number, (matrix, bias) in enumerate(layers):
        summed = values[-1] @ matrix + bias
        values.append(summed if number == len(layers) - 1 else np.maximum(summed, 0.01 * summed))
    outside = np.minimum(values[-1] - truths[..., 0], 0) + np.maximum(values[-1] - truths[..., 1], 0)
    slope = np.clip(outside / huber, -1, 1) * weights / len(batch)
    found: list[Floats] = []
    for number in range(len(layers) - 1, -1, -1):
        found = [values[number].T @ slope, slope.sum(axis=0), *found]
        if number:
            slope = (slope @ layers[number][0].T) * np.where(values[number] > 0, 1, 0.01).astype(np.float32)
    return found


class _Adam:
    """Steps down the slopes (Kingma and Ba 2015, with the decoupled decay of Loshchilov and Hutter 2019).

    Matrices decay to what they are drawn to: to nothing, or to a start.
    """

    def __init__(self, parts: list[Floats], decay: float, drawn_to: list[Floats]) -> None:
        self._parts, self._decay, self._drawn_to, self._steps = parts, decay, drawn_to, 0
        self._means = [np.zeros_like(part) for part in parts]
        self._squares = [np.zeros_like(part) for part in parts]

    def move(self, slopes: list[Floats], rate: float) -> None:
        """Change all parts in place."""
        self._steps += 1
        for part, centre, slope, mean, square in zip(
            self._parts, self._drawn_to, slopes, self._means, self._squares, strict=True
        ):
            np.add(mean, 0.1 * (slope - mean), out=mean)
            np.add(square, 0.001 * (slope * slope - square), out=square)
            change = mean / (1 - 0.9**self._steps) / (np.sqrt(square / (1 - 0.999**self._steps)) + 1e-8)
            np.subtract(part, rate * (change + (self._decay * (part - centre) if part.ndim > 1 else 0)), out=part)
