"""What goes wrong with images, done to good ones on purpose; pure.

Every function takes float32 RGB, height x width x 3, in display values of 0 to 1, and gives the same. Light adds
up in linear values, so blur and exposure work there.
"""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.float32]
Rng = np.random.Generator
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def to_linear(display: Rgb, gamma: float = 2.2) -> Rgb:
    """Give what is proportional to light."""
    return np.asarray(np.power(np.clip(display, 0, 1), gamma), np.float32)


def to_display(linear: Rgb, gamma: float = 2.2) -> Rgb:
    """Undo `to_linear`; more light than white is white."""
    return np.asarray(np.power(np.clip(linear, 0, 1), 1 / gamma), np.float32)


def luma(display: Rgb) -> NDArray[np.float32]:
    """Give the luma (ITU-R BT.601), height x width."""
    return np.asarray(display @ LUMA, np.float32)


# --- blur -------------------------------------------------------------------------------------------------


def gaussian_kernel(sigma: float) -> NDArray[np.float32]:
    """Give a Gaussian of `sigma` px."""
    size = 2 * math.ceil(3.5 * sigma) + 3
    line = cv2.getGaussianKernel(size, sigma, cv2.CV_32F)
    return np.asarray(line @ line.T, np.float32)


def disc_kernel(sigma: float, rng: Rng) -> NDArray[np.float32]:
    """Give a lens out of focus, round or with blades, of `sigma` px along each axis."""
    radius = 2 * sigma
    reach = math.ceil(radius) + 2
    fine = 5
    y, x = np.mgrid[-reach : reach + 1 : 1 / fine, -reach : reach + 1 : 1 / fine]
    distance = np.hypot(x, y)
    if rng.random() < 0.4:
        blades, turn = rng.integers(5, 9), rng.uniform(0, math.pi)
        angle = (np.arctan2(y, x) + turn) % (2 * math.pi / blades) - math.pi / blades
        distance = distance * np.cos(angle) * 1.06
    kernel = (distance <= radius).astype(np.float32)
    side = 2 * reach + 1
    return np.asarray(cv2.resize(kernel, (side, side), interpolation=cv2.INTER_AREA), np.float32)


def path_kernel(sigma: float, rng: Rng) -> NDArray[np.float32]:
    """Give a camera or subject that moved, straight or along a bent path with uneven speed.

    `sigma` is the root mean square of the two axes' standard deviations in px.
    """
    steps = 600
    t = np.linspace(-0.5, 0.5, steps)
    bend, wobble = rng.uniform(-0.5, 0.5), rng.normal(0, 0.06, 2)
    along = t + wobble[0] * np.sin(2 * math.pi * (t * rng.uniform(0.5, 2) + rng.random()))
    across = bend * (t * t * 2 - 0.17) + wobble[1] * np.sin(2 * math.pi * (t * rng.uniform(0.5, 2) + rng.random()))
    points = np.stack([along - along.mean(), across - across.mean()])
    points *= sigma / math.sqrt((points[0].var() + points[1].var()) / 2)
    turn = rng.uniform(0, math.pi)
    x = points[0] * math.cos(turn) - points[1] * math.sin(turn)
    y = points[0] * math.sin(turn) + points[1] * math.cos(turn)
    reach = math.ceil(max(np.abs(x).max(), np.abs(y).max())) + 2
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        weight = (1 - np.abs(x - left - right)) * (1 - np.abs(y - top - down))
        np.add.at(kernel, (top + down + reach, left + right + reach), weight)
    return np.asarray(cv2.GaussianBlur(kernel, (0, 0), rng.uniform(0.35, 0.6)), np.float32)


def blur(image: Rgb, kernel: NDArray[np.float32]) -> Rgb:
    """Spread the light of every pixel over a kernel."""
    blurred = cv2.filter2D(to_linear(image), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
    return to_display(np.asarray(blurred, np.float32))


def blur_background(image: Rgb, kernel: NDArray[np.float32], rng: Rng) -> Rgb:
    """Blur all but one detailed place: a sharp subject, or a thin zone of focus."""
    height, width = image.shape[:2]
    detail = cv2.GaussianBlur(np.abs(cv2.Laplacian(luma(image), cv2.CV_32F)), (0, 0), 0.04 * max(height, width) + 1)
    candidates = np.flatnonzero(detail >= np.quantile(detail, 0.9))
    row, column = divmod(int(rng.choice(candidates)), width)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn = rng.uniform(0, math.pi)
    u = ((x - column) * math.cos(turn) + (y - row) * math.sin(turn)) / width
    v = ((y - row) * math.cos(turn) - (x - column) * math.sin(turn)) / height
    radius, stretch = rng.uniform(0.12, 0.35), rng.choice([1.0, 1.0, 1.5, 4.0])
    mask = np.clip((np.hypot(u / stretch, v) - radius) / rng.uniform(0.02, 0.2), 0, 1)[..., None]
    return np.asarray(image * (1 - mask) + blur(image, kernel) * mask, np.float32)


# --- noise ------------------------------------------------------------------------------------------------


def noise(image: Rgb, sigma: float, rng: Rng) -> Rgb:
    """Add noise of about `sigma` grey levels, of one of the kinds that sensors and cameras make."""
    height, width = image.shape[:2]
    grain = rng.normal(0, 1, (height, width, 1)) * rng.uniform(0.5, 1)
    grain = grain + rng.normal(0, 1, image.shape) * rng.uniform(0, 0.9)
    if rng.random() < 0.4:  # demosaicing and a camera's own smoothing leave blotches
        grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.4, 1.0)), np.float64)
    if rng.random() < 0.1:  # a row or column of the sensor has its own level
        grain += rng.normal(0, 0.3, (height, 1, 1)) if rng.random() < 0.5 else rng.normal(0, 0.3, (1, width, 1))
    if rng.random() < 0.5:  # shot noise: by the light that fell
        linear = to_linear(image)
        slope = 1 / 2.2 * np.power(np.maximum(linear, 0.002), 1 / 2.2 - 1)
        grain = grain * np.sqrt(linear + rng.uniform(0, 0.02)) * slope
    grain *= sigma / 255 / max(float(luma(grain.astype(np.float32)).std()), 1e-6)
    noisy = np.clip(image + grain, 0, 1).astype(np.float32)
    if rng.random() < 0.15:
        noisy = np.asarray(cv2.bilateralFilter(noisy, 5, rng.uniform(0.5, 1.5) * sigma / 255, 1.5), np.float32)
    if rng.random() < 0.08:  # dead and hot pixels
        hot = rng.random((height, width)) < rng.uniform(0, 0.4) * (sigma / 128) ** 2
        noisy[hot] = rng.random((int(hot.sum()), 1))
    return noisy


