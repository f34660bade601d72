"""Photo-like images and damage to them, made by code: no test depends on a picture from elsewhere."""

import functools
import io
import zlib

import cv2
import numpy as np
from numpy.random import default_rng  # now: NumPy loads it late, and two threads at once fail at that
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]


def photo(width: int = 640, height: int = 480, seed: int = 0) -> Rgb:
    """Give a sharp, clean, well exposed scene of overlapping discs before a shaded background."""
    return _photo(width, height, seed).copy()


@functools.lru_cache(maxsize=64)
def _photo(width: int, height: int, seed: int) -> Rgb:
    rng = default_rng(seed)
    scale = 2  # drawn larger and averaged down, so that edges are as sharp as a good lens makes them
    canvas = np.empty((height * scale, width * scale, 3), np.uint8)
    canvas[:] = (np.linspace(60, 190, height * scale)[:, None, None]).astype(np.uint8)
    short = min(width, height) * scale
    for radius in sorted(short / rng.uniform(3, 60, 260), reverse=True):
        centre = (int(rng.integers(0, width * scale)), int(rng.integers(0, height * scale)))
        colour = rng.integers(12, 236, 3).tolist()
        axes = (int(radius) + 1, int(radius * rng.uniform(0.5, 1)) + 1)
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    rgb = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return np.clip(rgb + rng.normal(0, 1.2, rgb.shape), 0, 255).astype(np.uint8)


def blurred(rgb: Rgb, sigma: float) -> Rgb:
    """Give the image as a lens out of focus by `sigma` pixels would."""
    return cv2.GaussianBlur(rgb, (0, 0), sigma, borderType=cv2.BORDER_REFLECT).astype(np.uint8)


def noisy(rgb: Rgb, sigma: float, seed: int = 0) -> Rgb:
    """Give the image with luma grain of `sigma` grey levels."""
    grain = default_rng(seed).normal(0, sigma, rgb.shape[:2])[..., None]
    return np.clip(rgb + grain + 0.5, 0, 255).astype(np.uint8)


def exposed(rgb: Rgb, ev: float) -> Rgb:
    """Give the image as if exposed `ev` stops longer."""
    linear = np.power(rgb / 255.0, 2.2) * 2.0**ev
    return (np.power(np.clip(linear, 0, 1), 1 / 2.2) * 255 + 0.5).astype(np.uint8)


def enlarged(rgb: Rgb, factor: float, interpolation: int = cv2.INTER_CUBIC) -> Rgb:
    """Give the image at its own size, from a copy that was `factor` times smaller."""
    height, width = rgb.shape[:2]
    small = cv2.resize(rgb, (round(width / factor), round(height / factor)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=interpolation).astype(np.uint8)


def pixelated(rgb: Rgb, factor: float) -> Rgb:
    """Give the image made of blocks of `factor` pixels."""
    return enlarged(rgb, factor, cv2.INTER_NEAREST)


def jpeg(rgb: Rgb, quality: int = 92, **options: object) -> bytes:
    """Give the image as a JPEG file; further options are Pillow's."""
    return encoded(Image.fromarray(rgb), "JPEG", quality=quality, **options)


def png(rgb: Rgb) -> bytes:
    """Give the image as a PNG file."""
    return encoded(Image.fromarray(rgb), "PNG", compress_level=1)


def decoded(data: bytes) -> Rgb:
    """Give the pixels of a file."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Give any Pillow image as a file of any format Pillow writes."""
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def with_orientation(rgb: Rgb, orientation: int) -> bytes:
    """Give a JPEG with EXIF camera names and an orientation tag of 1 to 8."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0110] = orientation, "Acme", "Acme Snap 3"
    return jpeg(rgb, exif=exif.tobytes())


def large_png(side: int) -> bytes:
    """Give a valid colour image that is small as a file and large in memory."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    row = bytes([0]) + bytes(range(256)) * (side * 3 // 256 + 1)
    packer = zlib.compressobj(1)
    packed = b"".join(packer.compress(row[: side * 3 + 1]) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
