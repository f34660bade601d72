"""Good images that no folder of photos has enough of: pages, screens, cut-outs, stars; made by code, pure.

They look badly exposed, flat or synthetic, and are not bad; damaged, they teach what damage looks like there.
"""

import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.damage import Rgb, Rng

_WORDS = (
    "quick",
    "brown",
    "fox",
    "over",
    "a",
    "lazy",
    "dog",
    "0123456789",
    "value",
    "total",
    "invoice",
    "Lorem",
    "sit",
)
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX)
_FINE = 2  # drawn larger and averaged down, as edges in pictures are


def _canvas(rng: Rng, paper: NDArray[np.float64]) -> NDArray[np.uint8]:
    long, short = int(rng.integers(500, 1000)) * _FINE, int(rng.integers(380, 700)) * _FINE
    shape = (long, short) if rng.random() < 0.5 else (short, long)
    return np.full((*shape, 3), paper * 255, np.uint8)


def _finish(canvas: NDArray[np.uint8]) -> Rgb:
    height, width = canvas.shape[0] // _FINE, canvas.shape[1] // _FINE
    small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small / np.float32(255), np.float32)


def page(rng: Rng) -> Rgb:
    """A page of text, clean or as photographed: paper's tone, uneven light, a little grain."""
    paper = np.clip(rng.uniform(0.72, 1.0) + rng.normal(0, 0.02, 3), 0, 1)
    ink = rng.uniform(0, 0.35)
    canvas = _canvas(rng, paper)
    margin, scale = int(rng.integers(20, 90)), rng.uniform(0.5, 1.6)
    step = int(scale * rng.uniform(38, 60))
    for row in range(margin + step, canvas.shape[0] - margin, step):
        if rng.random() < 0.12:
            continue
        text = " ".join(rng.choice(_WORDS, int(rng.integers(2, 26))))
        colour = tuple(float(c) for c in np.full(3, ink * 255))
        cv2.putText(
            canvas, text, (margin, row), int(rng.choice(_FONTS)), scale, colour, int(rng.integers(1, 3)), cv2.LINE_AA
        )
    image = _finish(canvas)
    way = rng.random()
    if way < 0.5:
        return _lit_unevenly(image, rng)
    return _bitonal(image, rng) if way < 0.7 else image


def _bitonal(image: Rgb, rng: Rng) -> Rgb:
    """Give what a scanner of one bit sees, with the dust on its glass."""
    dust = rng.random(image.shape[:2]) < rng.choice([0, 1e-5, 3e-4])
    grey = image.mean(axis=2) + rng.normal(0, 0.03, image.shape[:2])
    white = (grey > (grey.min() + grey.max()) / 2) & ~dust
    return np.repeat(white[..., None], 3, axis=2).astype(np.float32)


