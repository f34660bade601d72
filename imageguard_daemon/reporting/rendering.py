"""A report for people, on a terminal or in a pipe; for programs, a dictionary for JSON, rows for CSV and Parquet."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imageguard_daemon.audit.counts import PERIODS, Dimension, RecordedImage, Scope
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.tables import csv_text, safe_cell
from imageguard_daemon.core.timestamps import timestamp
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.score_stats import SHARES, NearThreshold, Percentiles
from imageguard_daemon.reporting.tallies import Recall, Reviewed, Tally
from imageguard_daemon.reporting.text import joined, limit_percent, moment_in_words, percent, points, share, shown

NUMBERS = {"total": "int64", "rejected": "int64", "rate": "float64", "low": "float64", "high": "float64"}
"""The columns with numbers, each with its type in Parquet."""
GROUPS_SHOWN = 40


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
        "groups": [_group_as_dict(report, keys, group) for keys, group in report.groups.items()],
        "findings": [_finding_as_dict(finding) for finding in report.findings],
        **({} if report.reviewed is None else {"reviewed": _reviewed_as_dict(report.reviewed, report.recall)}),
        "percentiles": [_percentiles_as_dict(percentiles) for percentiles in report.percentiles],
        "nearest": [_near_as_dict(near, image) for near, image in report.nearest],
    }


def as_rows(report: Report) -> Iterator[dict[str, object]]:
    """Yield the groups as flat rows; a report by two things has a column for each, any other has `key`."""
    names = columns(report)
    for keys, group in report.groups.items():
        names_and_keys = zip(names, keys, strict=False)
        yield {**dict(names_and_keys), **_numbers(group), "top_reason": group.top_reason}


def columns(report: Report) -> tuple[str, ...]:
    """Name the columns of `as_rows`."""
    keys = tuple(map(str, report.by)) if len(report.by) > 1 else ("key",)
    return (*keys, *NUMBERS, "top_reason")


def as_csv(report: Report) -> str:
    """Give the groups as CSV with a header; what a spreadsheet would run as a formula gets an apostrophe."""
    return csv_text(columns(report), (map(safe_cell, row.values()) for row in as_rows(report)))


def _numbers(group: Tally) -> dict[str, Any]:
    low, high = group.interval
    return {"total": group.total, "rejected": group.rejected, "rate": group.rate, "low": low, "high": high}


def _group_as_dict(report: Report, keys: tuple[str, ...], group: Tally) -> dict[str, Any]:
    crossed = {"keys": dict(zip(map(str, report.by), keys, strict=True))} if len(keys) > 1 else {}
    before = report.before.get(keys)
    earlier = {"before": _numbers(before)} if before else {}
    whereabouts = _whereabouts(group, report.reviewed and report.reviewed_groups.get(keys, Reviewed()))
    return {"key": joined(keys), **crossed, **_numbers(group), **whereabouts, "top_reason": group.top_reason, **earlier}


def _whereabouts(group: Tally, reviewed: Reviewed | None) -> dict[str, Any]:
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
        "in_quarantine": reviewed.in_quarantine(group.rejected),
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


def _percentiles_as_dict(percentiles: Percentiles) -> dict[str, Any]:
    names = [f"p{round(share * 100)}" for share in SHARES]
    return {
        "signal": percentiles.signal,
        "measure": percentiles.measure,
        "scores": dict(zip(names, percentiles.scores, strict=True)),
        "measures": dict(zip(names, percentiles.measures, strict=True)),
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


def as_table(report: Report, *, scores: bool = False) -> RenderableType:
    """Give the report for a terminal or a pipe; names are text and never markup. `scores` adds what they say."""
    if not report.overall.total:
        return Text(f"No decisions {scope_in_words(report.scope)}. A report needs images that were judged and moved.")
    return Group(_summary(report), *details(report, scores=scores))


def details(report: Report, most_groups: int = GROUPS_SHOWN, *, scores: bool = False) -> list[RenderableType]:
    """Give what follows the totals: reasons, groups (so many at most) and findings, for a terminal or a pipe."""
    parts: list[RenderableType] = []
    if Dimension.reason not in report.by and report.overall.rejected:
        parts += [Text(), _reasons(report.overall)]
    if report.groups:
        parts += [Text(), *_groups(report, most_groups)]
    if scores and report.percentiles:
        parts += [Text(), *_percentiles(report), Text(), *_nearest(report)]
    return [*parts, Text(), *_findings(report.findings)]


def scope_in_words(scope: Scope) -> str:
    """Say which decisions were looked at, as the end of a sentence."""
    words = [
        f"since {moment_in_words(scope.since)}" if scope.since else "",
        f"until {moment_in_words(scope.until)}" if scope.until else "",
        f"from source '{shown(scope.source)}'" if scope.source is not None else "",
        f"of class '{shown(scope.class_name)}'" if scope.class_name else "",
        "without a class" if scope.class_name == "" else "",
        f"by camera '{shown(scope.camera)}'" if scope.camera else "",
        "without a camera" if scope.camera == "" else "",
        f"on host '{shown(scope.host)}'" if scope.host is not None else "",
        f"judged by preset '{shown(scope.preset)}'" if scope.preset is not None else "",
    ]
    return ", ".join(filter(None, words)) or "in the whole log"


def plain_table(first_column: str) -> Table:
    """Begin a table whose first column holds names."""
    # Without lines: it reads the same on a terminal, in a mail and through grep, and columns still line up.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first_column, overflow="fold", min_width=10)
    return table


def number_columns(table: Table, *names: str) -> None:
    """Add columns of numbers."""
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)


def _summary(report: Report) -> Text:
    overall = report.overall
    lines = [
        f"{overall.total:,} {'image' if overall.total == 1 else 'images'} judged {scope_in_words(report.scope)}",
        f"{overall.total - overall.rejected:,} accepted, {rejected_in_words(report)}",
        *rate_in_words(report),
    ]
    if report.borderline:
        lines.append(borderline_in_words(report.borderline))
    lines += reviewed_in_words(report)
    return Text("\n".join(lines))


def rejected_in_words(report: Report) -> str:
    """Say how many were rejected, and where they are by now if anybody acted on them."""
    since = since_in_words(report)
    return f"{report.overall.rejected:,} rejected, {since}" if since else f"{report.overall.rejected:,} quarantined"


def since_in_words(report: Report) -> str:
    """Say what became of the images since; empty where all of them are where the daemon filed them."""
    if not report.reviewed or not report.reviewed.moved:
        return ""
    reviewed = report.reviewed
    acted = (
        (reviewed.released, "released since"),
        (reviewed.missed, "accepted and rejected by people since"),
        (reviewed.deleted, "deleted since"),
        (reviewed.archived, "released or deleted and archived"),
        (reviewed.returned, "written to and judged again"),
    )
    since = (f"{images:,} {what}" for images, what in acted if images)
    return ", ".join((*since, f"{report.in_quarantine:,} in quarantine"))


def borderline_in_words(images: int) -> str:
    """Say how many images a person should look at first."""
    return f"{images:,} borderline: near a threshold, where good and bad images mix"


def reviewed_in_words(report: Report) -> Iterator[str]:
    """Say which verdicts people called right, and what follows for the share of the bad images that is found."""
    reviewed = report.reviewed or Reviewed()
    if reviewed.total:
        words = _with_interval(reviewed.precision, *reviewed.interval)
        yield f"{share(reviewed.right, reviewed.total)} reviewed rejections were right ({words})"
    if reviewed.looked_through:
        words = _with_interval(reviewed.miss_rate, *reviewed.miss_interval)
        yield f"{share(reviewed.missed, reviewed.looked_through)} reviewed acceptances were wrong ({words})"
    if recall := report.recall:
        words = f"{percent(recall.share)} of the bad images ({percent(recall.low)} to {percent(recall.high)})"
        yield f"If the reviewed ones are like the rest, {words} were rejected"


def _with_interval(rate: float, low: float, high: float) -> str:
    return f"{percent(rate)}, 95 % interval {percent(low)} to {percent(high)}"


def rate_in_words(report: Report) -> Iterator[str]:
    """Say the rate, how it changed, and whether being above the limit may be chance: a line for each."""
    low, high = report.overall.interval
    yield f"rejection rate {percent(report.overall.rate)} (95 % interval {percent(low)} to {percent(high)})"
    yield from _trend(report)
    if _could_be_chance(report):
        yield f"above the limit of {limit_percent(report.rejection_rate_limit)}, but that may be chance"


def _trend(report: Report) -> Iterator[str]:
    if trend := report.trend:
        doubt = "" if trend.is_certain else ", which may be chance"
        yield (
            f"{points(trend.change)} against the period before: {percent(trend.before.rate)} of "
            f"{trend.before.total:,}{doubt}"
        )


def _could_be_chance(report: Report) -> bool:
    is_finding = any(finding.kind in {"high_rejection_rate", "source_mostly_rejected"} for finding in report.findings)
    return report.overall.rate > report.rejection_rate_limit and not is_finding


def _reasons(overall: Tally) -> Table:
    table = plain_table("reason")
    number_columns(table, "images", "of rejected")
    for reason, images in overall.ranked_reasons().items():
        table.add_row(Text(shown(reason)), f"{images:,}", percent(images / overall.rejected))
    return table


def _groups(report: Report, most: int) -> Iterator[RenderableType]:
    by_reason = Dimension.reason in report.by
    compared = bool(report.before)
    table = plain_table(str(report.by[0]))
    for dimension in report.by[1:]:
        table.add_column(str(dimension), overflow="fold", min_width=6)
    left = any(whereabouts.moved for whereabouts in report.reviewed_groups.values())
    after = ["in quarantine"] if left else []
    number_columns(table, "images", "rejected", *after, "rate", "95 % interval", *(["before"] if compared else []))
    if not by_reason:
        table.add_column("top reason", overflow="fold", min_width=14)
    for keys, group in list(report.groups.items())[_first_shown(report, most) :][:most]:
        row: list[RenderableType] = [*(Text(shown(key)) for key in keys), *_rates(group)]
        if left:
            reviewed = report.reviewed_groups.get(keys, Reviewed())
            row.insert(len(keys) + 2, f"{reviewed.in_quarantine(group.rejected):,}")
        if compared:
            before = report.before.get(keys)
            row.append(percent(before.rate) if before else "")
        if not by_reason:
            row.append(Text(shown(group.top_reason) if group.rejected else ""))
        table.add_row(*row)
    yield table
    if (hidden := len(report.groups) - most) > 0:
        yield Text(f"and {hidden:,} {'earlier' if _first_shown(report, most) else 'more'}; --format csv has them all")


def _first_shown(report: Report, most: int) -> int:
    """Of periods the last ones are shown, of anything else the worst."""
    in_time = any(dimension in PERIODS for dimension in report.by)
    return max(0, len(report.groups) - most) if in_time else 0


def _rates(group: Tally) -> Iterator[str]:
    low, high = group.interval
    yield f"{group.total:,}"
    yield f"{group.rejected:,}"
    yield percent(group.rate)
    yield f"{percent(low).removesuffix(' %')} to {percent(high)}"


def _percentiles(report: Report) -> Iterator[RenderableType]:
    yield Text(
        f"Measures of {report.score_stats.measured if report.score_stats else 0:,} images, the worst first", "bold"
    )
    table = plain_table("signal")
    number_columns(table, *("median" if share == 0.5 else f"{share * 100:.0f} %" for share in SHARES))
    for percentiles in report.percentiles:
        numbers = (percentiles.number(at) for at in range(len(SHARES)))
        table.add_row(f"{percentiles.signal} ({percentiles.unit})", *numbers)
    yield table


def _nearest(report: Report) -> Iterator[RenderableType]:
    yield Text("Nearest to a threshold", "bold")
    table = plain_table("image")
    number_columns(table, "verdict", "signal", "score", "needed")
    for near, image in report.nearest:
        path = Text(shown(image.relative_path) if image else f"decision {near.id} (archived)", overflow="fold")
        verdict = "accepted" if near.margin >= 0 else "quarantined"
        signal = near.signal.removesuffix("_score")
        table.add_row(path, verdict, signal, f"{near.score:.2f}", f"{near.threshold:g}")
    yield table


def _findings(findings: tuple[Finding, ...]) -> Iterator[RenderableType]:
    if not findings:
        yield Text("No findings.")
        return
    yield Text("Findings", style="bold")
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for finding in findings:
        bullets.add_row("-", Text(finding.message, overflow="fold"))
        if finding.example:
            bullets.add_row("", Text(f"Such as {shown(finding.example.relative_path)}", "dim", overflow="fold"))
        if finding.command:
            bullets.add_row("", Text(f"Shown by: {finding.command}", "dim", overflow="fold"))
    yield bullets
