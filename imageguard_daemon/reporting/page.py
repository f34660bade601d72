"""A report as one HTML page that needs nothing else: no network, no script, and every name escaped."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from imageguard_daemon.model import SIGNALS
from imageguard_daemon.reporting import charts
from imageguard_daemon.reporting.percentiles import SHARES
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.tables import reviewed_in_words, scope_in_words, since_in_words
from imageguard_daemon.reporting.tallies import Tally, together
from imageguard_daemon.reporting.wording import limit_percent, moment_in_words, percent, points, shown

CLASSES_SHOWN = 25
GROUPS_SHOWN = 60
HEAT_STEPS = 10
HEAT_REASONS = 8
"""Columns that a page has room for; the rarest reasons beyond them are named below."""
_OF_A_LOG = "The newest rejected images of each frequent reason."
_OF_A_SCAN = "Of each reason the worst images, then those nearest to being accepted."
_WEEKS_FROM = 100
"""So many days are shown as weeks."""


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

    `histogram` is (signals, BINS), as that of a survey; thresholds are by their names.
    """

    place: str
    pictures: Sequence[tuple[Picture, bytes | None]]
    histogram: npt.NDArray[np.int64]
    thresholds: Mapping[str, float]
    borderline: int


def as_html(report: Report, thumbnails: Mapping[int, bytes], made_at: datetime, scanned: Scanned | None = None) -> str:
    """Give the page; `thumbnails` are JPEG images by the ids of the report's examples, as many as could be had."""
    examples = scanned.pictures if scanned else [(image, thumbnails.get(image.id)) for image in report.examples]
    return _template().render(
        report=report,
        scope=scanned.place if scanned else scope_in_words(report.scope),
        made_at=moment_in_words(made_at),
        overall=report.overall,
        acted_on=since_in_words(report),
        reviewed=list(reviewed_in_words(report)),
        borderline=scanned.borderline if scanned else report.borderline,
        interval=[percent(end) for end in report.overall.interval],
        charts=charts_over_time(report),
        distributions=_distributions(report, scanned),
        heat=_heat(report.classes),
        groups=list(report.groups.items())[:GROUPS_SHOWN],
        hidden_groups=max(0, len(report.groups) - GROUPS_SHOWN),
        shares=["median" if share == 0.5 else f"{share * 100:.0f} %" for share in SHARES],
        examples=[(image, _data_url(jpeg)) for image, jpeg in examples],
        is_scan=scanned is not None,
        examples_are=_OF_A_SCAN if scanned else _OF_A_LOG,
        limit=limit_percent(report.rejection_rate_limit),
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("imageguard_daemon.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "shown": shown, "points": points, "number": lambda n: f"{n:,}"}
    return environment.get_template("report.html")


def charts_over_time(report: Report) -> dict[str, Markup]:
    """Draw rejections by reason and the rejection rate; nothing where nothing was rejected."""
    periods = _gapless(report.periods)
    if not report.overall.rejected or not periods:
        return {}
    totals = together(periods.values()).ranked_reasons()
    by_reason = {shown(reason): [one.reasons.get(reason, 0) for one in periods.values()] for reason in totals}
    rates = [one.rate if one.total else None for one in periods.values()]
    return {
        "rejections": _safe(charts.rejections_over_time(list(periods), by_reason)),
        "rejections-narrow": _safe(charts.rejections_over_time(list(periods), by_reason, is_narrow=True)),
        "rate": _safe(charts.rate_over_time(list(periods), rates, report.rejection_rate_limit)),
    }


def _gapless(periods: Mapping[str, Tally]) -> dict[str, Tally]:
    """Fill in the days on which nothing came, and take many days together as weeks; hours stay as they are."""
    if not periods or "T" in next(iter(periods)):
        return dict(sorted(periods.items()))
    first, last = (date.fromisoformat(end) for end in (min(periods), max(periods)))
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    filled: dict[str, Tally] = {}
    for day in days:
        label = _week_of(day, first, last) if len(days) >= _WEEKS_FROM else day.isoformat()
        filled[label] = together((filled.get(label, Tally()), periods.get(day.isoformat(), Tally())))
    return filled


def _week_of(day: date, first: date, last: date) -> str:
    """Name a week by its Monday; one of which the report has only some days says so, or it would look like a drop."""
    monday = day - timedelta(days=day.weekday())
    is_whole = first <= monday and monday + timedelta(days=6) <= last
    return monday.isoformat() if is_whole else f"{monday.isoformat()} (part)"


def _distributions(report: Report, scanned: Scanned | None) -> list[tuple[str, Markup]]:
    counted = scanned or report.survey
    if counted is None or not counted.histogram[0].any():
        return []
    return [
        (signal, _safe(charts.score_distribution(signal, histogram, counted.thresholds.get(f"{signal}_score"))))
        for signal, histogram in zip(SIGNALS, counted.histogram, strict=True)
    ]


def _heat(classes: Mapping[str, Tally]) -> dict[str, Any]:
    """Give the classes with most rejections, each with the share of its images that each reason cost."""
    ranked = sorted(classes.items(), key=lambda item: (-item[1].rejected, item[0]))
    rows = [(name, one) for name, one in ranked if one.rejected][:CLASSES_SHOWN]
    ranked_reasons = list(together(one for _, one in rows).ranked_reasons())
    reasons, others = ranked_reasons[:HEAT_REASONS], ranked_reasons[HEAT_REASONS:]
    cells = [(name, one, [one.reasons.get(reason, 0) / one.total for reason in reasons]) for name, one in rows]
    return {
        "reasons": reasons,
        "other_reasons": others,
        "rows": [(name, one, [(rate, _step(rate)) for rate in rates]) for name, one, rates in cells],
        "hidden": sum(1 for _, one in ranked if one.rejected) - len(rows),
    }


def _step(rate: float) -> int:
    """Give the shade of a cell: the square root tells small rates apart."""
    return round(math.sqrt(rate) * HEAT_STEPS)


def _data_url(jpeg: bytes | None) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" if jpeg else ""


def _safe(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 - serialised from a tree, in which names are text
