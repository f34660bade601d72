"""`quarantine`: look through what was rejected or accepted, and act on it: how many, sure, and what became of each."""

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.help_format import CommandLine
from imageguard_daemon.cli.options import (
    ConfigFile,
    DatabaseOrUrl,
    Format,
    OutputFormat,
    Root,
    login_name,
    settings_for,
    with_groups,
)
from imageguard_daemon.cli.output import log_warnings, plain_console, write
from imageguard_daemon.cli.selection_options import (
    ACCEPTED_STATES,
    Named,
    Place,
    SelectionOptions,
    StateName,
    named_images,
    require_known,
    selection_of,
    with_images,
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

Who = Annotated[str | None, typer.Option("--who", metavar="NAME", help="Who decides (default: your login name).")]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Why, for the record.")]
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
        ids, words = _count(selection, log)
        if not ids and not named.unknown:
            require_known(selection, log)
        archived = "" if ids else where_archived(log)
    if options.by_name:
        ids = named.ids or []
    _require_no_root_among(named.unknown, settings)
    missed = _report_missed(named, ids, command, archived)
    if not options.by_name and not agreed(command, f"{words}{archived}", len(ids)):
        raise typer.Exit(os.EX_NOINPUT if missed else os.EX_OK)
    carry_out(settings, ids, command)
    if missed:
        raise typer.Exit(os.EX_NOINPUT)


def _require_no_root_among(unknown: Sequence[str], settings: "Settings") -> None:
    """Act on nothing when a word may be a mistyped ROOT: the numbers beside it are of images of that root."""
    suffixes = settings.intake.image_suffixes
    if folders := [name for name in unknown if os.path.splitext(name)[1].lower() not in suffixes]:
        mistake = f"{printable(folders[0])} is neither a folder nor an image of {settings.root}"
        raise NoInputError(f"{mistake}; nothing was done. If it is meant as ROOT, it does not exist")


def _report_missed(named: Named, ids: Sequence[int], command: ReviewCommand, archived: str) -> bool:
    """Tell of images that were named and are not among those chosen; say whether there are any."""
    left_out = named.left_out(ids)
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
            for reviewed in command.function(acting, ids, reviewer):
                printer.show(reviewed)
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

    def show(self, reviewed: "Reviewed") -> None:
        from imageguard_daemon.review.rendering import PAST, RESULTS_SHOWN, result_line

        self._bar.advance(self._task)
        self.refused += not reviewed.done
        self._done[PAST[reviewed.action]] += reviewed.done
        if self._output is not OutputFormat.table:
            self._results.append(reviewed)
        elif (self._done.total() if reviewed.done else self.refused) <= RESULTS_SHOWN:
            typer.echo(result_line(reviewed))

    def finish(self) -> None:
        from imageguard_daemon.review.rendering import as_csv, result_as_dict

        self._bar.stop()
        rows = [result_as_dict(reviewed) for reviewed in self._results]
        if self._output is not OutputFormat.table:
            write(self._output, json=lambda: rows, csv=lambda: as_csv(rows))
        else:
            for verb, count in self._done.items():
                typer.echo(f"{count:,} {verb}" + (f", {self.refused:,} not" if self.refused else ""))


def _require_any(options: SelectionOptions, *, everything: bool = False) -> None:
    """Refuse to act on all images just because nothing was said."""
    if not (options.ids or options.paths or options.narrows or everything):
        raise UsageError("say which images: by number or path, or with --reason, --class, ... or --all")


def _require_some_accepted(options: SelectionOptions) -> None:
    """Refuse to act on all accepted images, or on those of a reason, which none has."""
    if options.reason is not None:
        raise UsageError("an accepted image has no --reason; what you have against it goes into --why")
    if not (options.ids or options.paths or options.narrows):
        raise UsageError("say which images: by number or path, or with --class, --since, --score, ...")


PAGE_SIZE = 50
_UNDONE = (StateName.released, StateName.confirmed, StateName.rejected, StateName.approved)


@dataclass(frozen=True, slots=True)
class Shape:
    """The options of every command that only looks."""

    database: DatabaseOrUrl = None
    output: Format = OutputFormat.table


app = CommandLine(
    no_args_is_help=True,
    help="Review images: release, confirm or purge rejected ones, reject or approve accepted ones.",
)

After = Annotated[
    int | None, typer.Option("--after", metavar="N", help="Continue after this number, the last of a page.")
]
All = Annotated[bool, typer.Option("--all", help="All images whose state allows it.")]
OlderThan = Annotated[
    str, typer.Option(metavar="AGE", help="Only images decided before then: 90d ago, or up to 2025-01-31.")
]


@app.command("list")
@with_groups
def list_(
    options: SelectionOptions, shape: Shape, root: Root = None, config_file: ConfigFile = None, after: After = None
) -> None:
    """List images, newest first: by default the rejected ones that wait for review.

    --state accepted lists what the daemon accepted and nobody has reviewed.

    A page has 50 images unless --limit says otherwise; --after continues where a page ended.
    """
    from imageguard_daemon.audit.quarantine_queries import page
    from imageguard_daemon.review import rendering

    size = options.limit or PAGE_SIZE
    settings = settings_for(root, config_file)
    with reading(shape.database or settings.audit.database) as log:
        named = named_images(options, log, str(settings.root), accepted=options.state in ACCEPTED_STATES)
        require_paths(named.unknown, log)
        selection = replace(selection_of(options, named.ids, [StateName.waiting]), limit=size + 1)
        images = page(log, selection, after)
        if not images:
            require_known(selection, log)
    images, more = images[:size], images[size - 1].id if len(images) > size else None
    write(
        shape.output,
        table=lambda: rendering.listing_as_table(images, more),
        json=lambda: {"images": [rendering.rejected_as_dict(image) for image in images], "next_after": more},
        csv=lambda: rendering.listing_as_csv(images),
    )


@app.command()
@with_groups
def show(place: Place, options: SelectionOptions, shape: Shape) -> None:
    """Show single images: why they were rejected, and how they were reviewed.

    Accepted images too; by path only those that people have reviewed.
    """
    from imageguard_daemon.audit.quarantine_queries import page, reviews_of
    from imageguard_daemon.review import rendering

    root, options = with_images(place, options)
    if not options.ids and not options.paths:
        raise UsageError("name the images, by number or path")
    settings = settings_for(root, place.config_file)
    with reading(shape.database or settings.audit.database) as log:
        named = named_images(options, log, str(settings.root))
        images = page(log, selection_of(options, named.ids, [StateName.all]))
        reviews = {image.id: reviews_of(log, image.id) for image in images}
        require_paths([*named.unknown, *(str(number) for number in options.ids or () if number not in reviews)], log)
    write(
        shape.output,
        table=lambda: rendering.images_as_table(images, reviews),
        json=lambda: [rendering.image_as_dict(image, reviews[image.id]) for image in images],
        csv=lambda: rendering.listing_as_csv(images),
    )


@app.command()
@with_groups
def release(place: Place, options: SelectionOptions, review: ReviewOptions, everything: All = False) -> None:
    """Move images, with their sidecars, to accepted. `undo` reverts it.

    An image that a person rejected goes back to where it was, as by `undo`.
    """
    _act("release", place, options, review, [StateName.waiting], everything=everything)


@app.command()
@with_groups
def confirm(place: Place, options: SelectionOptions, review: ReviewOptions, everything: All = False) -> None:
    """Record that rejecting these images was right. Nothing moves; only confirmed images can be purged."""
    _act("confirm", place, options, review, [StateName.waiting], everything=everything)


@app.command()
@with_groups
def reject(place: Place, options: SelectionOptions, review: ReviewOptions) -> None:
    """Move accepted images, with their sidecars, to quarantine. `undo` reverts it.

    They count as bad images that the daemon missed, in reports and for `calibrate --reviews`.
    """
    _act("reject", place, options, review, [StateName.accepted])


@app.command()
@with_groups
def approve(place: Place, options: SelectionOptions, review: ReviewOptions) -> None:
    """Record that accepting these images was right. Nothing moves; they are no longer listed as accepted."""
    _act("approve", place, options, review, [StateName.accepted])


@app.command()
@with_groups
def undo(place: Place, options: SelectionOptions, review: ReviewOptions, everything: All = False) -> None:
    """Revert releases (files return to quarantine), rejections by people (to accepted), confirmations and approvals.

    `--action rejudge` reverts what `rejudge` released; `--reviewed-since 2h` what was done in the last two hours.
    """
    _act("undo", place, options, review, _UNDONE, everything=everything)


@app.command()
@with_groups
def purge(
    options: SelectionOptions,
    review: ReviewOptions,
    older_than: OlderThan,
    root: Root = None,
    config_file: ConfigFile = None,
) -> None:
    """Delete confirmed images older than an age, with their sidecars, for good. Without --yes it only lists them.

    Images that a person rejected need no confirmation, but the rejection must be that old too. The records of the
    images, and of who confirmed or rejected them, stay.
    """
    from datetime import UTC, datetime

    from imageguard_daemon.reporting.period import parse_age
    from imageguard_daemon.review import acting

    before = parse_age("--older-than", older_than, datetime.now(UTC))
    until = f"{before:%Y-%m-%dT%H:%M:%S.%fZ}"
    if options.until is not None:
        raise UsageError("purge takes --older-than instead of --until")
    command = ReviewCommand("purge", acting.purge, review, irrevocable=True, rejected_until=before)
    states = [StateName.confirmed, StateName.rejected]
    act_on(settings_for(root, config_file), replace(options, until=until), command, states)


def _act(  # noqa: PLR0913 - what the options say
    verb: str,
    place: Place,
    options: SelectionOptions,
    review: ReviewOptions,
    states: Sequence[StateName],
    *,
    everything: bool = False,
) -> None:
    """Do with the images selected what the function of `review.acting` with the command's name does."""
    from imageguard_daemon.review import acting

    root, options = with_images(place, options)
    about_accepted = states == [StateName.accepted]
    if about_accepted:
        _require_some_accepted(options)
    else:
        _require_any(options, everything=everything)
    command = ReviewCommand(verb, getattr(acting, verb), review, about_accepted=about_accepted)
    act_on(settings_for(root, place.config_file), options, command, states)