# --- exposure ---------------------------------------------------------------------------------------------


def expose(image: Rgb, ev: float, rng: Rng) -> Rgb:
    """Expose `ev` stops longer, as sensors and cameras' curves would: no photo is just another one multiplied."""
    gamma = rng.uniform(1.8, 2.6)
    light = to_linear(image, gamma) * 2.0**ev
    if ev < 0 and rng.random() < 0.5:  # little light is noisy light
        light = light + rng.normal(0, 1, image.shape) * np.sqrt(
            np.maximum(light, 0) * rng.uniform(0, 4e-4) + rng.uniform(0, 3e-6)
        )
    if rng.random() < 0.4:
        light = _shoulder(light, rng.uniform(0.6, 0.95))
    shown = to_display(light.astype(np.float32), rng.uniform(0.9, 1.1) * gamma)
    if rng.random() < 0.4:  # a contrast curve
        strength = rng.uniform(-0.3, 0.5)
        shown = shown + strength * (shown * shown * (3 - 2 * shown) - shown)
    if rng.random() < 0.35:  # stray light, or blacks lifted in development
        lift = rng.uniform(0, 0.07)
        shown = lift + (1 - lift) * shown
    if rng.random() < 0.2:  # white that is not quite white
        shown = shown * rng.uniform(0.9, 1)
    return np.clip(shown, 0, 1).astype(np.float32)


def _shoulder(light: NDArray[np.float64] | Rgb, start: float) -> Rgb:
    """Bend what is brighter than `start` towards 1 instead of cutting it off."""
    room = 1 - start
    over = np.maximum(light - start, 0)
    return np.asarray(np.where(light > start, start + room * (1 - np.exp(-over / room)), light), np.float32)


# --- size -------------------------------------------------------------------------------------------------

_SMOOTH = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def reduce(image: Rgb, scale: float, rng: Rng) -> Rgb:
    """Make smaller, as good software does."""
    height, width = (max(8, round(side * scale)) for side in image.shape[:2])
    if scale > 0.5 and rng.random() < 0.25:
        soft = cv2.GaussianBlur(image, (0, 0), 0.35 / scale)
        return np.clip(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)
    return np.clip(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), 0, 1).astype(np.float32)


def enlarge(image: Rgb, factor: float, rng: Rng) -> Rgb:
    """Make `factor` times smaller and smoothly as large as before."""
    height, width = image.shape[:2]
    small = reduce(image, 1 / factor, rng)
    return np.clip(cv2.resize(small, (width, height), interpolation=int(rng.choice(_SMOOTH))), 0, 1).astype(np.float32)


def pixelate(image: Rgb, factor: float, rng: Rng) -> Rgb:
    """Make `factor` times smaller and in blocks as large as before."""
    height, width = image.shape[:2]
    small = reduce(image, 1 / factor, rng)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)


# --- codecs -----------------------------------------------------------------------------------------------


def to_bytes(image: Rgb) -> NDArray[np.uint8]:
    """Round to 8 bits."""
    return np.asarray(np.clip(image * 255 + 0.5, 0, 255), np.uint8)


def jpeg(image: Rgb, quality: int, rng: Rng) -> Rgb:
    """Give what a JPEG of a libjpeg quality leaves, with halved colour or without."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(quality)]
    if rng.random() < 0.3:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return _through(".jpg", image, options)


def webp(image: Rgb, quality: int) -> Rgb:
    """Give what a WebP of a libwebp quality leaves."""
    return _through(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, int(quality)])


def _through(suffix: str, image: Rgb, options: list[int]) -> Rgb:
    done, data = cv2.imencode(suffix, to_bytes(image)[..., ::-1], options)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if not done or decoded is None:
        raise ValueError(f"{suffix} could not be written and read back")
    return np.asarray(decoded[..., ::-1] / np.float32(255), np.float32)
