"""A report for people, on a terminal or in a pipe."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imageguard_daemon.audit.counts import PERIODS, Dimension, Scope
from imageguard_daemon.reporting.findings import Finding
from imageguard_daemon.reporting.percentiles import SHARES
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.review_impact import Reviewed
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import limit_percent, moment_in_words, percent, points, share, shown

GROUPS_SHOWN = 40


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
    one = report.reviewed
    acted = (
        (one.released, "released since"),
        (one.missed, "accepted and rejected by people since"),
        (one.deleted, "deleted since"),
        (one.archived, "released or deleted and archived"),
        (one.returned, "written to and judged again"),
    )
    since = (f"{images:,} {what}" for images, what in acted if images)
    return ", ".join((*since, f"{report.in_quarantine:,} in quarantine"))


def borderline_in_words(images: int) -> str:
    """Say how many images a person should look at first."""
    return f"{images:,} borderline: near a threshold, where good and bad images mix"


def reviewed_in_words(report: Report) -> Iterator[str]:
    """Say which verdicts people called right, and what follows for the share of the bad images that is found."""
    one = report.reviewed or Reviewed()
    if one.total:
        told = _with_interval(one.precision, *one.interval)
        yield f"{share(one.right, one.total)} reviewed rejections were right ({told})"
    if one.looked_through:
        told = _with_interval(one.miss_rate, *one.miss_interval)
        yield f"{share(one.missed, one.looked_through)} reviewed acceptances were wrong ({told})"
    if recall := report.recall:
        told = f"{percent(recall.share)} of the bad images ({percent(recall.low)} to {percent(recall.high)})"
        yield f"If the reviewed ones are like the rest, {told} were rejected"


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
    found = any(finding.kind in {"high_rejection_rate", "source_mostly_rejected"} for finding in report.findings)
    return report.overall.rate > report.rejection_rate_limit and not found


def _reasons(overall: Tally) -> Table:
    table = plain_table("reason")
    number_columns(table, "images", "of rejected")
    for reason, images in overall.ranked_reasons().items():
        table.add_row(Text(shown(reason)), f"{images:,}", percent(images / overall.rejected))
    return table


def _groups(report: Report, most: int) -> Iterator[RenderableType]:
    by_reason, compared = Dimension.reason in report.by, bool(report.before)
    table = plain_table(str(report.by[0]))
    for dimension in report.by[1:]:
        table.add_column(str(dimension), overflow="fold", min_width=6)
    left = any(one.moved for one in report.reviewed_groups.values())
    after = ["in quarantine"] if left else []
    number_columns(table, "images", "rejected", *after, "rate", "95 % interval", *(["before"] if compared else []))
    if not by_reason:
        table.add_column("top reason", overflow="fold", min_width=14)
    for keys, one in list(report.groups.items())[_first_shown(report, most) :][:most]:
        row: list[RenderableType] = [*(Text(shown(key)) for key in keys), *_rates(one)]
        if left:
            reviewed = report.reviewed_groups.get(keys, Reviewed())
            row.insert(len(keys) + 2, f"{reviewed.in_quarantine(one.rejected):,}")
        if compared:
            before = report.before.get(keys)
            row.append(percent(before.rate) if before else "")
        if not by_reason:
            row.append(Text(shown(one.top_reason) if one.rejected else ""))
        table.add_row(*row)
    yield table
    if (hidden := len(report.groups) - most) > 0:
        yield Text(f"and {hidden:,} {'earlier' if _first_shown(report, most) else 'more'}; --format csv has them all")


def _first_shown(report: Report, most: int) -> int:
    """Of periods the last ones are shown, of anything else the worst."""
    in_time = any(dimension in PERIODS for dimension in report.by)
    return max(0, len(report.groups) - most) if in_time else 0


def _rates(one: Tally) -> Iterator[str]:
    low, high = one.interval
    yield f"{one.total:,}"
    yield f"{one.rejected:,}"
    yield percent(one.rate)
    yield f"{percent(low).removesuffix(' %')} to {percent(high)}"


def _percentiles(report: Report) -> Iterator[RenderableType]:
    yield Text(
        f"Measures of {report.score_stats.measured if report.score_stats else 0:,} images, the worst first", "bold"
    )
    table = plain_table("signal")
    number_columns(table, *("median" if share == 0.5 else f"{share * 100:.0f} %" for share in SHARES))
    for one in report.percentiles:
        table.add_row(f"{one.signal} ({one.unit})", *(one.number(at) for at in range(len(SHARES))))
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
