"""Charts as SVG that stands in a page by itself: no script, no style sheet or font from elsewhere."""

import sys
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import numpy.typing as npt
import pygal
from pygal.style import Style

from imageguard_daemon.reporting.survey import BINS_A_POINT

# pygal looks for plug-ins at every later import, in a way that Python has given up; there are none.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

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
_LINE, _LIMIT = "#3d7de0", "#d1242f"
_DARK = (
    "@media (prefers-color-scheme: dark) { .axis text, .legends text, text.no_data, .title "
    "{ fill: #c9d1d9 !important; } .axis .line, .guide.line { stroke: #3d444d !important; } }"
)
"""Charts stand on the ground of their page: in the dark, words and lines turn light."""
_LABELS_SHOWN = 8
_NARROW_COLUMNS, _WIDE_COLUMNS, _LEGEND_LINE = 2, 6, 22
_POINTS_A_BAR = 2
_SVG = "{http://www.w3.org/2000/svg}"
_DROPPED = {f"{_SVG}script", f"{_SVG}desc"}
"""What would run, and what only it would read."""


def rejections_over_time(
    periods: Sequence[str], reasons: Mapping[str, Sequence[int]], *, is_narrow: bool = False
) -> str:
    """Draw the rejected images of each period as bars, stacked by reason; narrow for a phone."""
    colours = [COLOURS.get(reason, _OTHER_COLOUR) for reason in reasons]
    columns = _NARROW_COLUMNS if is_narrow else max(1, min(len(reasons), _WIDE_COLUMNS))
    legend_lines = -(-len(reasons) // columns)
    width, height, labels = (400, 240, 2) if is_narrow else (900, 250, _LABELS_SHOWN)
    looks = _looks(colours, width, height + _LEGEND_LINE * legend_lines) | _time_axis(periods, labels)
    looks |= _images_axis(max(map(sum, zip(*reasons.values(), strict=True)), default=0))
    chart = pygal.StackedBar(
        **looks, legend_at_bottom=True, legend_at_bottom_columns=columns, y_title="images", margin_bottom=24
    )
    for reason, images in reasons.items():
        chart.add(reason, [{"value": n, "label": period} for n, period in zip(images, periods, strict=True)])
    return _svg(chart, f"Rejected images over time, by reason, from {periods[0]} to {periods[-1]}")


def rate_over_time(periods: Sequence[str], rates: Sequence[float | None], limit: float) -> str:
    """Draw the rejection rate of each period as a line, with its limit; a period without images is a gap."""
    chart = pygal.Line(
        **_looks([_LINE, _LIMIT]),
        **_time_axis(periods),
        show_dots=len(periods) == 1,  # a line of one point is none
        y_title="% of images",
        range=(0, max([limit, *(rate for rate in rates if rate is not None)]) * 105),
        value_formatter=lambda rate: f"{rate:.0f} %",
        legend_at_bottom=True,
    )
    chart.add("rejection rate", [None if rate is None else rate * 100 for rate in rates])
    chart.add("limit", [limit * 100] * len(periods), stroke_style={"dasharray": "6, 4"})
    return _svg(chart, "Rejection rate over time")


def score_distribution(signal: str, histogram: npt.NDArray[np.int64], threshold: float | None) -> str:
    """Draw how many images have which score, with the threshold as a line; what lies left of it is rejected."""
    width = _POINTS_A_BAR * BINS_A_POINT
    summed = np.add.reduceat(histogram[:-1], np.arange(0, len(histogram) - 1, width))
    summed[-1] += histogram[-1]
    chart = pygal.Histogram(
        **_looks([_LINE, _LIMIT], width=420, height=190),
        **_images_axis(int(summed.max())),
        show_legend=False,
        x_title="score",
        y_title="images",
        xrange=(0, 100),
        x_labels=[0, 20, 40, 60, 80, 100],
    )
    bars = enumerate(summed.tolist())
    chart.add(signal, [(images, at * _POINTS_A_BAR, (at + 1) * _POINTS_A_BAR) for at, images in bars])
    if threshold is not None:
        chart.add(f"threshold {threshold:g}", [(int(summed.max()), threshold - 0.25, threshold + 0.25)])
    below = "" if threshold is None else f", threshold {threshold:g}"
    return _svg(chart, f"Distribution of {signal} scores{below}")


def _looks(colours: Sequence[str], width: int = 900, height: int = 250) -> dict[str, Any]:
    style = Style(
        background="transparent",
        plot_background="transparent",
        foreground="#333333",
        foreground_strong="#222222",
        foreground_subtle="#777777",
        guide_stroke_color="#dddddd",
        guide_stroke_dasharray="0",
        major_guide_stroke_color="#cccccc",
        major_guide_stroke_dasharray="0",
        font_family="sans-serif",
        label_font_size=11,
        major_label_font_size=11,
        legend_font_size=11,
        title_font_size=11,
        opacity="1",
        colors=tuple(colours) or (_OTHER_COLOUR,),
    )
    return {
        "style": style,
        "js": (),
        "width": width,
        "height": height,
        "margin": 4,
        "explicit_size": False,
        "truncate_label": -1,
        "truncate_legend": -1,
        "legend_box_size": 11,
        "no_data_text": "nothing rejected",
    }


def _time_axis(periods: Sequence[str], labels: int = _LABELS_SHOWN) -> dict[str, Any]:
    step = -(-len(periods) // labels)
    return {"x_labels": list(periods), "x_labels_major_every": step, "show_minor_x_labels": False}


def _images_axis(most: int) -> dict[str, Any]:
    """Label numbers of images: whole ones, at most six."""
    steps = (factor * 10**power for power in count() for factor in (1, 2, 5))
    step = next(step for step in steps if most <= 5 * step)
    return {"y_labels": list(range(0, most + step, step)), "value_formatter": lambda images: f"{images:,.0f}"}


def _svg(chart: Any, title: str) -> str:
    """Give the chart without script, with words for those who cannot see it."""
    root = ET.fromstring(chart.render())  # noqa: S314 - our own, made a line ago
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in _DROPPED:
                parent.remove(child)
    ET.SubElement(root, f"{_SVG}style").text = _DARK
    root.set("role", "img")
    root.set("aria-label", title)
    ET.register_namespace("", _SVG.strip("{}"))
    return ET.tostring(root, encoding="unicode")
