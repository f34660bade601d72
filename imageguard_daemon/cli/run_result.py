"""What `scan` and `backfill` say of a run that is over: the summary, and all that is not as it should be."""

import sys
from typing import TYPE_CHECKING

from imageguard_daemon.cli.options import OutputFormat
from imageguard_daemon.cli.output import write
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from rich.console import Console

    from imageguard_daemon.batch.running import Result

_FAILED_SHOWN = 10


def show(result: "Result", output: OutputFormat, console: "Console") -> None:
    """Give the summary on standard output, unless results went there, and what is missing on standard error."""
    _show_summary(result, output)
    for why, count in result.summary.left.items():
        console.print(f"{count:,} left out: {why}")
    for path in result.old_links.examples:
        console.print(f"left from an earlier run: {printable(path)}", soft_wrap=True)
    if (hidden := result.old_links.left - len(result.old_links.examples)) > 0:
        console.print(f"left from an earlier run: {hidden:,} more")
    _show_unread(result, console)
    if not result.summary.is_complete or result.unread.total:
        message = (
            "interrupted; run the same command again to resume"
            if result.is_interrupted
            else "not complete; run the same command again to go on"
        )
        console.print(f"{message}{result.how_to_go_on}", soft_wrap=True)


def _show_summary(result: "Result", output: OutputFormat) -> None:
    from imageguard_daemon.batch.scan_summary import as_json, as_summary
    from imageguard_daemon.reporting.rendering import as_csv

    summary = result.summary
    failed = {} if result.failed is None else {"failed_shards": {str(n): why for n, why in result.failed.items()}}
    write(
        output,
        file=sys.stderr if result.used_standard_output else sys.stdout,
        table=lambda: as_summary(summary, filed=result.filed),
        json=lambda: {**as_json(summary), **failed},
        csv=lambda: as_csv(summary.report),
    )


def _show_unread(result: "Result", console: "Console") -> None:
    """Name the first files that could not be read and shards that failed, and count the others."""
    for path, why in result.unread.examples:
        console.print(f"error: {printable(path)}: {why}", soft_wrap=True)
    if (hidden := result.unread.total - len(result.unread.examples)) > 0:
        console.print(f"error: {hidden:,} more could not be read")
    failed = list((result.failed or {}).items())
    for number, why in failed[:_FAILED_SHOWN]:
        console.print(f"error: shard {number} failed: {why}", soft_wrap=True)
    if (hidden := len(failed) - _FAILED_SHOWN) > 0:
        console.print(f"error: {hidden:,} more shards failed")
    if not (result.summary.totals.total or result.unread.total or result.exit_code or failed):
        console.print(f"error: no images in {result.summary.folder}", soft_wrap=True)
