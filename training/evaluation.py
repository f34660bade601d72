"""How good networks are on pictures that they were not trained with; pure."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.features.tiles import Floats
from imageguard_daemon.quality.policy import PRESETS
from imageguard_daemon.quality.readout import TARGETS
from imageguard_daemon.quality.scoring import SCALES

_CLEARLY = 0.1
"""So far from the limit, as a score of 0 to 1, that the verdict is not a matter of taste."""


def limits() -> NDArray[np.float32]:
    """Give the scores of 0 to 1 below which the default preset raises an issue, for each of `TARGETS`."""
    signals = {scale.measure: scale.signal for scale in SCALES}
    return np.array([PRESETS["general"][f"{signals[measure]}_score"] / 100 for measure in TARGETS], np.float32)


def lines(scores: Floats, truths: Floats) -> Iterator[str]:
    """Tell for each measure how often a good image is called bad and a bad one is missed."""
    yield f"{'measure':16} {'false alarms':>13} {'of':>7} {'missed':>8} {'of':>7}"
    for number, limit in enumerate(limits()):
        low, high = truths[:, number, 0], truths[:, number, 1]
        good, bad = low >= limit + _CLEARLY, high <= limit - _CLEARLY
        alarms = float((scores[good, number] < limit).mean()) if good.any() else float("nan")
        missed = float((scores[bad, number] >= limit).mean()) if bad.any() else float("nan")
        yield f"{TARGETS[number]:16} {alarms:13.2%} {good.sum():7d} {missed:8.2%} {bad.sum():7d}"
