"""Charts as SVG that stands in a page: it has the colours of the page's text, its bars are links, it needs no script.

Positions across are shares of the width, so that letters and lines keep their size on a phone and on a wide screen.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from imageguard_daemon.reporting.report import DAY, Bucket
from imageguard_daemon.reporting.score_stats import BINS_A_POINT
from imageguard_daemon.reporting.tallies import together
from imageguard_daemon.reporting.templating import template
from imageguard_daemon.reporting.text import limit_percent, percent, shown

COLOURS = {
    "blurry": "#837df9",
    "low_resolution": "#a8481e",
    "noisy": "#338050",
    "overexposed": "#d8d68a",
    "underexposed": "#444443",
    "compressed": "#b0787d",
    "pixelated": "#93539b",
    "blank": "#d6b3a3",
    "corrupt": "#a59b66",
    "unsupported": "#b0a8f5",
    "too_large": "#66c9c9",
    "duplicate": "#5a3264",
}
"""No two look alike, to colour-blind people either: at least 10 by CIEDE2000, as a test has it."""
_OTHER_COLOUR = "#a5b824"
_PLAIN = "#3d7de0"
_MAX_LABELS, _MAX_NARROW = 8, 4
_BAR_SHARE = 0.84
_WIDEST_BAR = 20.0
"""The bar of a single day is not a wall."""
_MAX_DOTS = 40
_POINTS_A_BAR = 2
_APART = 14
"""Labels of an axis are so far from one another, at least."""
_MINUTE = timedelta(minutes=1)
_CLOCK_STEPS = [timedelta(minutes=each) for each in (5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440)]
Link = Callable[[str, Bucket | None], str]
"""Gives the address of the images of a reason (empty: of any) in a bucket (None: in all); empty where there is none."""


class Bar(NamedTuple):
    """A rectangle, in percent of the plot from its upper left corner; `label` and `link` say what it stands for."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    label: str
    link: str = ""


class Tick(NamedTuple):
    """A label of an axis, in percent of the plot; one that `is_minor` has no room on a phone."""

    at: float
    label: str
    is_minor: bool = False


class Limit(NamedTuple):
    """A line across the plot, or down it, with its words."""

    at: float
    label: str


