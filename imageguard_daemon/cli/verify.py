"""`imageguard-daemon verify`."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.options import ConfigFile, Database, Format, OutputFormat, Root, settings_for
from imageguard_daemon.cli.output import print_table, progress_bar
from imageguard_daemon.core.errors import NoInputError, UsageError

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings
    from imageguard_daemon.verification.verifier import Progress, Repairer, Verifier

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
        show_default=False,
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
    return [one for one in folders if not any(one.startswith(f"{other}/") for other in folders)]


@contextmanager
def _repairing(settings: "Settings") -> "Iterator[Repairer]":
    from imageguard_daemon.audit.opening import require_log_of_own
    from imageguard_daemon.audit.writer import AuditWriter
    from imageguard_daemon.core.locks import ActingLock, RootLock
    from imageguard_daemon.verification.inspection import LogRepairer

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
    repairer: "Repairer | None",
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
    from imageguard_daemon.verification.rendering import csv_lines, json_lines, table

    with _progress() as progress:
        found = verifier.discrepancies(progress)
        if output is OutputFormat.table:
            shown = table(found, verifier, folders_searched=searched)
        else:
            lines = json_lines(found, verifier) if output is OutputFormat.json else csv_lines(found)
            _stream(lines)
    if output is OutputFormat.table:
        print_table(shown)


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
