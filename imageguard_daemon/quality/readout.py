"""Features to measures: the trained readout, and the facts that need no estimate; pure but for reading its data once.

The networks in `readout.npz` were made by `python -m training`; docs/model-card.md says from what, how good they
are and where they fail. They give scores, as 0 to 1, because there an error counts alike wherever it is; `SCALES`
turns these back into the measure that has this score.
"""

import functools
import importlib.resources
import io
from dataclasses import replace

import numpy as np

from imageguard_daemon.model import Measures
from imageguard_daemon.quality.features import NAMES, Features
from imageguard_daemon.quality.network import Network, load
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.quality.tiles import Floats

TARGETS = ("blur_sigma_px", "noise_sigma", "jpeg_quality", "enlargement", "overexposure", "underexposure")
"""The measures that are estimated, in the order of the networks' outputs."""

_DATA = "readout.npz"
_SMALLEST_SIDE_PX = 16
"""A few pixels say how many they are, and nothing else."""
_DOUBT = {"enlargement": (0.6, 0.88), "overexposure": (0.5, 0.95)}
"""From which score on it is stretched, and which then counts as 1."""
_SCALE_OF = {scale.measure: scale for scale in SCALES}


def read_out(features: Features) -> Measures:
    """Give the measures of an image."""
    estimates = _estimates(features.vector)
    tones = features.tones
    measures = Measures(
        width=features.width,
        height=features.height,
        blur_sigma_px=estimates["blur_sigma_px"],
        noise_sigma=estimates["noise_sigma"],
        jpeg_quality=min(estimates["jpeg_quality"], float(features.table_quality or 100)),
        enlargement=estimates["enlargement"],
        clipped_low=tones.clipped_low,
        clipped_high=tones.clipped_high,
        tone_low=tones.low,
        tone_median=tones.median,
        tone_high=tones.high,
        overexposure=estimates["overexposure"],
        underexposure=estimates["underexposure"],
    )
    return _innocent(measures) if min(features.width, features.height) < _SMALLEST_SIDE_PX else measures


def _innocent(measures: Measures) -> Measures:
    """Blame a tiny image for its size alone."""
    return replace(measures, blur_sigma_px=0.0, noise_sigma=0.0, enlargement=1.0, overexposure=0.0, underexposure=0.0)


def _estimates(vector: Floats) -> dict[str, float]:
    found = np.clip(np.mean([network(vector) for network in networks()], axis=0), 0, 1)
    return {
        measure: _SCALE_OF[measure].limit(100 * _without_doubt(measure, float(score)))
        for measure, score in zip(TARGETS, found, strict=True)
    }


def _without_doubt(measure: str, score: float) -> float:
    """Call perfect what is as good as undamaged photos look to the networks, which are never quite sure."""
    start, end = _DOUBT.get(measure, (1.0, 2.0))
    if score <= start:
        return score
    return min(1.0, start + (score - start) * (1 - start) / (end - start))


@functools.cache
def networks() -> tuple[Network, ...]:
    """Give the trained networks, read from the package's own data.

    Raises:
        ValueError: they were trained for other features than these.
    """
    data = importlib.resources.files(__package__).joinpath(_DATA).read_bytes()
    return load(io.BytesIO(data), NAMES)
