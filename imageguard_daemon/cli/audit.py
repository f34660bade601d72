"""`audit` and `verify`: the log itself, its archives, and what it says compared with the folders."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.help_format import CommandLine
from imageguard_daemon.cli.options import ConfigFile, Database, Format, OutputFormat, Root, login_name, settings_for
from imageguard_daemon.cli.output import progress_bar, write
from imageguard_daemon.core.errors import ImageguardError, NoInputError, UsageError

if TYPE_CHECKING:
    from imageguard_daemon.audit.archive.archiving import ArchiveRequest
    from imageguard_daemon.audit.archive.archiving import Progress as ArchiveProgress
    from imageguard_daemon.audit.archive.plan import ArchivePlan
    from imageguard_daemon.config import Settings
    from imageguard_daemon.verification.verifier import LogRepairer, Progress, Verifier

app = CommandLine(
    no_args_is_help=True, help="Maintain the audit log: archive old records, check archives, accept a loss."
)

OlderThan = Annotated[
    str, typer.Option(metavar="AGE", help="Archive what was decided before then: 400d ago, or up to 2025-01-31.")
]
Into = Annotated[
    Path | None, typer.Option("--to", metavar="FOLDER", help="Folder for archives (default: ROOT/archive).")
]
Quarantined = Annotated[
    bool,
    typer.Option(
        "--include-quarantined",
        help="Also archive images still in quarantine: they can no longer be released or purged by command.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it; without it, only say what would be archived.")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="What happened, for the record.")]
Folders = Annotated[
    list[Path],
    typer.Argument(metavar="FOLDER...", help="Archives, as `audit archive` made them, or the folder they are in."),
]


@app.command("archive")
def archive_(  # noqa: PLR0913, PLR0917 - one parameter for each option
    older_than: OlderThan,
    root: Root = None,
    config_file: ConfigFile = None,
    into: Into = None,
    include_quarantined: Quarantined = False,
    yes: Yes = False,
) -> None:
    """Move old records out of the log into Parquet files; the images stay where they are.

    The copy is read back and checked against the hash chain before anything leaves the log. Unsettled records stay:
    files in quarantine, later reviews, moves without an outcome. `verify` and reports work as before.
    """
    from datetime import UTC, datetime

    from imageguard_daemon.audit.archive.archiving import ArchiveRequest, plan_archive
    from imageguard_daemon.reporting.period import parse_age

    settings = settings_for(root, config_file)
    cutoff = parse_age("--older-than", older_than, datetime.now(UTC))
    request = ArchiveRequest(cutoff, (into or settings.root / "archive").absolute(), login_name(), include_quarantined)
    plan = plan_archive(settings, request)
    if plan is None:
        waits = " Records that the fleet's database does not have yet stay." if settings.forward.url else ""
        typer.echo(f"Nothing that old is left to archive.{waits}")
        return
    for line in _told(plan):
        typer.echo(line)
    if not plan.going:
        typer.echo("Nothing was done: none of them can leave the log.", err=True)
        return
    if not yes:
        typer.echo("Nothing was done. Add --yes to archive.", err=True)
        return
    _archive(settings, request)


def _archive(settings: "Settings", request: "ArchiveRequest") -> None:
    from imageguard_daemon.audit.archive.archiving import archive

    with _archive_progress() as progress:
        archived = archive(settings, request, progress)
    if archived is not None:
        typer.echo(f"archived {archived.decisions:,} decisions to {archived.folder}")
        typer.echo("New records reuse the space; to give it back to the disk, stop the daemon and VACUUM.")


@app.command("check")
def check_(folders: Folders) -> None:
    """Check archives: each row against its link of the hash chain, and each archive against the one before.

    A FOLDER is an archive, or the folder that `audit archive` fills.

    Exits 0 when all are intact, 65 otherwise.
    """
    from imageguard_daemon.audit.archive.parquet_copy import check_copy

    failed = 0
    heads: dict[int, str] = {}
    for folder in _archives_in(folders):
        try:
            with _archive_progress() as progress:
                manifest = check_copy(folder, lambda done, progress=progress: progress("checking", done, done))  # type: ignore[misc]
        except ImageguardError as error:
            failed += 1
            typer.echo(f"error: {error}", err=True)
            continue
        before = heads.get(manifest.first_sequence - 1, manifest.hash_before)
        if before != manifest.hash_before:
            failed += 1
            typer.echo(f"error: {folder} does not continue the archive before it", err=True)
        heads[manifest.last_sequence] = manifest.last_hash
        typer.echo(
            f"{folder}: links {manifest.first_sequence:,} to {manifest.last_sequence:,}, "
            f"{manifest.rows['decision_records']:,} decisions, ends with {manifest.last_hash}"
        )
    raise typer.Exit(os.EX_DATAERR if failed else os.EX_OK)


@app.command("accept")
def accept_(root: Root = None, config_file: ConfigFile = None, why: Why = "") -> None:
    """Accept a log that lacks records it had: restored from a backup, started over, or without its journal.

    The daemon refuses to start on such a log. This records who accepted the loss, and why; for `verify`, files of the
    lost records are `foreign` from then on. A log that lacks nothing is not changed. Refuses while a daemon runs.
    """
    from imageguard_daemon.audit.log_writer import AcceptingWriter
    from imageguard_daemon.core.locks import ActingLock, RootLock, require_own

    settings = settings_for(root, config_file)
    require_own(settings.state_folder, settings.root)
    if not settings.state_folder.is_dir():
        raise NoInputError(f"no daemon has worked on {settings.root}; name the ROOT or --config FILE of one")
    lock = RootLock(settings.state_folder)
    try:
        with (
            ActingLock(settings.state_folder).held(),
            closing(AcceptingWriter(settings.audit.database, settings.root)) as audit,
        ):
            lack = audit.lack
            audit.accept(login_name(), why)
    finally:
        lock.release()
    database = settings.audit.database
    typer.echo(f"{database} {lack}\naccepted and recorded" if lack else f"{database} lacks nothing; nothing was done")


def _archives_in(folders: list[Path]) -> Iterator[Path]:
    """Yield the archives named, and those in the folders of archives, in their order."""
    from imageguard_daemon.audit.archive.parquet_copy import MANIFEST

    for folder in folders:
        is_archive = (folder / MANIFEST).exists()
        inside = [] if is_archive else sorted(manifest.parent for manifest in folder.glob(f"[!.]*/{MANIFEST}"))
        yield from inside or [folder]


def _told(plan: "ArchivePlan") -> Iterator[str]:
    links = plan.end.sequence - plan.begin.sequence
    yield f"{plan.decisions:,} decisions that old, {links:,} records to copy"
    yield f"{plan.going:,} decisions would leave the log"
    if plan.in_quarantine:
        yield f"{plan.in_quarantine:,} stay: their images are still in quarantine"
    if plan.unsettled:
        yield f"{plan.unsettled:,} stay: reviewed or moved on later, or not settled"


@contextmanager
def _archive_progress() -> "Iterator[ArchiveProgress]":
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    with progress_bar(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()) as bar:
        task = bar.add_task("")
        yield lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total)


Quick = Annotated[bool, typer.Option("--quick", help="Compare existence and sizes only; read no contents.")]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Record files found in another place, and moves that did happen. Changes no file; refuses "
        "while a daemon runs.",
    ),
]
ExpectHead = Annotated[
    str | None,
    typer.Option(
        metavar="HASH",
        help="A head of the chain that an earlier `verify` printed: finds a log that was rewritten or truncated since.",
    ),
]


def verify(  # noqa: PLR0913, PLR0917 - one parameter for each option
    root: Root = None,
    config: ConfigFile = None,
    database: Database = None,
    quick: Quick = False,
    repair: Repair = False,
    expect_head: ExpectHead = None,
    output: Format = OutputFormat.table,
) -> None:
    """Compare the audit log with the folders: is every filed file there, unchanged, and nothing else?

    Also checks the hash chain over the records. No file is moved, deleted or overwritten; a daemon may be running.

    Exits 0 when nothing is wrong (or all was repaired), 65 otherwise.
    """
    head = _hash(expect_head)
    if repair and database is not None:
        raise UsageError("--repair works on the log of ROOT or --config, not on one named with --db")
    settings = settings_for(root, config)
    searched = database is None or root is not None or config is not None
    folders = _destinations(settings) if searched else []
    with ExitStack() as stack:
        repairer = stack.enter_context(_repairing(settings)) if repair else None
        verifier = stack.enter_context(_verifier(settings, database, folders, quick, head, repairer))
        _write(verifier, output, searched)
    raise typer.Exit(os.EX_DATAERR if verifier.left else os.EX_OK)


def _hash(text: str | None) -> bytes | None:
    from imageguard_daemon.audit.chain import ORIGIN

    try:
        value = bytes.fromhex(text) if text is not None else None
    except ValueError:
        value = b""
    if value is not None and len(value) != len(ORIGIN):
        raise UsageError("--expect-head takes the 64 hexadecimal digits that an earlier `verify` printed")
    return value


def _destinations(settings: "Settings") -> list[str]:
    """Give the folders files are filed in, each once; without one of them nothing could be concluded."""
    folders = sorted({str(folder) for source in settings.sources for folder in source.folders[1:]})
    for folder in folders:
        if not os.path.isdir(folder):
            raise NoInputError(f"{folder} is not there; mount it, or name another ROOT or --config")
    return [folder for folder in folders if not any(folder.startswith(f"{other}/") for other in folders)]


@contextmanager
def _repairing(settings: "Settings") -> "Iterator[LogRepairer]":
    from imageguard_daemon.audit.opening import require_log_of_own
    from imageguard_daemon.audit.writer import AuditWriter
    from imageguard_daemon.core.locks import ActingLock, RootLock
    from imageguard_daemon.verification.verifier import LogRepairer

    require_log_of_own(settings)
    lock = RootLock(settings.state_folder)
    try:
        with (
            ActingLock(settings.state_folder).held(),
            closing(AuditWriter(settings.audit.database, settings.root)) as audit,
        ):
            yield LogRepairer(audit)
    finally:
        lock.release()


@contextmanager
def _verifier(  # noqa: PLR0913, PLR0917 - what the options say
    settings: "Settings",
    database: Path | None,
    folders: list[str],
    quick: bool,
    head: bytes | None,
    repairer: "LogRepairer | None",
) -> "Iterator[Verifier]":
    from imageguard_daemon.audit.chain_check import ChainCheck
    from imageguard_daemon.audit.file_index import FiledFiles
    from imageguard_daemon.audit.opening import open_log_for_checking
    from imageguard_daemon.core import locks
    from imageguard_daemon.verification.verifier import Verification, Verifier

    running = repairer is None and (database is not None or locks.running_process(settings.state_folder) is not None)
    with open_log_for_checking(database or settings.audit.database) as log:
        chain = ChainCheck(log, [head] if head is not None else [])
        acting = locks.ActingLock(settings.state_folder).is_held
        may_act = (lambda: True) if database is not None else (lambda: False) if repairer else acting
        yield Verifier(chain, FiledFiles(log), Verification(folders, quick, head, running, may_act), repairer)


def _write(verifier: "Verifier", output: OutputFormat, searched: bool) -> None:
    from imageguard_daemon.verification.discrepancies import csv_lines, json_lines, table

    with _progress() as progress:
        discrepancies = verifier.discrepancies(progress)
        if output is OutputFormat.table:
            shown = table(discrepancies, verifier, folders_searched=searched)
        else:
            lines = json_lines(discrepancies, verifier) if output is OutputFormat.json else csv_lines(discrepancies)
            _stream(lines)
    if output is OutputFormat.table:
        write(output, table=lambda: shown)


def _stream(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line.encode(), nl=False)  # bytes: UTF-8 whatever the terminal's locale is
    sys.stdout.flush()


@contextmanager
def _progress() -> "Iterator[Progress]":
    """Show a bar on standard error when that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with progress_bar(*columns) as bar:
        task = bar.add_task("records", total=None)
        stage = "records"

        def show(name: str, done: int, total: int | None) -> None:
            nonlocal stage
            if name != stage:
                bar.reset(task, description=name)
                stage = name
            bar.update(task, completed=done, total=total)

        yield show
