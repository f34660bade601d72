"""Pixels to features: everything the readout may look at; pure."""

from dataclasses import dataclass

import cv2
import numpy as np

from imageguard_daemon.quality.compression import CompressionFeatures, compression_features
from imageguard_daemon.quality.decoding import Grey, Picture
from imageguard_daemon.quality.enlargement import EnlargementFeatures, enlargement_features
from imageguard_daemon.quality.grain import NoiseFeatures, noise_features
from imageguard_daemon.quality.sharpness import SharpnessFeatures, sharpness_features
from imageguard_daemon.quality.tones import ToneFeatures, tone_features


@dataclass(frozen=True, slots=True)
class Features:
    """All features of one image, grouped by what they are taken from."""

    width: int
    height: int
    table_quality: int | None
    """libjpeg quality of the file's own quantisation table; None when it is no JPEG."""
    sharpness: SharpnessFeatures
    noise: NoiseFeatures
    tones: ToneFeatures
    compression: CompressionFeatures
    enlargement: EnlargementFeatures


def extract(picture: Picture, working_long_side: int) -> Features:
    """Extract all features: compression and enlargement from native pixels, the rest at working size."""
    working = at_working_size(picture.grey, working_long_side)
    return Features(
        width=picture.width,
        height=picture.height,
        table_quality=picture.table_quality,
        sharpness=sharpness_features(working),
        noise=noise_features(working),
        tones=tone_features(working),
        compression=compression_features(picture.grey),
        enlargement=enlargement_features(picture.grey),
    )


def at_working_size(grey: Grey, long_side: int) -> Grey:
    """Average the picture down to a long side of at most `long_side` pixels; a smaller one stays as it is."""
    scale = long_side / max(grey.shape)
    if scale >= 1:
        return grey
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
