"""A folder moved into accepted and quarantine, with the results written from what the audit log has of it."""

from collections import Counter
from typing import Any

from rich.console import Console

from imageguard_daemon.batch.folder_filing import Move, settings_for_move
from imageguard_daemon.batch.images import Count, ImagesOfFolder
from imageguard_daemon.batch.judging import row_of_record
from imageguard_daemon.batch.measuring import Unread
from imageguard_daemon.batch.outputs import Outputs
from imageguard_daemon.batch.page import Page
from imageguard_daemon.batch.progress import ScanProgress
from imageguard_daemon.batch.scan_request import Request, Result
from imageguard_daemon.batch.scan_summary import Summary, Totals
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon.snapshot import Snapshot
from imageguard_daemon.daemon.status_line import StatusLine
from imageguard_daemon.intake.rules.selection import Selection
from imageguard_daemon.quality.readout import scorer_by
from imageguard_daemon.quality.version import loops_here

EX_INTERRUPTED = 130


def run(request: Request, console: Console) -> Result:
    """Move all images of the folder; a stop signal finishes what is in work.

    Raises:
        FatalError: the daemon cannot start, or going on would be wrong.
    """
    if request.move is None:
        raise UsageError("there is nowhere to move to")
    settings = settings_for_move(request.settings, request.source, request.folder, request.move)
    outputs = Outputs(request.outputs, only=request.only, overwrite=request.overwrite)
    page: Page | None = None
    try:
        page = Page(request.page, request) if request.page else None
        move = Move(settings, _MoveStatusLine(console, request), request.readout)
        exit_code = move.run()
        totals = _write(move, request, outputs, page)
        if totals.total:
            (outputs.set_aside if move.was_interrupted else outputs.publish)()
        summary, unread = _summary(totals, request, is_complete=not exit_code and not move.was_interrupted)
        if totals.total and page is not None and not move.was_interrupted:
            page.publish(summary)
    finally:
        outputs.discard()
        if page is not None:
            page.discard()
    filed = f"; moved to {printable(str(request.move))}"
    if move.was_interrupted:
        used = request.uses_standard_output
        return Result(summary, Unread(), EX_INTERRUPTED, filed, "", used, is_interrupted=True)
    go_on = ": files were left behind" if exit_code else ""
    return Result(summary, unread, exit_code, filed, go_on, request.uses_standard_output)


def _summary(totals: Totals, request: Request, *, is_complete: bool) -> tuple[Summary, Unread]:
    left, remaining = _what_remains(request)
    unread = Unread(Counter(remaining))
    report = totals.report(request.settings.reporting)
    told = printable(str(request.folder))
    measured_by = {
        "scorer_version": ", ".join(totals.scorer_versions) or scorer_by(request.readout),
        "code": loops_here(),
    }
    return Summary(told, totals, report, 0, left, dict(unread.reasons), is_complete=is_complete, **measured_by), unread


def _write(move: Move, request: Request, outputs: Outputs, page: Page | None) -> Totals:
    totals = Totals()
    folder, root = str(request.folder), str(request.move)
    for record in move.rows():
        row = row_of_record(record, folder, root)
        totals.add(row)
        outputs.write(row)
        if page is not None:
            page.add(row)
    return totals


def _what_remains(request: Request) -> tuple[dict[str, int], dict[str, int]]:
    """Count what is still in the folder: what is never moved by reason, and images that were not."""
    unreadable: list[str] = []
    selection = Selection.from_settings(request.settings.intake)
    images = ImagesOfFolder(str(request.folder), selection, (), unreadable.append)
    remaining = {"still in the folder": sum(1 for _ in images), "folder that cannot be read": len(unreadable)}
    return dict(images.left), {why: count for why, count in remaining.items() if count}


class _MoveStatusLine(StatusLine):
    """The daemon's status as a bar."""

    def __init__(self, console: Console, request: Request) -> None:
        super().__init__(console)
        self._live = None
        selection = Selection.from_settings(request.settings.intake)
        self._bar = ScanProgress(console, lambda: Count(str(request.folder), selection))

    def __enter__(self) -> Any:
        self._bar.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.__exit__(*exception)

    def show(self, snapshot: Snapshot) -> None:
        """Show how many are filed by now."""
        self._bar.show(snapshot.accepted + snapshot.quarantined, snapshot.quarantined)