def receipt(rng: Rng) -> Rgb:
    """A long narrow slip of paper, scanned on white or photographed on a table."""
    width, height = int(rng.integers(260, 520)) * _FINE, int(rng.integers(600, 1300)) * _FINE
    canvas = np.full((height, width, 3), rng.uniform(0.85, 1.0) * 255, np.uint8)
    scale, font = rng.uniform(0.7, 1.3), int(rng.choice(_FONTS))
    ink = (rng.uniform(0, 0.45) * 255,) * 3
    for row in range(60, height - 60, int(scale * rng.uniform(40, 64))):
        words = " ".join(rng.choice(_WORDS, int(rng.integers(1, 5))))
        left = int(rng.integers(16, max(17, width // 4)))
        cv2.putText(canvas, words, (left, row), font, scale, ink, int(rng.integers(1, 3)), cv2.LINE_AA)
        if rng.random() < 0.6:
            price = f"{rng.uniform(0, 300):.2f}"
            cv2.putText(canvas, price, (int(width * 0.78), row), font, scale, ink, 1, cv2.LINE_AA)
    image = _finish(canvas)
    way = rng.random()
    if way < 0.35:
        return _bitonal(image, rng)
    if way < 0.7:
        return image
    around = float(rng.choice([1.0, 0.0, rng.uniform(0.1, 0.6)]))
    border = [(int(rng.integers(0, 160)), int(rng.integers(0, 160))) for _ in range(2)]
    return _lit_unevenly(np.pad(image, (*border, (0, 0)), constant_values=around), rng)


def circuit(rng: Rng) -> Rgb:
    """Tracks and pads of a circuit board, or any drawing of one bit: black on white or white on black."""
    canvas = _canvas(rng, np.full(3, 1.0))
    height, width = canvas.shape[:2]
    thick = int(rng.integers(4, 60))
    for _ in range(int(rng.integers(3, 30))):
        corner = rng.random(2) * (width, height)
        path = [corner]
        for _ in range(int(rng.integers(2, 6))):
            length, turn = rng.uniform(0.05, 0.5) * width, rng.integers(8) * math.pi / 4
            path.append(path[-1] + length * np.array([math.cos(turn), math.sin(turn)]))
        for _ in range(int(rng.integers(1, 5))):  # tracks run side by side
            shift = np.array([1.0, 1.0]) * thick * 2.2
            path = [point + shift for point in path]
            cv2.polylines(canvas, [np.array(path, np.int32)], False, (0, 0, 0), thick, cv2.LINE_AA)
            cv2.circle(canvas, tuple(map(int, path[-1])), int(thick * rng.uniform(1, 2)), (0, 0, 0), -1, cv2.LINE_AA)
            cv2.circle(canvas, tuple(map(int, path[-1])), thick // 2, (255, 255, 255), -1, cv2.LINE_AA)
    image = _finish(canvas)
    image = image if rng.random() < 0.6 else 1 - image
    return _bitonal(image, rng) if rng.random() < 0.6 else image


def _lit_unevenly(image: Rgb, rng: Rng) -> Rgb:
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn = rng.uniform(0, 2 * math.pi)
    slope = (x / width - 0.5) * math.cos(turn) + (y / height - 0.5) * math.sin(turn)
    light = rng.uniform(0.65, 0.98) * (1 + slope * rng.uniform(0, 0.5))
    grain = rng.normal(0, rng.uniform(0.003, 0.012), (height, width, 1))
    return np.asarray(np.clip(image * light[..., None] + grain, 0, 1), np.float32)


def screen(rng: Rng) -> Rgb:
    """A screenshot: windows, flat colours, small text; light or dark."""
    dark = rng.random() < 0.5
    canvas = _canvas(rng, np.full(3, rng.uniform(0.05, 0.15) if dark else rng.uniform(0.85, 1.0)))
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(4, 22))):
        left, top = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = rng.uniform(0.05, 0.6, 2)
        tone = rng.uniform(0, 0.3, 3) if dark else rng.uniform(0.6, 1, 3)
        if rng.random() < 0.25:
            tone = rng.random(3)
        corner = left + int(size[0] * width), top + int(size[1] * height)
        cv2.rectangle(canvas, (left, top), corner, (tone * 255).tolist(), -1)
    for _ in range(int(rng.integers(10, 90))):
        text = " ".join(rng.choice(_WORDS, int(rng.integers(1, 9))))
        place = int(rng.integers(0, width)), int(rng.integers(20, height))
        ink = ((rng.uniform(0.6, 1) if dark else rng.uniform(0, 0.4)) * 255,) * 3
        scale, thickness = rng.uniform(0.6, 1.2), int(rng.integers(1, 3))
        cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, ink, thickness, cv2.LINE_AA)
    return _finish(canvas)


def drawing(rng: Rng) -> Rgb:
    """Lines and shapes on white or black: diagrams, charts, icons."""
    paper = 1.0 if rng.random() < 0.75 else 0.0
    canvas = _canvas(rng, np.full(3, paper))
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(5, 40))):
        points = (rng.random((int(rng.integers(2, 6)), 2)) * (width, height)).astype(np.int32)
        colour = (rng.random(3) * 255).tolist() if rng.random() < 0.5 else ((1 - paper) * 255,) * 3
        if rng.random() < 0.2:
            cv2.fillPoly(canvas, [points], colour, cv2.LINE_AA)
        else:
            cv2.polylines(canvas, [points], bool(rng.random() < 0.3), colour, int(rng.integers(1, 7)), cv2.LINE_AA)
    return _finish(canvas)


def shapes(rng: Rng) -> Rgb:
    """Flat shapes of any colours over one another, without a trace of texture: illustrations, posters, cartoons."""
    canvas = _canvas(rng, rng.random(3))
    height, width = canvas.shape[:2]
    for _ in range(int(rng.integers(15, 220))):
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        axes = int(rng.integers(6, 20 + width // 6)), int(rng.integers(6, 20 + height // 6))
        colour = (rng.random(3) * 255).tolist()
        cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    image = _finish(canvas)
    return _lit_unevenly(image, rng) if rng.random() < 0.3 else image


def stars(rng: Rng) -> Rgb:
    """A night sky, or the moon: nearly all of it black, and sharp points or a disc."""
    height, width = int(rng.integers(360, 700)), int(rng.integers(400, 900))
    image = np.full((height, width, 3), rng.uniform(0, 0.06), np.float32)
    count = int(rng.integers(60, 1500))
    rows, columns = rng.integers(1, height - 1, count), rng.integers(1, width - 1, count)
    image[rows, columns] += (rng.pareto(1.2, count) * 0.08)[:, None]
    image = np.asarray(cv2.GaussianBlur(np.minimum(image, 4), (0, 0), rng.uniform(0.5, 0.8)), np.float32)
    if rng.random() < 0.4:
        radius = rng.uniform(0.08, 0.35) * min(height, width)
        disc = np.zeros((height, width), np.float32)
        centre = int(rng.integers(0, width)), int(rng.integers(0, height))
        cv2.circle(disc, centre, int(radius), 1, -1, cv2.LINE_AA)
        craters = (
            cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 2)
            + cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), 9) * 4
        )
        image = np.maximum(image, (disc * np.clip(rng.uniform(0.5, 0.85) + 0.25 * craters, 0.2, 1))[..., None])
    grain = rng.normal(0, rng.uniform(0.002, 0.01), (height, width, 1))
    return np.clip(image + grain, 0, 1).astype(np.float32)


