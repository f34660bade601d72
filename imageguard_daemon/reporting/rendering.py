"""A report for programs: a dictionary for JSON, rows for CSV and Parquet."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from imageguard_daemon.audit.counts import RecordedImage
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.tables import csv_text, safe_cell
from imageguard_daemon.core.timestamps import timestamp
from imageguard_daemon.reporting.findings import Finding
from imageguard_daemon.reporting.percentiles import SHARES, Percentiles
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.review_impact import Recall, Reviewed
from imageguard_daemon.reporting.score_stats import NearThreshold
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import joined

NUMBERS = {"total": "int64", "rejected": "int64", "rate": "float64", "low": "float64", "high": "float64"}
"""The columns with numbers, each with its type in Parquet."""


def as_dict(report: Report) -> dict[str, Any]:
    """Give the report in the documented form of `--format json`: rates are 0 to 1, nothing is rounded."""
    scope, overall = report.scope, report.overall
    low, high = overall.interval
    return {
        "by": ",".join(report.by),
        "since": scope.since and timestamp(scope.since),
        "until": scope.until and timestamp(scope.until),
        "source": scope.source,
        "class": scope.class_name,
        "camera": scope.camera,
        "host": scope.host,
        "preset": scope.preset,
        "total": overall.total,
        "accepted": overall.total - overall.rejected,
        "quarantined": overall.rejected,
        "rejected": overall.rejected,
        **_whereabouts(overall, report.reviewed),
        "rejection_rate": overall.rate,
        "low": low,
        "high": high,
        "duplicates": overall.duplicates,
        "borderline": report.borderline,
        "reasons": overall.ranked_reasons(),
        "trend": _trend_as_dict(report),
        "groups": [_group_as_dict(report, keys, one) for keys, one in report.groups.items()],
        "findings": [_finding_as_dict(finding) for finding in report.findings],
        **({} if report.reviewed is None else {"reviewed": _reviewed_as_dict(report.reviewed, report.recall)}),
        "percentiles": [_percentiles_as_dict(one) for one in report.percentiles],
        "nearest": [_near_as_dict(near, image) for near, image in report.nearest],
    }


def as_rows(report: Report) -> Iterator[dict[str, object]]:
    """Yield the groups as flat rows; a report by two things has a column for each, any other has `key`."""
    names = columns(report)
    for keys, one in report.groups.items():
        names_and_keys = zip(names, keys, strict=False)
        yield {**dict(names_and_keys), **_numbers(one), "top_reason": one.top_reason}


def columns(report: Report) -> tuple[str, ...]:
    """Name the columns of `as_rows`."""
    keys = tuple(map(str, report.by)) if len(report.by) > 1 else ("key",)
    return (*keys, *NUMBERS, "top_reason")


def as_csv(report: Report) -> str:
    """Give the groups as CSV with a header; what a spreadsheet would run as a formula gets an apostrophe."""
    return csv_text(columns(report), (map(safe_cell, row.values()) for row in as_rows(report)))


def _numbers(one: Tally) -> dict[str, Any]:
    low, high = one.interval
    return {"total": one.total, "rejected": one.rejected, "rate": one.rate, "low": low, "high": high}


def _group_as_dict(report: Report, keys: tuple[str, ...], one: Tally) -> dict[str, Any]:
    crossed = {"keys": dict(zip(map(str, report.by), keys, strict=True))} if len(keys) > 1 else {}
    before = report.before.get(keys)
    earlier = {"before": _numbers(before)} if before else {}
    whereabouts = _whereabouts(one, report.reviewed and report.reviewed_groups.get(keys, Reviewed()))
    return {"key": joined(keys), **crossed, **_numbers(one), **whereabouts, "top_reason": one.top_reason, **earlier}


def _whereabouts(one: Tally, reviewed: Reviewed | None) -> dict[str, Any]:
    """Say where images are by now; nobody knows of those that were not filed."""
    if reviewed is None:
        return {}
    some = {"archived": reviewed.archived, "returned": reviewed.returned}
    some = {what: images for what, images in some.items() if images}
    return {
        "released": reviewed.released,
        "rejected_by_people": reviewed.missed,
        "purged": reviewed.deleted,
        **some,
        "in_quarantine": reviewed.in_quarantine(one.rejected),
    }


def _trend_as_dict(report: Report) -> dict[str, Any] | None:
    trend = report.trend
    if trend is None:
        return None
    return {"change": trend.change, "low": trend.low, "high": trend.high, "before": _numbers(trend.before)}


def _reviewed_as_dict(reviewed: Reviewed, recall: Recall | None) -> dict[str, Any]:
    low, high = reviewed.interval
    miss_low, miss_high = reviewed.miss_interval
    return {
        "right": reviewed.right,
        "wrong": reviewed.wrong,
        "precision": reviewed.precision,
        "low": low,
        "high": high,
        "rejudged": reviewed.rejudged,
        "approved": reviewed.approved,
        "missed": reviewed.missed,
        "miss_rate": reviewed.miss_rate,
        "miss_low": miss_low,
        "miss_high": miss_high,
        "recall": recall and recall.share,
        "recall_low": recall and recall.low,
        "recall_high": recall and recall.high,
    }


def _finding_as_dict(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "message": finding.message,
        "sentence": finding.sentence,
        "look_at": finding.look_at,
        "sample_size": finding.sample_size,
        "excess": finding.excess,
        "since": _moment_of(finding, "since"),
        "until": _moment_of(finding, "until"),
        "where": dict(finding.where),
        "example": finding.example and {"id": finding.example.id, "relative_path": finding.example.relative_path},
        "command": finding.command,
        "evidence": dict(finding.evidence),
    }


def _moment_of(finding: Finding, name: str) -> str | None:
    return timestamp(datetime.fromtimestamp(finding.evidence[name], UTC)) if name in finding.evidence else None


def _percentiles_as_dict(one: Percentiles) -> dict[str, Any]:
    names = [f"p{round(share * 100)}" for share in SHARES]
    return {
        "signal": one.signal,
        "measure": one.measure,
        "scores": dict(zip(names, one.scores, strict=True)),
        "measures": dict(zip(names, one.measures, strict=True)),
    }


def _near_as_dict(near: NearThreshold, image: RecordedImage | None) -> dict[str, Any]:
    """Describe an image near a threshold; one that was archived has no path any more."""
    return {
        "id": near.id,
        "relative_path": image and image.relative_path,
        "class": image and image.class_name,
        "verdict": "accepted" if near.margin >= 0 else "quarantined",
        "signal": near.signal,
        "score": near.score,
        "threshold": near.threshold,
    }


def as_parquet(report: Report) -> bytes:
    """Give the rows of the CSV with their types; names are as in the log, since nothing runs a formula there.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise UsageError("--format parquet needs pyarrow: pip install 'imageguard-daemon[parquet]'") from error
    schema = pa.schema([(name, NUMBERS.get(name, "string")) for name in columns(report)])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(as_rows(report)), schema=schema), sink)
    return bytes(sink.getvalue().to_pybytes())
