"""One good photo in, one damaged image with its truth out; everything is drawn from one generator; pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.decoder import Picture, decode
from training import damage, scenes
from training.damage import Rgb, Rng
from training.truth import Interval, Truth, equivalent_quality, overexposure_interval, underexposure

WORKING_LONG_SIDE = 1024
_LIMITS = Limits()
_ENOUGH_LEFT = 0.72
"""Index of exposure from which on a picture shows too little to be blamed for anything else."""

_NOTHING_LEFT = 0.93
"""Index of exposure from which on not even blocks show."""

_KINDS = {
    "nothing": 0.10,
    "blur": 0.19,
    "shallow": 0.06,
    "noise": 0.13,
    "jpeg": 0.11,
    "other_jpeg": 0.03,
    "webp": 0.04,
    "avif": 0.01,
    "enlarge": 0.11,
    "pixelate": 0.06,
    "over": 0.12,
    "under": 0.10,
}
_SECOND_SHARE = 0.34


@dataclass(frozen=True, slots=True)
class Own:
    """What a good picture may have of each fault at its full size, before anything is done to it."""

    blur_px: Interval = (0.5, 1.05)
    noise: float = 3.0
    enlargement: float = 1.3
    overexposure: float = 0.15
    underexposure: float = 0.15

    @classmethod
    def of_labels(cls, truth: Truth) -> "Own":
        """Take what is known of a labelled picture; what nobody knows is as with photos."""
        known, usual = truth.intervals, cls()
        low, high = known.get("blur_sigma_px", usual.blur_px)
        return cls(
            blur_px=(max(low, usual.blur_px[0]), max(high, usual.blur_px[0])),
            noise=known.get("noise_sigma", (0, usual.noise))[1],
            enlargement=known.get("enlargement", (1, usual.enlargement))[1],
            overexposure=known.get("overexposure", (0, usual.overexposure))[1],
            underexposure=known.get("underexposure", (0, usual.underexposure))[1],
        )


_PHOTO = Own()


@dataclass(frozen=True, slots=True)
class Source:
    """A good picture and what is known of it."""

    image: Rgb
    jpeg_quality: float = 100.0
    scale: float = 1.0
    """How much smaller it was made before: what a camera or a web page left in it is smaller by as much."""
    own: Own = _PHOTO


@dataclass(frozen=True, slots=True)
class Example:
    """What the service would decode, and what is true of it."""

    picture: Picture
    truth: Truth
    kinds: tuple[str, ...]


@dataclass
class _Plan:
    """What is done to a source, in the order in which it happens to pictures."""

    stops: float = 0.0
    sigma_px: float = 0.0
    sharp_subject: bool = False
    noise_sigma: float = 0.0
    factor: float = 1.0
    blocks: bool = False
    codec: str = ""
    quality: int = 100
    later_scale: float = 1.0
    sharpening: float = 0.0


@dataclass(frozen=True, slots=True)
class _Left:
    """What was measured of the damage once it was done."""

    overexposure: Interval
    noise_sigma: float
    jpeg_quality: float
    long_side: int


def as_it_is(image: Rgb, jpeg_quality: float, rng: Rng, own: Own = _PHOTO) -> Source:
    """Turn a photo at random and leave it as large as cameras make them: what is soft there is sharp when reduced."""
    return Source(np.ascontiguousarray(_turned(image, rng)), jpeg_quality, 1.0, own)


def _turned(image: Rgb, rng: Rng) -> Rgb:
    image = np.rot90(image, int(rng.integers(4)))
    return image[:, ::-1] if rng.random() < 0.5 else image


def prepare(image: Rgb, jpeg_quality: float, rng: Rng, own: Own = _PHOTO) -> Source:
    """Turn, crop and reduce a photo at random, and at times make a rarer kind of scene of it."""
    image = _turned(image, rng)
    if rng.random() < 0.3:
        image = _crop(image, rng)
    if rng.random() < 0.1:
        return _standard_size(np.ascontiguousarray(image), jpeg_quality, rng, own)
    longest = max(image.shape[:2])
    native = longest <= WORKING_LONG_SIDE and rng.random() < 0.45
    target = longest if native else min(longest, float(np.exp(rng.uniform(math.log(110), math.log(1100)))))
    scale = target / longest
    if scale < 0.97:
        image = damage.reduce(np.ascontiguousarray(image), scale, rng)
    if rng.random() < 0.13 and own == _PHOTO:
        image = scenes.TURNED[int(rng.integers(len(scenes.TURNED)))](image, rng)
        jpeg_quality = 100.0 if scale < 0.97 else jpeg_quality
    return Source(np.ascontiguousarray(image), jpeg_quality, min(scale, 1.0), own)


_STANDARD_SIDES = (224, 256, 299, 320, 384, 416, 448, 512, 640)


def _standard_size(image: Rgb, jpeg_quality: float, rng: Rng, own: Own) -> Source:
    """Crop the middle square and make it as large as networks take it, where it is large enough."""
    short = min(image.shape[:2])
    sides = [side for side in _STANDARD_SIDES if side <= short]
    if not sides:
        return Source(image, jpeg_quality, 1.0, own)
    top, left = ((side - short) // 2 for side in image.shape[:2])
    side = int(rng.choice(sides))
    square = image[top : top + short, left : left + short]
    return Source(damage.resample(square, (side, side), rng), 100.0, side / short, own)


def _crop(image: Rgb, rng: Rng) -> Rgb:
    height, width = image.shape[:2]
    share = math.sqrt(rng.uniform(0.25, 0.9))
    rows, columns = max(48, int(height * share)), max(48, int(width * share))
    top, left = int(rng.integers(0, max(1, height - rows))), int(rng.integers(0, max(1, width - columns)))
    return image[top : top + rows, left : left + columns]


def make(source: Source, rng: Rng) -> Example:
    """Damage a source by one kind of fault or two, and save it as a file would be."""
    kinds = [str(rng.choice(list(_KINDS), p=_shares()))]
    if kinds[0] != "nothing" and rng.random() < _SECOND_SHARE:
        kinds.append(str(rng.choice(list(_KINDS), p=_shares())))
    plan = _Plan()
    for kind in kinds:
        _DRAW[kind](plan, rng)
    reduced = max(1.0, max(source.image.shape[:2]) / WORKING_LONG_SIDE)
    plan.sigma_px *= reduced
    plan.noise_sigma *= reduced
    if rng.random() < (0.3 if plan.codec else 0.06):
        plan.later_scale = rng.uniform(0.4, 0.95)
    if not plan.noise_sigma and rng.random() < (0.65 if plan.sigma_px else 0.25):
        plan.noise_sigma = _log_uniform(0.4, 4, rng)  # the lens blurs, and then the sensor adds its grain
    if plan.sigma_px and rng.random() < 0.25:
        plan.sharpening = rng.uniform(0.2, 1.2)
    return _carry_out(plan, source, tuple(kinds), rng)


def _shares() -> NDArray[np.float64]:
    shares = np.array(list(_KINDS.values()))
    return np.asarray(shares / shares.sum())


def _log_uniform(low: float, high: float, rng: Rng) -> float:
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def _draw_blur(plan: _Plan, rng: Rng) -> None:
    plan.sigma_px = _log_uniform(0.3, 8, rng)


def _draw_shallow(plan: _Plan, rng: Rng) -> None:
    plan.sigma_px, plan.sharp_subject = _log_uniform(1.5, 9, rng), True


def _draw_noise(plan: _Plan, rng: Rng) -> None:
    plan.noise_sigma = _log_uniform(1.0, 48, rng)


def _draw_jpeg(plan: _Plan, rng: Rng) -> None:
    plan.codec, plan.quality = "jpeg", round(_log_uniform(3, 96, rng))


def _draw_other_jpeg(plan: _Plan, rng: Rng) -> None:
    plan.codec, plan.quality = "other_jpeg", round(_log_uniform(3, 90, rng))


def _draw_webp(plan: _Plan, rng: Rng) -> None:
    plan.codec, plan.quality = "webp", round(_log_uniform(1, 96, rng))


def _draw_avif(plan: _Plan, rng: Rng) -> None:
    plan.codec, plan.quality = "avif", round(_log_uniform(3, 80, rng))


def _draw_enlarge(plan: _Plan, rng: Rng) -> None:
    plan.factor, plan.blocks = _log_uniform(1.08, 8, rng), False


def _draw_pixelate(plan: _Plan, rng: Rng) -> None:
    plan.factor, plan.blocks = _log_uniform(1.08, 9, rng), True
    if rng.random() < 0.4:
        plan.factor = float(rng.integers(2, 10))


def _draw_over(plan: _Plan, rng: Rng) -> None:
    plan.stops = _log_uniform(0.15, 5.5, rng)


def _draw_under(plan: _Plan, rng: Rng) -> None:
    plan.stops = -_log_uniform(0.2, 9, rng)


_DRAW: dict[str, Callable[[_Plan, Rng], None]] = {
    "nothing": lambda _plan, _rng: None,
    "blur": _draw_blur,
    "shallow": _draw_shallow,
    "noise": _draw_noise,
    "jpeg": _draw_jpeg,
    "other_jpeg": _draw_other_jpeg,
    "webp": _draw_webp,
    "avif": _draw_avif,
    "enlarge": _draw_enlarge,
    "pixelate": _draw_pixelate,
    "over": _draw_over,
    "under": _draw_under,
}


def _carry_out(plan: _Plan, source: Source, kinds: tuple[str, ...], rng: Rng) -> Example:
    image = source.image
    if plan.stops:
        image = damage.expose(image, plan.stops, rng)
    over = (0.0, source.own.overexposure)
    if plan.stops > 0:
        over = overexposure_interval(plan.stops, damage.luma(source.image), damage.luma(image))
    if plan.sigma_px:
        image = _blurred(image, plan, rng)
    quiet = image
    if plan.noise_sigma:
        image = damage.noise(image, plan.noise_sigma, rng)
    if plan.sharpening:
        image, quiet = (damage.sharpen(one, plan.sharpening) for one in (image, quiet))
    seed = int(rng.integers(2**32))
    shown = _resampled_and_coded(image, plan, seed)
    noise = _noise_left(shown, _resampled_and_coded(quiet, plan, seed)) if plan.noise_sigma else 0.0
    quality = float(plan.quality)
    if plan.codec and (plan.codec != "jpeg" or plan.later_scale < 1):
        uncoded = _resampled_and_coded(image, plan, seed, code=False)
        quality = equivalent_quality(*(damage.to_bytes(damage.luma(one)) for one in (uncoded, shown)))
    picture = _saved(shown, rng)
    if picture.table_quality:
        quality = min(quality, picture.table_quality)
    left = _Left(over, noise, quality, max(shown.shape[:2]))
    return Example(picture, _truth(plan, source, left), kinds)


def _blurred(image: Rgb, plan: _Plan, rng: Rng) -> Rgb:
    way = rng.random()
    if way < 0.3 or plan.sigma_px < 0.45:
        kernel = damage.gaussian_kernel(plan.sigma_px)
    elif way < 0.55 or (plan.sharp_subject and way < 0.95):
        kernel = damage.disc_kernel(plan.sigma_px, rng)
    elif way < 0.67 and not plan.sharp_subject:
        return damage.average_frames(image, plan.sigma_px, rng)
    else:
        kernel = damage.path_kernel(plan.sigma_px, rng)
        image = damage.lights(image, rng) if rng.random() < 0.3 else image
    return damage.blur_background(image, kernel, rng) if plan.sharp_subject else damage.blur(image, kernel)


def _resampled_and_coded(image: Rgb, plan: _Plan, seed: int, *, code: bool = True) -> Rgb:
    rng = np.random.default_rng(seed)
    if plan.factor > 1:
        image = (damage.pixelate if plan.blocks else damage.enlarge)(image, plan.factor, rng)
    if code and plan.codec:
        image = damage.CODECS[plan.codec](image, plan.quality, rng)
    rng = np.random.default_rng(seed + 1)
    return damage.reduce(image, plan.later_scale, rng) if plan.later_scale < 1 else image


def _noise_left(noisy: Rgb, quiet: Rgb) -> float:
    """Give the noise that is left at working size, in grey levels, where nothing is clipped."""
    pair = [damage.luma(image) * 255 for image in (noisy, quiet)]
    scale = WORKING_LONG_SIDE / max(pair[0].shape)
    if scale < 1:
        pair = [np.asarray(cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)) for one in pair]
    usable = (pair[1] > 15) & (pair[1] < 240)
    if usable.sum() < 100:
        return 0.0
    return float((pair[0] - pair[1])[usable].std())


def _saved(image: Rgb, rng: Rng) -> Picture:
    way = rng.random()
    pixels = damage.to_bytes(image)[..., ::-1]
    if way < 0.5:
        done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(70, 98))])
    elif way < 0.55:
        done, data = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, int(rng.integers(80, 99))])
    else:
        grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_BGR2GRAY)
        return Picture(np.asarray(grey, np.uint8), grey.shape[1], grey.shape[0], "PNG")
    if not done:
        raise ValueError("the image could not be encoded")
    return decode(data.tobytes(), _LIMITS)


def _truth(plan: _Plan, source: Source, left: _Left) -> Truth:
    """Say what is known. A photo has some blur, noise and enlargement of its own, less so the more it was reduced."""
    scale, own = source.scale, source.own
    over, noise, quality = left.overexposure, left.noise_sigma, left.jpeg_quality
    shrink = plan.later_scale * min(1.0, WORKING_LONG_SIDE / left.long_side)
    under = underexposure(max(0.0, -plan.stops))
    factor = max(1.0, plan.factor * plan.later_scale)
    applied = 0.0 if plan.sharp_subject else plan.sigma_px
    # Blur and noise of its own are known at working size.
    full = min(WORKING_LONG_SIDE, max(source.image.shape[:2]) / scale)
    reduced = min(WORKING_LONG_SIDE, left.long_side) / full
    least, most = (max(floor, px * reduced) for floor, px in zip((0.5, 0.6), own.blur_px, strict=True))
    blur = _with_own(applied * shrink, least, most)
    if plan.sharpening:  # makes up for some of it
        blur = max(0.3, blur[0] * (1 - 0.15 * plan.sharpening)), blur[1]
    if plan.factor > 1:
        blur = (0.3, max(blur[1], 1.3 if plan.blocks else math.hypot(blur[1], 0.5 * factor)))
    noisy = noise * 0.97, math.hypot(noise, own.noise * reduced) + (5 if plan.stops < -1 else 0)
    usual = own.enlargement * scale
    enlarged = (factor * 0.97, max(1.05, usual, factor * 1.04)) if factor > 1.05 else (1.0, max(1.1, usual))
    compressed = min(quality, source.jpeg_quality), quality
    if scale >= 0.97 and plan.factor == 1 and plan.later_scale == 1 and not plan.sigma_px and not plan.noise_sigma:
        compressed = compressed[0], compressed[0]
    intervals = {
        "blur_sigma_px": blur,
        "noise_sigma": noisy,
        "jpeg_quality": compressed,
        "enlargement": enlarged,
        "overexposure": over,
        "underexposure": (max(0.0, under - 0.04), under + 0.04) if under else (0.0, own.underexposure),
    }
    worst = max(sum(over) / 2, under)
    if worst > _ENOUGH_LEFT:
        intervals |= _where_little_is_left(plan, intervals, hardly=worst < _NOTHING_LEFT)
    return Truth(intervals)


def _where_little_is_left(plan: _Plan, known: dict[str, Interval], *, hardly: bool) -> dict[str, Interval]:
    """Blame a badly exposed picture for nothing that was not done to it, and for that only as far as it may show."""
    blurred, noisy = plan.sigma_px > 0 or plan.factor > 1, plan.noise_sigma > 0
    steps, blocks = known["jpeg_quality"], known["enlargement"]
    return {
        "blur_sigma_px": (0.3, known["blur_sigma_px"][1] if blurred else 1.4),
        "noise_sigma": (0.0, known["noise_sigma"][1] if noisy else 8.0),
        "jpeg_quality": (steps if hardly else (steps[0], 100.0)) if plan.codec else (45.0, 100.0),
        "enlargement": (blocks if hardly else (1.0, blocks[1])) if plan.factor > 1 else (1.0, 1.5),
    }


def _with_own(applied: float, least: float, most: float) -> tuple[float, float]:
    return math.hypot(applied, least), math.hypot(applied, most)


def resaved(image: Rgb, rng: Rng) -> Picture:
    """Turn a labelled image, reduce it a little at most and save it anew: what its labels say stays true."""
    image = _turned(image, rng)
    if rng.random() < 0.5:
        image = damage.reduce(np.ascontiguousarray(image), rng.uniform(0.85, 0.98), rng)
    return _saved(np.ascontiguousarray(image), rng)
