"""Reports made from counts that a test writes down."""

from collections.abc import Iterable, Sequence
from datetime import timedelta

from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.report import EVERYTHING, Facts, Report, groupings_for, make_report

DAY = "2025-03-01"


def facts(by: Sequence[Dimension], rows: Iterable[Count], days: Sequence[Count] | None = None) -> Facts:
    """Give the facts of counts by (class, source): no camera, no reviews, one day unless `days` are given."""
    rows = list(rows)
    counts = {
        grouping: [_regrouped(row, grouping) for row in rows]
        for grouping in groupings_for(tuple(by), timedelta(days=30))
    }
    if days is not None:
        counts[Dimension.day,] = list(days)
    return Facts(counts, reviews=())


def report_of(
    rows: Iterable[Count],
    *by: Dimension,
    scope: Scope | None = None,
    settings: Reporting | None = None,
    days: Sequence[Count] | None = None,
) -> Report:
    """Give the report on counts by (class, source), by class if nothing else is named."""
    by = by or (Dimension.class_,)
    return make_report(by, scope or Scope(), facts(by, rows, days), settings or Reporting())


def _regrouped(row: Count, grouping: Sequence[Dimension]) -> Count:
    if grouping == EVERYTHING[:2]:
        return row
    known = {
        Dimension.class_: row.keys[0],
        Dimension.source: row.keys[1],
        Dimension.day: DAY,
        Dimension.hour: f"{DAY}T12",
    }
    return Count(tuple(known.get(one, "") for one in grouping), row.verdict, row.reason, row.images, row.duplicates)
