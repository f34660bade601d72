"""What goes wrong with images, done to good ones on purpose; pure.

Every function takes float32 RGB, height x width x 3, in display values of 0 to 1, and gives the same. Light adds
up in linear values, so blur and exposure work there.
"""

import io
import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imageguard_daemon.quality.decode.jpeg import ZIGZAG

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


def lights(image: Rgb, rng: Rng) -> Rgb:
    """Give lamps and reflections the light that they had: much more than white, so that they leave streaks."""
    linear = to_linear(image)
    brightest = linear.max(axis=2, keepdims=True)
    start = max(0.75, float(np.quantile(brightest, 0.98)))
    gain = 1 + (rng.uniform(3, 30) - 1) * np.clip((brightest - start) / (1.001 - start), 0, 1) ** 2
    return np.asarray(np.power(linear * gain, 1 / 2.2), np.float32)


def average_frames(image: Rgb, sigma: float, rng: Rng) -> Rgb:
    """Average frames of a moving camera, near things moving farther than distant ones, as high-speed videos are."""
    height, width = image.shape[:2]
    coarse = rng.uniform(0.8, 1.25, (4, 4)).astype(np.float32)
    near = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    frames = int(rng.integers(5, 16))
    t = np.linspace(-0.5, 0.5, frames)
    turn, bend = rng.uniform(0, 2 * math.pi), rng.uniform(-0.5, 0.5)
    along, across = t + rng.normal(0, 0.02, frames), bend * (t * t * 2 - 0.17)
    path = np.stack([along - along.mean(), across - across.mean()])
    path *= sigma / math.sqrt((path[0].var() + path[1].var()) / 2)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    total = np.zeros_like(image)
    for right, down in path.T:
        dx, dy = (right * math.cos(turn) - down * math.sin(turn), right * math.sin(turn) + down * math.cos(turn))
        columns, rows = x + np.float32(dx) * near, y + np.float32(dy) * near
        moved = cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
        total += to_linear(np.asarray(moved, np.float32))
    return to_display(np.asarray(total / frames, np.float32))


def blur(image: Rgb, kernel: NDArray[np.float32]) -> Rgb:
    """Spread the light of every pixel over a kernel."""
    light = np.power(np.maximum(image, 0), np.float32(2.2))  # lamps may be brighter than white
    blurred = cv2.filter2D(light, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
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


def sharpen(image: Rgb, amount: float) -> Rgb:
    """Sharpen by an unsharp mask, as cameras and editors do to what is not sharp."""
    soft = np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), np.float32)
    return np.clip(image + amount * (image - soft), 0, 1).astype(np.float32)


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
    if rng.random() < 0.2:  # what cameras do against it, and the sharpening that follows
        noisy = np.asarray(cv2.bilateralFilter(noisy, 5, rng.uniform(0.5, 1.5) * sigma / 255, 1.5), np.float32)
    if rng.random() < 0.15:
        noisy = sharpen(noisy, rng.uniform(0.3, 1.2))
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

_FILTERS = (
    Image.Resampling.BILINEAR,
    Image.Resampling.HAMMING,
    Image.Resampling.BICUBIC,
    Image.Resampling.LANCZOS,
)


def resample(image: Rgb, size: tuple[int, int], rng: Rng) -> Rgb:
    """Make smaller to width x height, as Pillow, torchvision and most tools do."""
    pixels = Image.fromarray(to_bytes(image)).resize(size, _FILTERS[int(rng.integers(len(_FILTERS)))])
    return np.asarray(np.asarray(pixels) / np.float32(255), np.float32)


_SMOOTH = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)


def reduce(image: Rgb, scale: float, rng: Rng) -> Rgb:
    """Make smaller, as good software does."""
    height, width = (max(8, round(side * scale)) for side in image.shape[:2])
    way = rng.random()
    if way < 0.25:
        return resample(image, (width, height), rng)
    if scale > 0.5 and way < 0.45:
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


# Tables of other encoders in zigzag order: MPEG's, which FFmpeg writes, one flat, and N. Robidoux' in ImageMagick.
_MPEG = (
    8, 16, 16, 19, 16, 19, 22, 22, 22, 22, 22, 22, 26, 24, 26, 27, 27, 27, 26, 26, 26, 26, 27, 27, 27, 29, 29, 29,
    34, 34, 34, 29, 29, 29, 27, 27, 29, 29, 32, 32, 34, 34, 37, 38, 37, 35, 35, 34, 35, 38, 38, 40, 40, 40, 48, 48,
    46, 46, 56, 56, 58, 69, 69, 83,
)  # fmt: skip
_ROBIDOUX = (
    16, 16, 16, 16, 17, 16, 18, 18, 18, 18, 25, 24, 22, 24, 25, 33, 30, 28, 28, 30, 33, 45, 40, 37, 36, 37, 40, 45,
    62, 55, 50, 47, 47, 50, 55, 62, 85, 75, 68, 63, 62, 63, 68, 75, 115, 102, 92, 84, 84, 92, 102, 115, 125, 113, 105,
    101, 105, 113, 125, 137, 126, 122, 126, 137,
)  # fmt: skip
_OTHER_TABLES = (_MPEG, _MPEG, _ROBIDOUX, (16,) * 64)


def other_jpeg(image: Rgb, quality: int, rng: Rng) -> Rgb:
    """Give what a JPEG of another encoder leaves, its table scaled by the rule of libjpeg's quality."""
    percent = 5000 / quality if quality < 50 else 200 - 2 * quality
    base = _OTHER_TABLES[int(rng.integers(len(_OTHER_TABLES)))]
    table = [min(max(round(step * percent / 100), 1), 255) for step in base]
    file = io.BytesIO()
    # Pillow takes tables in rows and columns.
    rows = [0] * 64
    for step, at in zip(table, ZIGZAG, strict=True):
        rows[at] = step
    Image.fromarray(to_bytes(image)).save(file, "JPEG", qtables=[rows, rows], subsampling=int(rng.choice([0, 2])))
    return _decoded(".jpg", np.frombuffer(file.getvalue(), np.uint8))


def webp(image: Rgb, quality: int, _rng: Rng) -> Rgb:
    """Give what a WebP of a libwebp quality leaves."""
    return _through(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, int(quality)])


def avif(image: Rgb, quality: int, _rng: Rng) -> Rgb:
    """Give what an AVIF of Pillow's quality leaves."""
    file = io.BytesIO()
    Image.fromarray(to_bytes(image)).save(file, "AVIF", quality=int(quality), speed=10, max_threads=1)
    with Image.open(file) as found:
        return np.asarray(np.asarray(found.convert("RGB")) / np.float32(255), np.float32)


CODECS: dict[str, Callable[[Rgb, int, Rng], Rgb]] = {
    "jpeg": jpeg,
    "other_jpeg": other_jpeg,
    "webp": webp,
    "avif": avif,
}


def _through(suffix: str, image: Rgb, options: list[int]) -> Rgb:
    done, data = cv2.imencode(suffix, to_bytes(image)[..., ::-1], options)
    if not done:
        raise ValueError(f"{suffix} could not be written")
    return _decoded(suffix, data)


def _decoded(suffix: str, data: NDArray[np.uint8]) -> Rgb:
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError(f"{suffix} could not be read back")
    return np.asarray(decoded[..., ::-1] / np.float32(255), np.float32)
