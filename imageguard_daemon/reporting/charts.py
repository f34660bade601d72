"""Charts as SVG that stands in a page by itself: no script, no style sheet or font from elsewhere."""

import sys
from collections.abc import Mapping, Sequence
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
    "blurry": "#4e79a7",
    "low_resolution": "#e15759",
    "noisy": "#59a14f",
    "overexposed": "#edc948",
    "underexposed": "#555555",
    "compressed": "#f28e2b",
    "pixelated": "#b07aa1",
    "blank": "#d4a6c8",
    "corrupt": "#9c755f",
    "unsupported": "#bab0ac",
    "too_large": "#76b7b2",
}
_OTHER_COLOUR = "#999999"
_LABELS_SHOWN = 8
_POINTS_A_BAR = 2
_SVG = "{http://www.w3.org/2000/svg}"
_DROPPED = {f"{_SVG}script", f"{_SVG}desc"}
"""What would run, and what only it would read."""


def rejections_over_time(
    periods: Sequence[str], reasons: Mapping[str, Sequence[int]], *, is_narrow: bool = False
) -> str:
    """Draw the rejected images of each period as bars, stacked by reason; narrow for a phone."""
    colours = [COLOURS.get(reason, _OTHER_COLOUR) for reason in reasons]
    size, labels, columns = ((400, 280), 2, 3) if is_narrow else ((900, 250), _LABELS_SHOWN, len(reasons))
    looks = _looks(colours, *size) | _time_axis(periods, labels)
    chart = pygal.StackedBar(**looks, legend_at_bottom=True, legend_at_bottom_columns=max(columns, 1))
    for reason, images in reasons.items():
        chart.add(reason, [{"value": n, "label": period} for n, period in zip(images, periods, strict=True)])
    return _svg(chart, f"Rejected images over time, by reason, from {periods[0]} to {periods[-1]}")


def rate_over_time(periods: Sequence[str], rates: Sequence[float | None], limit: float) -> str:
    """Draw the rejection rate of each period as a line, with its limit; a period without images is a gap."""
    chart = pygal.Line(
        **_looks(["#333333", "#c00000"]),
        **_time_axis(periods),
        show_dots=False,
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
        **_looks(["#4e79a7", "#c00000"], width=420, height=170),
        show_legend=False,
        max_scale=5,
        value_formatter=lambda images: f"{images:,.0f}",
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


def _svg(chart: Any, title: str) -> str:
    """Give the chart without script, with words for those who cannot see it."""
    root = ET.fromstring(chart.render())  # noqa: S314 - our own, made a line ago
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in _DROPPED:
                parent.remove(child)
    root.set("role", "img")
    root.set("aria-label", title)
    ET.register_namespace("", _SVG.strip("{}"))
    return ET.tostring(root, encoding="unicode")
