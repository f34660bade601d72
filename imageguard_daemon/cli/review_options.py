"""What the commands that act on images share: how many, are you sure, and what became of each."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.options import Format, OutputFormat
from imageguard_daemon.cli.output import log_warnings, plain_console, write
from imageguard_daemon.cli.selection_options import (
    Named,
    SelectionOptions,
    StateName,
    named_images,
    require_known,
    selection_of,
)
from imageguard_daemon.core.errors import NoInputError, UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from datetime import datetime

    from imageguard_daemon.audit.opening import LogPlace
    from imageguard_daemon.audit.quarantine_queries import Selection
    from imageguard_daemon.audit.store import Store
    from imageguard_daemon.config import Settings
    from imageguard_daemon.review.acting import Acting
    from imageguard_daemon.review.values import Reviewed, Reviewer

Who = Annotated[
    str | None,
    typer.Option("--who", metavar="NAME", show_default=False, help="Who decides (default: your login name)."),
]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", show_default=False, help="Why, for the record.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do it; without it, the images are counted and you are asked.")]


@dataclass(frozen=True, slots=True)
class ReviewOptions:
    """The options of every command that acts."""

    who: Who = None
    why: Why = ""
    yes: Yes = False
    output: Format = OutputFormat.table


@dataclass(frozen=True, slots=True)
class ReviewCommand:
    """What is to be done with the images selected, and how to tell of it."""

    verb: str
    function: "Callable[[Acting, Sequence[int], Reviewer], Iterator[Reviewed]]"
    review: ReviewOptions
    irrevocable: bool = False
    """Not even at a terminal is a nod enough: it takes --yes."""
    about_accepted: bool = False
    """It is about images that the daemon accepted."""
    rejected_until: "datetime | None" = None
    """Of what people rejected only what they rejected before then."""

    @property
    def kind(self) -> str:
        """Say which images it is about."""
        return "accepted" if self.about_accepted else "rejected"


def reading(database: "LogPlace") -> "Store":
    """Open a log to ask about reviews."""
    from imageguard_daemon.audit.opening import open_log

    return open_log(database, complete=True)


def require_paths(unknown: Sequence[str], log: "Store") -> None:
    """End the command when images were named that are not there."""
    from imageguard_daemon.audit.archive.archived_files import where_archived

    if unknown:
        names = ", ".join(map(printable, unknown))
        raise NoInputError(f"no rejected image is called {names}{where_archived(log)}")


def act_on(
    settings: "Settings", options: SelectionOptions, command: ReviewCommand, states: Sequence[StateName]
) -> None:
    """Select images, say how many, and do it when that was asked for; ends the command."""
    from imageguard_daemon.audit.archive.archived_files import where_archived

    with reading(settings.audit.database) as log:
        named = named_images(options, log, str(settings.root), accepted=command.about_accepted)
        selection = replace(selection_of(options, named.ids, states), rejected_until=command.rejected_until)
        chosen, words = _count(selection, log)
        if not chosen and not named.unknown:
            require_known(selection, log)
        archived = "" if chosen else where_archived(log)
    if options.by_name:
        chosen = named.ids or []
    _require_no_root_among(named.unknown, settings)
    missed = _report_missed(named, chosen, command, archived)
    if not options.by_name and not agreed(command, f"{words}{archived}", len(chosen)):
        raise typer.Exit(os.EX_NOINPUT if missed else os.EX_OK)
    carry_out(settings, chosen, command)
    if missed:
        raise typer.Exit(os.EX_NOINPUT)


def _require_no_root_among(unknown: Sequence[str], settings: "Settings") -> None:
    """Act on nothing when a word may be a mistyped ROOT: the numbers beside it are of images of that root."""
    suffixes = settings.intake.image_suffixes
    if folders := [one for one in unknown if os.path.splitext(one)[1].lower() not in suffixes]:
        told = f"{printable(folders[0])} is neither a folder nor an image of {settings.root}"
        raise NoInputError(f"{told}; nothing was done. If it is meant as ROOT, it does not exist")


def _report_missed(named: Named, chosen: Sequence[int], command: ReviewCommand, archived: str) -> bool:
    """Tell of images that were named and are not among those chosen; say whether there are any."""
    left_out = named.left_out(chosen)
    for path in named.unknown:
        typer.echo(f"error: no {command.kind} image is called {printable(path)}{archived}", err=True)
    for name in left_out:
        typer.echo(
            f"error: image {printable(name)} is not selected: another option leaves it out, or it is not there",
            err=True,
        )
    return bool(named.unknown or left_out)


def _count(selection: "Selection", log: "Store") -> tuple[list[int], str]:
    from imageguard_daemon.audit.quarantine_queries import selected
    from imageguard_daemon.review.rendering import reasons_in_words, size_in_words

    ids, reasons, total_bytes = [], Counter[str](), 0
    for decision_id, reason, size_bytes in selected(log, selection):
        ids.append(decision_id)
        reasons[reason] += 1
        total_bytes += size_bytes
    return ids, f"{reasons_in_words(reasons)}, {size_in_words(total_bytes)}"


def agreed(command: ReviewCommand, words: str, count: int) -> bool:
    """Say what is selected and find out whether to go on."""
    typer.echo(f"{command.verb}: {words}", err=True)
    if command.review.yes or not count:
        return bool(count)
    if sys.stdin.isatty() and not command.irrevocable:
        return typer.confirm(f"{command.verb} them?", err=True)
    typer.echo(f"Nothing was done. Add --yes to {command.verb} them.", err=True)
    return False


def carry_out(settings: "Settings", ids: Sequence[int], command: ReviewCommand) -> None:
    """Do it, with progress at a terminal, and tell; ends the command with 65 when something could not be done."""
    from imageguard_daemon.review.acting import acting_on
    from imageguard_daemon.review.values import Reviewer

    log_warnings()
    reviewer = Reviewer(command.review.who or login_name(), command.review.why)
    printer = _ResultPrinter(command.review.output, len(ids))
    with acting_on(settings) as acting:
        try:
            for one in command.function(acting, ids, reviewer):
                printer.show(one)
        finally:
            printer.finish()
    if printer.refused:
        raise typer.Exit(os.EX_DATAERR)


class _ResultPrinter:
    """Prints results as they come: some lines for people, all of them for programs at the end."""

    def __init__(self, output: OutputFormat, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._output = output
        self._results: list[Reviewed] = []
        self._done: Counter[str] = Counter()
        self.refused = 0
        console = plain_console(stderr=True)
        columns = (BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal or total < 2)
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def show(self, one: "Reviewed") -> None:
        from imageguard_daemon.review.rendering import PAST, RESULTS_SHOWN, result_line

        self._bar.advance(self._task)
        self.refused += not one.done
        self._done[PAST[one.action]] += one.done
        if self._output is not OutputFormat.table:
            self._results.append(one)
        elif (not one.done and self.refused <= RESULTS_SHOWN) or (one.done and self._done.total() <= RESULTS_SHOWN):
            typer.echo(result_line(one))

    def finish(self) -> None:
        from imageguard_daemon.review.rendering import as_csv, result_as_dict

        self._bar.stop()
        rows = [result_as_dict(one) for one in self._results]
        if self._output is not OutputFormat.table:
            write(self._output, json=lambda: rows, csv=lambda: as_csv(rows))
        else:
            for verb, count in self._done.items():
                typer.echo(f"{count:,} {verb}" + (f", {self.refused:,} not" if self.refused else ""))


def login_name() -> str:
    """Give the name of who typed the command, also behind sudo."""
    import pwd

    behind_sudo = os.environ.get("SUDO_USER")
    if behind_sudo and os.geteuid() == 0:
        return behind_sudo
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def require_any(options: SelectionOptions, *, everything: bool = False) -> None:
    """Refuse to act on all images just because nothing was said."""
    if not (options.ids or options.paths or options.narrows or everything):
        raise UsageError("say which images: by number or path, or with --reason, --class, ... or --all")


def require_some_accepted(options: SelectionOptions) -> None:
    """Refuse to act on all accepted images, or on those of a reason, which none has."""
    if options.reason is not None:
        raise UsageError("an accepted image has no --reason; what you have against it goes into --why")
    if not (options.ids or options.paths or options.narrows):
        raise UsageError("say which images: by number or path, or with --class, --since, --score, ...")