class Named(NamedTuple):
    """An entry of the legend: so many images."""

    name: str
    images: int
    colour: str
    link: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart shows; `title` and `summary` are for those who cannot see it."""

    title: str
    summary: str
    x_title: str
    y_title: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    bars: Sequence[Bar] = ()
    columns: Sequence[Bar] = ()
    """Clear bars over the whole height: where to point at, to be told what is there."""
    line: str = ""
    dots: Sequence[tuple[float, float]] = ()
    across: Limit | None = None
    down: Limit | None = None
    legend: Sequence[Named] = ()
    parts: Sequence[tuple[float, float]] = ()
    """Where the bars end that are of a part of their hour, day or week."""

    def drawn(self, name: str) -> Markup:
        """Give it as HTML; `name` is its own in the page."""
        return Markup(template("chart.html").render(chart=self, name=name))  # noqa: S704 - escaped by the template


def rejections_over_time(buckets: Sequence[Bucket], link: Link) -> Chart:
    """Draw the rejected images of each bucket as bars, stacked by reason."""
    total = together(bucket.tally for bucket in buckets)
    reasons = {reason: COLOURS.get(reason, _OTHER_COLOUR) for reason in total.ranked_reasons()}
    top, y_ticks = _scale(max(bucket.tally.rejected for bucket in buckets))
    bars, parts = [], []
    for (x, width), bucket in zip(_slots(len(buckets)), buckets, strict=True):
        below = 0
        for reason, colour in reasons.items():
            if images := bucket.tally.reasons.get(reason, 0):
                below += images
                label = f"{bucket.name}: {images:,} {shown(reason)}"
                bars.append(
                    Bar(x, 100 - 100 * below / top, width, 100 * images / top, colour, label, link(reason, bucket))
                )
        if bucket.is_part:
            parts.append((x + width if x > 50 else x, 100 - 100 * below / top))
    amounts = (f"{images:,} {shown(reason)}" for reason, images in total.ranked_reasons().items())
    return Chart(
        "Rejected images over time, by reason",
        f"{_span(buckets)}: {', '.join(amounts)}.",
        _span(buckets),
        f"rejected images per {buckets[0].unit}",
        _times(buckets),
        y_ticks,
        bars,
        legend=[
            Named(shown(reason), total.reasons[reason], colour, link(reason, None))
            for reason, colour in reasons.items()
        ],
        parts=parts,
    )


def rate_over_time(buckets: Sequence[Bucket], limit: float, link: Link) -> Chart:
    """Draw the rejection rate of each bucket as a line, with its limit; a bucket without images is a gap."""
    rates = [bucket.tally.rate if bucket.tally.total else None for bucket in buckets]
    top, y_ticks = _scale(max(limit, *(rate for rate in rates if rate is not None)) * 100)
    slot, middles = 100 / len(buckets), _middles(len(buckets))
    points = [None if rate is None else (x, 100 - 10_000 * rate / top) for x, rate in zip(middles, rates, strict=True)]
    columns = []
    for at, bucket in enumerate(buckets):
        if bucket.tally.total:
            label = f"{bucket.name}: {percent(bucket.tally.rate)} of {bucket.tally.total:,}"
            columns.append(Bar(slot * at, 0, slot, 100, "", label, link("", bucket)))
    least, most = (percent(end(rate for rate in rates if rate is not None)) for end in (min, max))
    return Chart(
        "Rejection rate over time",
        f"{_span(buckets)}: between {least} and {most} of the images per {buckets[0].unit}, "
        f"the limit is {limit_percent(limit)}.",
        _span(buckets),
        f"% of the images per {buckets[0].unit}",
        _times(buckets),
        y_ticks,
        columns=columns,
        line=_path(points),
        dots=list(_dots(points)),
        across=Limit(100 - 10_000 * limit / top, f"limit {limit_percent(limit)}"),
    )


def score_distribution(signal: str, histogram: npt.NDArray[np.int64], threshold: float | None, link: str = "") -> Chart:
    """Draw how many images have which score, with the threshold as a line; what lies left of it leads to `link`."""
    summed = np.add.reduceat(histogram[:-1], np.arange(0, len(histogram) - 1, _POINTS_A_BAR * BINS_A_POINT))
    summed[-1] += histogram[-1]
    top = max(int(summed.max()), 1)
    bars = [
        Bar(
            low,
            _root(images, top),
            _POINTS_A_BAR * _BAR_SHARE,
            100 - _root(images, top),
            _PLAIN,
            f"score {low} to {low + _POINTS_A_BAR}: {images:,}",
            link if threshold is not None and low < threshold else "",
        )
        for low, images in zip(range(0, 100, _POINTS_A_BAR), summed.tolist(), strict=True)
        if images
    ]
    below = (
        "" if threshold is None else f" ({int(histogram[: round(threshold * BINS_A_POINT)].sum()):,} below the line)"
    )
    return Chart(
        f"Distribution of {signal} scores" + ("" if threshold is None else f", threshold {threshold:g}"),
        f"{int(summed.sum()):,} images{below}.",
        f"score{below}",
        "images (square-root scale)",
        [Tick(at, str(at)) for at in range(0, 101, 20)],
        _root_ticks(top),
        bars,
        down=None if threshold is None else Limit(threshold, f"threshold {threshold:g}"),
    )


def _root(images: int, top: int) -> float:
    """Give how far from the top a bar ends. Most images have the best score; the square root lets the few be seen."""
    return 100 - 100 * math.sqrt(images / top)


def _root_ticks(top: int) -> list[Tick]:
    """Label round numbers that stand apart, from the largest down."""
    ticks: list[Tick] = []
    powers = range(len(str(top)), -1, -1)
    for number in (factor * 10**power for power in powers for factor in (5, 2, 1)):
        at = _root(number, top)
        if number <= top and at <= 100 - _APART and (not ticks or at - ticks[-1].at >= _APART):
            ticks.append(Tick(at, _short(number)))
    return [*ticks, Tick(100, "0")]


def _scale(most: float) -> tuple[float, list[Tick]]:
    """Give where an axis that shows `most` ends, and its labels: whole numbers, at most six."""
    steps = (factor * 10**power for power in count() for factor in (1, 2, 5))
    step = next(step for step in steps if most <= 5 * step)
    top = step * max(1, -(-most // step))
    return top, [Tick(100 - 100 * at / top, _short(at)) for at in range(0, int(top) + 1, step)]


def _short(number: int) -> str:
    for size, letter in ((1_000_000, "M"), (10_000, "k")):
        if number >= size:
            return f"{number / (1_000_000 if letter == 'M' else 1_000):g}{letter}"
    return f"{number:,}"


def _slots(number: int) -> Iterator[tuple[float, float]]:
    """Give where each of so many bars begins, and how wide it is: in the middle of its part of the whole width."""
    width = min(100 / number * _BAR_SHARE, _WIDEST_BAR)
    return ((middle - width / 2, width) for middle in _middles(number))


def _middles(number: int) -> list[float]:
    return [100 / number * (at + 0.5) for at in range(number)]


def _times(buckets: Sequence[Bucket]) -> list[Tick]:
    """Label some buckets: days by their number, parts of a day by the clock, but midnight by its day."""
    size, most = buckets[0].size, len(buckets) / _MAX_LABELS
    if size < DAY:
        step = next(step for step in _CLOCK_STEPS if step >= most * size)
        labelled = [at for at, bucket in enumerate(buckets) if not _minutes(bucket) % (step // _MINUTE)] or [0]
    else:
        labelled = list(range(0, len(buckets), math.ceil(most)))
    middles = _middles(len(buckets))
    sparse = math.ceil(len(labelled) / _MAX_NARROW)
    return [Tick(middles[at], _label(buckets[at]), number % sparse > 0) for number, at in enumerate(labelled)]


def _label(bucket: Bucket) -> str:
    if bucket.size < DAY and (minutes := _minutes(bucket)):
        return f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{bucket.begin.day} {bucket.begin:%b}"


def _minutes(bucket: Bucket) -> int:
    """Give when the whole bucket begins, in minutes after midnight."""
    begin = bucket.begin.hour * 60 + bucket.begin.minute
    return begin - begin % (bucket.size // _MINUTE)


def _span(buckets: Sequence[Bucket]) -> str:
    if len(buckets) == 1:
        return f"{buckets[0].name} UTC"
    if buckets[0].size < DAY:
        return f"{buckets[0].begin:%Y-%m-%d %H:%M} to {buckets[-1].until:%Y-%m-%d %H:%M} UTC"
    return f"{buckets[0].begin:%Y-%m-%d} to {buckets[-1].until - _MINUTE:%Y-%m-%d} UTC"


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Give the line through points; None is a gap."""
    drawn = [""]
    for before, point in zip([None, *points], points, strict=False):
        if point:
            drawn.append(f"{'L' if before else 'M'}{point[0]:.2f} {point[1]:.2f}")
    return "".join(drawn)


def _dots(points: Sequence[tuple[float, float] | None]) -> Iterator[tuple[float, float]]:
    """Give the points to be marked: all where there is room, else those to which no line leads."""
    for at, point in enumerate(points):
        is_alone = not any(points[max(at - 1, 0) : at]) and not any(points[at + 1 : at + 2])
        if point and (is_alone or len(points) <= _MAX_DOTS):
            yield point