def cut_out(photo: Rgb, rng: Rng) -> Rgb:
    """A product: a piece of a photo before white, black or grey, with a clean outline."""
    height, width = photo.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    turn, corners = rng.uniform(0, 2 * math.pi), int(rng.integers(3, 24))
    angles = turn + np.linspace(0, 2 * math.pi, corners, endpoint=False)
    reach = rng.uniform(0.2, 0.48) * rng.uniform(0.75, 1, corners)
    outline = np.stack([width * (0.5 + reach * np.cos(angles)), height * (0.5 + reach * np.sin(angles))], axis=1)
    cv2.fillPoly(mask, [outline.astype(np.int32)], 255, cv2.LINE_AA)
    soft = cv2.GaussianBlur(mask, (0, 0), 0.6)[..., None].astype(np.float32) / 255
    background = float(rng.choice([1.0, 1.0, 1.0, rng.uniform(0.9, 1), 0.0, rng.uniform(0, 0.1), 0.5]))
    return np.asarray(photo * soft + background * (1 - soft), np.float32)


def on_a_page(photo: Rgb, rng: Rng) -> Rgb:
    """A photo on a page of white, grey or black: catalogues, articles, screenshots, letterboxed films."""
    height, width = photo.shape[:2]
    tone = float(rng.choice([1.0, 1.0, 1.0, rng.uniform(0.93, 1), 0.0, rng.uniform(0, 0.15)]))
    page: NDArray[Any] = np.full(photo.shape, tone, np.float32)
    rows, columns = (int(side * rng.uniform(0.35, 0.95)) for side in (height, width))
    if rng.random() < 0.25:
        rows, columns = (rows, width) if rng.random() < 0.5 else (height, columns)
    top, left = int(rng.integers(0, height - rows + 1)), int(rng.integers(0, width - columns + 1))
    small = cv2.resize(photo, (columns, rows), interpolation=cv2.INTER_AREA)
    page[top : top + rows, left : left + columns] = small
    page = (page * 255).astype(np.uint8)
    ink = (float(rng.uniform(0.8, 1) if tone < 0.5 else rng.uniform(0, 0.3)) * 255,) * 3
    for _ in range(int(rng.integers(0, 9))):
        place = int(rng.integers(0, width)), int(rng.integers(10, height))
        text = " ".join(rng.choice(_WORDS, int(rng.integers(1, 7))))
        cv2.putText(page, text, place, int(rng.choice(_FONTS)), rng.uniform(0.3, 0.7), ink, 1, cv2.LINE_AA)
    return np.asarray(page / np.float32(255), np.float32)


def mist(photo: Rgb, rng: Rng) -> Rgb:
    """Fog, snow, haze, a low-contrast scene: nothing is clipped and little is dark, or little is bright."""
    low = rng.uniform(0.0, 0.6)
    high = min(0.97, low + rng.uniform(0.25, 0.6))
    return np.asarray(low + (high - low) * photo, np.float32)


def low_key(photo: Rgb, rng: Rng) -> Rgb:
    """A dark scene with its lights: a spot is well lit, the rest falls off to black."""
    height, width = photo.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    column, row = rng.uniform(0.2, 0.8, 2)
    distance = np.hypot(x / width - column, y / height - row)
    light = np.exp(-((distance / rng.uniform(0.15, 0.4)) ** 2)) + rng.uniform(0, 0.08)
    lit = np.power(photo, 2.2) * np.minimum(light, 1)[..., None] * rng.uniform(0.9, 1.5)
    return np.asarray(np.power(np.clip(lit, 0, 1), 1 / 2.2), np.float32)


DRAWN: tuple[Callable[[Rng], Rgb], ...] = (page, page, receipt, circuit, screen, drawing, shapes, stars)
TURNED: tuple[Callable[[Rgb, Rng], Rgb], ...] = (cut_out, on_a_page, mist, low_key)
