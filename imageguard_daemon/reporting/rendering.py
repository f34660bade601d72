"""A report as a table for people, a dictionary for JSON, and CSV for spreadsheets."""

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.names import inert
from imageguard_daemon.reporting.findings import Finding
from imageguard_daemon.reporting.report import Report, Reviewed
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.wording import limit_percent, percent, share, shown

CSV_COLUMNS = ("key", "total", "rejected", "rate", "low", "high", "top_reason")


def as_dict(report: Report) -> dict[str, Any]:
    """Give the report in the documented form of `--format json`: rates are 0 to 1, nothing is rounded."""
    scope, overall = report.scope, report.overall
    low, high = overall.interval
    return {
        "by": str(report.by),
        "since": scope.since and _iso(scope.since),
        "until": scope.until and _iso(scope.until),
        "source": scope.source,
        "class": scope.class_name,
        "total": overall.total,
        "accepted": overall.total - overall.rejected,
        "quarantined": overall.rejected,
        "rejection_rate": overall.rate,
        "low": low,
        "high": high,
        "reasons": overall.ranked_reasons(),
        "groups": [_group_as_dict(key, tally) for key, tally in report.groups.items()],
        "findings": [_finding_as_dict(finding) for finding in report.findings],
        **({} if report.reviewed is None else {"reviewed": _reviewed_as_dict(report.reviewed)}),
    }


def as_csv(report: Report) -> str:
    """Give the groups as CSV with a header; what a spreadsheet would run as a formula gets an apostrophe."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for key, tally in report.groups.items():
        row = _group_as_dict(key, tally)
        writer.writerow(cell(row[column]) for column in CSV_COLUMNS)
    return lines.getvalue()


def as_table(report: Report) -> RenderableType:
    """Give the report for a terminal or a pipe; names are text and never markup."""
    if not report.overall.total:
        return Text(f"No decisions {scope_in_words(report.scope)}. A report needs images that were judged and moved.")
    return Group(_summary(report), *details(report))


def details(report: Report, most_groups: int | None = None) -> list[RenderableType]:
    """Give what follows the totals: reasons, groups (the first so many) and findings, for a terminal or a pipe."""
    parts: list[RenderableType] = []
    if report.by is not Dimension.reason and report.overall.rejected:
        parts += [Text(), _reasons(report.overall)]
    if report.groups:
        parts += [Text(), _groups(report, most_groups)]
        if most_groups is not None and len(report.groups) > most_groups:
            parts.append(Text(f"and {len(report.groups) - most_groups:,} more; --format csv has them all"))
    return [*parts, Text(), *_findings(report.findings)]


def _group_as_dict(key: str, tally: Tally) -> dict[str, Any]:
    low, high = tally.interval
    numbers = {"total": tally.total, "rejected": tally.rejected, "rate": tally.rate, "low": low, "high": high}
    return {"key": key, **numbers, "top_reason": tally.top_reason}


def _reviewed_as_dict(reviewed: Reviewed) -> dict[str, Any]:
    low, high = reviewed.interval
    counts = {"right": reviewed.right, "wrong": reviewed.wrong}
    return counts | {"precision": reviewed.precision, "low": low, "high": high}


def _finding_as_dict(finding: Finding) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "subject": finding.subject,
        "message": finding.message,
        "evidence": dict(finding.evidence),
    }


def cell(content: object) -> object:
    """Make a text harmless to a spreadsheet; numbers stay as they are."""
    if not isinstance(content, str) or not content:
        return content
    return shown(inert(content))


def _summary(report: Report) -> Text:
    overall = report.overall
    lines = [
        f"{overall.total:,} {'image' if overall.total == 1 else 'images'} judged {scope_in_words(report.scope)}",
        f"{overall.total - overall.rejected:,} accepted, {overall.rejected:,} quarantined",
        *rate_in_words(report),
    ]
    if report.reviewed is not None and report.reviewed.right + report.reviewed.wrong:
        lines.append(_precision(report.reviewed))
    return Text("\n".join(lines))


def rate_in_words(report: Report) -> list[str]:
    """Say what share was rejected and how sure that is, in one line or two."""
    low, high = report.overall.interval
    lines = [f"rejection rate {percent(report.overall.rate)} (95 % interval {percent(low)} to {percent(high)})"]
    if _could_be_chance(report):
        lines.append(f"above the limit of {limit_percent(report.rejection_rate_limit)}, but that may be chance")
    return lines


def _precision(reviewed: Reviewed) -> str:
    low, high = reviewed.interval
    of_reviewed = share(reviewed.right, reviewed.right + reviewed.wrong)
    told = f"{percent(reviewed.precision)}, 95 % interval {percent(low)} to {percent(high)}"
    return f"{of_reviewed} reviewed rejections were right ({told})"


def _could_be_chance(report: Report) -> bool:
    found = any(finding.kind == "high_rejection_rate" for finding in report.findings)
    return report.overall.rate > report.rejection_rate_limit and not found


def scope_in_words(scope: Scope) -> str:
    """Say which decisions were looked at, as the end of a sentence."""
    words = [
        f"since {_minute(scope.since)}" if scope.since else "",
        f"until {_minute(scope.until)}" if scope.until else "",
        f"from source '{shown(scope.source)}'" if scope.source is not None else "",
        f"of class '{shown(scope.class_name)}'" if scope.class_name else "",
        "without a class" if scope.class_name == "" else "",
    ]
    return ", ".join(filter(None, words)) or "in the whole log"


def _reasons(overall: Tally) -> Table:
    table = plain_table("reason")
    number_columns(table, "images", "of rejected")
    for reason, images in overall.ranked_reasons().items():
        table.add_row(Text(shown(reason)), f"{images:,}", percent(images / overall.rejected))
    return table


def _groups(report: Report, most: int | None = None) -> Table:
    table = plain_table(str(report.by))
    number_columns(table, "images", "rejected", "rate", "95 % interval")
    by_reason = report.by is Dimension.reason
    if not by_reason:
        table.add_column("top reason", overflow="fold", min_width=14)
    for key, tally in islice(report.groups.items(), most):
        row: list[RenderableType] = [Text(shown(key)), *_rates(tally)]
        if not by_reason:
            row.append(Text(shown(tally.top_reason) if tally.rejected else ""))
        table.add_row(*row)
    return table


def _rates(tally: Tally) -> Iterator[str]:
    low, high = tally.interval
    yield f"{tally.total:,}"
    yield f"{tally.rejected:,}"
    yield percent(tally.rate)
    yield f"{percent(low).removesuffix(' %')} to {percent(high)}"


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


def _findings(findings: tuple[Finding, ...]) -> Iterator[RenderableType]:
    if not findings:
        yield Text("No findings.")
        return
    yield Text("Findings", style="bold")
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for finding in findings:
        bullets.add_row("-", Text(finding.message, overflow="fold"))
    yield bullets


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
