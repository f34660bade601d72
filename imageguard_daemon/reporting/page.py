"""A report as one HTML page that needs nothing else: no network, no script, and every name escaped."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from imageguard_daemon.core.model import SIGNALS
from imageguard_daemon.reporting import charts
from imageguard_daemon.reporting.rendering import reviewed_in_words, scope_in_words, since_in_words
from imageguard_daemon.reporting.report import Report, buckets_of
from imageguard_daemon.reporting.score_stats import SHARES
from imageguard_daemon.reporting.tallies import Tally, together
from imageguard_daemon.reporting.templating import template
from imageguard_daemon.reporting.text import limit_percent, moment_in_words, percent

if TYPE_CHECKING:
    from imageguard_daemon.audit.counts import RecordedImage

CLASSES_SHOWN = 25
GROUPS_SHOWN = 60
HEAT_STEPS = 10
HEAT_REASONS = 8
"""Columns that a page has room for; the rarest reasons beyond them are named below."""
_OF_A_LOG = "The newest rejected images of each frequent reason."
_OF_A_SCAN = "Of each reason the worst images, then those nearest to being accepted."
_REASONS = {
    "blur": ("blurry",),
    "resolution": ("low_resolution",),
    "noise": ("noisy",),
    "exposure": ("overexposed", "underexposed"),
    "compression": ("compressed",),
    "pixelation": ("pixelated",),
}
"""What images are rejected for when a signal's score is low."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A rejected image of a scan: why, what it is called for people, and where its bytes are."""

    reason: str
    relative_path: str
    detail: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan knows in place of a log. `place` ends "Images judged"; each picture has a JPEG, where there is one.

    `histogram` is (signals, BINS), as in `ScoreStats`; thresholds are by their names.
    """

    place: str
    pictures: Sequence[tuple[Picture, bytes | None]]
    histogram: npt.NDArray[np.int64]
    thresholds: Mapping[str, float]
    borderline: int


def as_html(report: Report, thumbnails: Mapping[int, bytes], made_at: datetime, scanned: Scanned | None = None) -> str:
    """Give the page; `thumbnails` are JPEG images by the ids of the report's examples, as many as could be had."""
    examples: Sequence[tuple[Picture | RecordedImage, bytes | None]]
    examples = scanned.pictures if scanned else [(image, thumbnails.get(image.id)) for image in report.examples]
    example_of = {image.reason: f"#example-{number}" for number, (image, _) in reversed([*enumerate(examples)])}

    def link(*reasons: str) -> str:
        return next((example_of[reason] for reason in reasons if reason in example_of), "")

    return template("report.html").render(
        report=report,
        scope=scanned.place if scanned else scope_in_words(report.scope),
        made_at=moment_in_words(made_at),
        overall=report.overall,
        acted_on=since_in_words(report),
        reviewed=list(reviewed_in_words(report)),
        borderline=scanned.borderline if scanned else report.borderline,
        interval=[percent(end) for end in report.overall.interval],
        charts=charts_over_time(report, lambda reason, _bucket: link(reason)),
        distributions=_distributions(report, scanned, link),
        heat=_heat(report.classes),
        groups=list(report.groups.items())[:GROUPS_SHOWN],
        hidden_groups=max(0, len(report.groups) - GROUPS_SHOWN),
        shares=["median" if share == 0.5 else f"{share * 100:.0f} %" for share in SHARES],
        examples=[(image, _data_url(jpeg)) for image, jpeg in examples],
        is_scan=scanned is not None,
        examples_are=_OF_A_SCAN if scanned else _OF_A_LOG,
        limit=limit_percent(report.rejection_rate_limit),
    )


def charts_over_time(report: Report, link: charts.Link) -> dict[str, Markup]:
    """Draw rejections by reason and the rejection rate; nothing where nothing was rejected."""
    buckets = buckets_of(report)
    if not report.overall.rejected or not buckets:
        return {}
    return {
        "rejections": charts.rejections_over_time(buckets, link).drawn("rejections"),
        "rate": charts.rate_over_time(buckets, report.rejection_rate_limit, link).drawn("rate"),
    }


def _distributions(report: Report, scanned: Scanned | None, link: Callable[..., str]) -> list[tuple[str, Markup]]:
    counted = scanned or report.score_stats
    if counted is None or not counted.histogram[0].any():
        return []
    thresholds = [counted.thresholds.get(f"{signal}_score") for signal in SIGNALS]
    return [
        (signal, charts.score_distribution(signal, histogram, threshold, link(*_REASONS[signal])).drawn(signal))
        for signal, histogram, threshold in zip(SIGNALS, counted.histogram, thresholds, strict=True)
    ]


def _heat(classes: Mapping[str, Tally]) -> dict[str, Any]:
    """Give the classes with most rejections, each with the share of its images that each reason cost."""
    # By their number, not their rate: a class of which one of one was rejected says little.
    ranked = sorted(classes.items(), key=lambda item: (-item[1].rejected, item[0]))
    rows = [(name, tally) for name, tally in ranked if tally.rejected][:CLASSES_SHOWN]
    ranked_reasons = list(together(tally for _, tally in rows).ranked_reasons())
    reasons = ranked_reasons[:HEAT_REASONS]
    others = ranked_reasons[HEAT_REASONS:]
    cells = [(name, tally, [tally.reasons.get(reason, 0) / tally.total for reason in reasons]) for name, tally in rows]
    return {
        "reasons": reasons,
        "other_reasons": others,
        "rows": [(name, tally, [(rate, _step(rate)) for rate in rates]) for name, tally, rates in cells],
        "hidden": sum(1 for _, tally in ranked if tally.rejected) - len(rows),
    }


def _step(rate: float) -> int:
    """Give the shade of a cell: the square root tells small rates apart."""
    return round(math.sqrt(rate) * HEAT_STEPS)


def _data_url(jpeg: bytes | None) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""
