"""Features to measures: physically reasoned estimates; the one file a trained readout replaces; pure.

The constants were fitted on photos damaged on purpose, and checked on others; docs/measures.md says what each
estimate can and cannot do.
"""

import math
from dataclasses import replace

from imageguard_daemon.model import Measures
from imageguard_daemon.quality.compression import CompressionFeatures
from imageguard_daemon.quality.enlargement import EnlargementFeatures
from imageguard_daemon.quality.features import Features
from imageguard_daemon.quality.grain import NoiseFeatures
from imageguard_daemon.quality.sharpness import SharpnessFeatures
from imageguard_daemon.quality.tones import BlownFeatures, ToneFeatures

_SMALLEST_SIDE_PX = 16
"""A few pixels say how many they are, and nothing else."""
_LARGEST_ENLARGEMENT = 10.0
_LARGEST_SIGMA_PX = 10.0
_NO_DETAIL_SIGMA_PX = 6.0
"""For an image without detail: bad, but what took the detail is to count more."""


def read_out(features: Features) -> Measures:
    """Give the measures of an image."""
    tones = features.tones
    measures = Measures(
        width=features.width,
        height=features.height,
        blur_sigma_px=_blur_sigma_px(features.sharpness),
        noise_sigma=_noise_sigma(features.noise),
        jpeg_quality=_jpeg_quality(features.compression, features.table_quality),
        enlargement=_enlargement(features.enlargement),
        clipped_low=tones.clipped_low,
        clipped_high=tones.clipped_high,
        tone_low=tones.low,
        tone_median=tones.median,
        tone_high=tones.high,
        overexposure=_overexposure(tones.blown),
        underexposure=_underexposure(tones),
    )
    return _innocent(measures) if min(features.width, features.height) < _SMALLEST_SIDE_PX else measures


def _innocent(measures: Measures) -> Measures:
    """Blame a tiny image for its size alone."""
    return replace(measures, blur_sigma_px=0.0, noise_sigma=0.0, enlargement=1.0, overexposure=0.0, underexposure=0.0)


def _blur_sigma_px(sharpness: SharpnessFeatures) -> float:
    """Take the sharpest region, or motion where one direction is soft all over the picture."""
    if sharpness.detail_share == 0:
        return _NO_DETAIL_SIGMA_PX
    # Real edges are no ideal steps: photos blurred by a known sigma read 0.5 to 0.7 of it, out of focus still less.
    sharpest = 1.93 * math.pow(sharpness.sharpest_sigma, 0.85)
    anisotropy = sharpness.softest_direction_sigma / sharpness.sharpest_direction_sigma
    motion = 0.62 * sharpness.softest_direction_sigma * math.pow(min(anisotropy, 6.0), 0.6)
    return min(max(sharpest, motion), _LARGEST_SIGMA_PX)


def _noise_sigma(noise: NoiseFeatures) -> float:
    """Take out texture: it is as strong at half size, where noise has 0.37 of its strength."""
    variance = noise.sigma * noise.sigma - noise.half_size_sigma * noise.half_size_sigma
    return 1.08 * math.sqrt(max(0.0, variance))


def _jpeg_quality(compression: CompressionFeatures, table_quality: int | None) -> float:
    found = compression.quality if compression.fit > 0.5 and compression.evidence >= 40 else 100.0
    return float(min(found, table_quality or 100))


def _enlargement(found: EnlargementFeatures) -> float:
    repeated = _repeated_factor(found)
    if repeated:
        return repeated
    if found.strength > 8 and found.amplitude > 0.45:
        return _likelier_factor(found.frequency, found.fineness)
    if found.quarter_strength > 12 and found.eighth_strength < found.quarter_strength / 3:
        return _likelier_factor(0.25, found.fineness)
    return 1.0


def _repeated_factor(found: EnlargementFeatures) -> float:
    """Give the factor of repeated pixels, of whose columns 1 - 1 / factor change nothing; 0 for none."""
    factor = min(1 / max(1 - found.repeated_share, 1e-3), _LARGEST_ENLARGEMENT)
    rhythm = max(found.strength, found.quarter_strength)
    return factor if factor > 1.6 and rhythm > 8 else 0.0


def _likelier_factor(frequency: float, fineness: float) -> float:
    """Decide between the two factors with this rhythm by the fineness that each would leave."""
    candidates = 1 / frequency, 1 / (1 - frequency)

    def mismatch(factor: float) -> float:
        return abs(math.log(_expected_fineness(factor) / max(fineness, 1e-3)))

    return min(candidates, key=mismatch)


def _expected_fineness(factor: float) -> float:
    return 0.068 + 0.21 * math.pow(factor, -1.7)


def _overexposure(blown: BlownFeatures) -> float:
    """Weigh the white area against the signs of a plain background; 0.5 is where photos become unusable."""
    evidence = (
        -3.0
        + 18.1 * blown.area
        + 0.9 * math.log(blown.outline + 0.003)
        - 2.7 * blown.border
        + 1.2 * math.log(blown.islands + 0.003)
        + 4.65 * blown.dark_level
        - 3.8 * blown.largest
    )
    if blown.area > 0.99:
        return 1.0
    return min(1.0, blown.area / 0.15) / (1 + math.exp(-evidence))


def _underexposure(tones: ToneFeatures) -> float:
    """Judge by the brightest hundredth: a night scene has its lights, a lost picture has not."""
    return 1 / (1 + (tones.high / 50) ** 3)
