"""`calibrate`: thresholds proposed from the user's own images, in folders or in a log."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.cli.judging import Readout, readout_in_force, settings_of
from imageguard_daemon.cli.options import ConfigFile, offer_presets
from imageguard_daemon.cli.output import log_warnings, plain_console, progress_bar, write
from imageguard_daemon.cli.report import ClassName, Since, SourceName, Until
from imageguard_daemon.core.errors import NoInputError, UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from rich.console import Console

    from imageguard_daemon.audit.reviewed_images import Census
    from imageguard_daemon.audit.store import Store
    from imageguard_daemon.calibration.proposal import Proposal
    from imageguard_daemon.calibration.rendering import FromLog
    from imageguard_daemon.calibration.samples import Collection, LoggedImages
    from imageguard_daemon.config import Scoring, Settings
    from imageguard_daemon.core.model import Measurement
    from imageguard_daemon.quality.readout import Readout as OwnReadout

_Measured = list[tuple[str, "Measurement"]]


class ProposalFormat(StrEnum):
    """How a proposal is written to standard output."""

    yaml = "yaml"
    table = "table"
    json = "json"
    csv = "csv"


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Which decisions of which log: options as given, `text` those that other commands take as well."""

    place: Path
    config: Path | None
    scope: Scope
    text: str

    def settings(self) -> "Settings | None":
        """Load the configuration, if one is named."""
        from imageguard_daemon.cli.options import settings_for

        return settings_for(None if self.place.is_file() else self.place, self.config) if self.config else None

    def open(self) -> "Store":
        """Open the log."""
        from imageguard_daemon.audit.opening import open_log

        if self.place.is_file():
            return open_log(self.place)
        settings = self.settings()
        return open_log(settings.audit.database if settings else self.place / "audit.db")

    def arguments(self, source: str) -> tuple[str, str]:
        """Give the arguments by which other commands find this log, and the images; a copy of a log has none."""
        if self.place.is_file():
            return f"--db {shlex.quote(str(self.place))}", ""
        root = shlex.quote(str(self.place))
        if self.config:
            return (f"{root} --config {shlex.quote(str(self.config))}",) * 2
        # Where the files of a source lie only the configuration knows, unless it is the one there is without.
        return root, root if source == "default" else f"{root} --config FILE"


@dataclass(frozen=True, slots=True)
class LoggedExamples:
    """The examples, with the source they are of and the preset it has."""

    source: str
    preset: str
    census: "Census"
    images: "LoggedImages"
    archived: str = ""
    """Where older records are, as the end of a sentence."""


Good = Annotated[Path | None, typer.Argument(metavar="GOOD_FOLDER", help="Images that should all be accepted.")]
Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="ROOT",
        help="Instead of a folder: images of this root's log (or of an audit database), by their recorded measures.",
    ),
]
Bad = Annotated[Path | None, typer.Option("--bad", metavar="FOLDER", help="Images that should be rejected.")]
MaxReject = Annotated[
    str, typer.Option(metavar="SHARE", help="Share of the good images that may be rejected in all, e.g. 1% or 0.01.")
]
Confidence = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE",
        help="Make --max-reject hold for future images, with this confidence, e.g. 95%: needs 309 good images for 1%.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="Where to start from: general (default), fine_grained, detection, segmentation, small_images or "
        "documents; with --log the preset that the source has.",
        autocompletion=offer_presets,
    ),
]
Reviews = Annotated[
    Path | None,
    typer.Option(
        "--reviews",
        metavar="ROOT",
        help="Images that people released or approved count as good, those that they confirmed or rejected as bad: a "
        "root with an audit.db, or an audit database. Their recorded measures are taken.",
    ),
]
Form = Annotated[
    ProposalFormat, typer.Option("--format", "-f", help="yaml: the configuration, with the preview on standard error.")
]


def calibrate(  # noqa: PLR0913, PLR0917 - one parameter for each option
    good: Good = None,
    log: Log = None,
    bad: Bad = None,
    max_reject: MaxReject = "1%",
    confidence: Confidence = None,
    preset: Preset = None,
    reviews: Reviews = None,
    source: SourceName = None,
    class_name: ClassName = None,
    since: Since = None,
    until: Until = None,
    config_file: ConfigFile = None,
    readout: Readout = None,
    output: Form = ProposalFormat.yaml,
) -> None:
    """Propose thresholds from your own images; print them as YAML for the configuration.

    The preset's thresholds are lowered only as far as it takes to accept enough of the good images; none becomes
    stricter, except with --bad and on evidence. At least 10 good images are needed, 300 for 1%. Sub-folders are
    searched, links are not followed, and nothing is moved or recorded. With --confidence the share holds for future
    images, not only for these.

    With --log no images are needed: those that people rejected, or confirmed as rejected, count as bad, all others of
    the source as good, so review some first. It also prints what the proposal would have decided, and the next steps.

    Exits 0 with a proposal, and 66 if a file could not be read or too few could be measured.
    """
    from imageguard_daemon.calibration.proposal import make_held_proposal, make_proposal
    from imageguard_daemon.calibration.rendering import warnings
    from imageguard_daemon.quality.readout import scorer_by

    share, sure = _parse_share(max_reject), _parse_confidence(confidence, max_reject)
    _require_preset(preset or "general")
    log_request = _log_request(good, log, (source, class_name, since, until), config_file)
    _require_apart(good, bad)
    settings = settings_of(config_file, None, readout, log if log and log.is_dir() else None)
    own = readout_in_force(settings, readout)
    scorer_version = scorer_by(own)
    console = log_warnings()
    if reviews is not None:
        _open_reviews(reviews).close()  # before anything is measured: it takes long
    logged = examples_of(log_request, preset, scorer_version) if log_request else None
    measured, unreadable = _measure([folder for folder in (good, bad) if folder], (settings.scoring, own), console)
    if logged:
        bad_images = [image for folder in measured for image in folder]
        measured = [logged.images.good, [*logged.images.bad, *bad_images]]
    if reviews is not None:
        measured = _with_reviewed(measured, reviews, scorer_version, console)
    made_from = (
        *_collections(measured, logged.archived if logged else ""),
        logged.preset if logged else preset or "general",
        share,
    )
    proposal = make_proposal(*made_from) if sure is None else make_held_proposal(*made_from, sure)
    proposal = replace(proposal, scorer_version=scorer_version)
    for warning in warnings(proposal):
        console.print(f"warning: {warning}", style="yellow")
    _write(proposal, output, console, judged_by(proposal, logged, log_request) if logged and log_request else None)
    for name, error in unreadable.items():
        typer.echo(f"error: {printable(name)}: {error}", err=True)
    raise typer.Exit(os.EX_NOINPUT if unreadable else os.EX_OK)


def _log_request(
    good: Path | None, log: Path | None, scope: tuple[str | None, ...], config_file: Path | None
) -> LogRequest | None:
    """Check that the options fit together; None without a log."""
    from datetime import UTC, datetime

    from imageguard_daemon.audit.counts import Scope
    from imageguard_daemon.reporting.period import parse_period

    source, class_name, since, until = scope
    if (good is None) == (log is None):
        raise UsageError("name either a folder of good images, or a log with --log")
    if log is None:
        if any(part is not None for part in scope):
            raise UsageError("--source, --class, --since and --until choose among the images of a --log")
        return None
    if not log.exists():
        raise NoInputError(f"{printable(str(log))} does not exist")
    options = (("--class", class_name), ("--since", since), ("--until", until))
    text = "".join(f" {name} {shlex.quote(value)}" for name, value in options if value is not None)
    period = parse_period(since, until, datetime.now(UTC))
    return LogRequest(log, config_file, Scope(*period, source, class_name), text)


def _parse_share(text: str) -> float:
    share = _share_of(text)
    if not 0 <= share <= 0.5:
        raise UsageError(f"--max-reject {text}: expected a share from 0 to 50 %, e.g. 1% or 0.01")
    return share


def _parse_confidence(text: str | None, max_reject: str) -> float | None:
    if text is None:
        return None
    confidence = _share_of(text)
    if not 0.5 <= confidence <= 0.9999:
        raise UsageError(f"--confidence {text}: expected a share from 50 to 99.99 %, e.g. 95% or 0.95")
    if not _parse_share(max_reject):
        raise UsageError(f"--max-reject {max_reject}: no number of images can show that none is rejected; give another")
    return confidence


def _share_of(text: str) -> float:
    """Read a share as people write it; below 0 where it is none."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    return float(match[1]) / (100 if match[2] else 1) if match else -1.0


def _require_preset(name: str) -> None:
    from imageguard_daemon.quality.policy import thresholds_for

    try:
        thresholds_for(name)
    except ValueError as error:
        raise UsageError(f"--preset: {error}") from error


def _require_apart(good: Path | None, bad: Path | None) -> None:
    for folder in filter(None, (good, bad)):
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "is not there"
            raise NoInputError(f"{printable(str(folder))} {what}")
    if good and bad and (good.resolve().is_relative_to(bad.resolve()) or bad.resolve().is_relative_to(good.resolve())):
        raise UsageError("the folders of good and bad images must not be the same or lie in one another")


def _measure(
    folders: Sequence[Path], by: "tuple[Scoring, OwnReadout | None]", console: "Console"
) -> tuple[list[_Measured], dict[str, str]]:
    """Measure all images of the folders; gives a list for each, and the files that could not be read."""
    from rich.progress import BarColumn, MofNCompleteColumn, TimeRemainingColumn

    from imageguard_daemon.batch.judging import why_unread
    from imageguard_daemon.sandbox.workers import measure_files

    unreadable: dict[str, str] = {}
    images = _images_of(folders, unreadable, console)
    paths = [path for of_folder in images for path in of_folder]
    measured: dict[str, Measurement] = {}
    with progress_bar(BarColumn(bar_width=None), MofNCompleteColumn(), TimeRemainingColumn()) as bar:
        for finished in bar.track(measure_files(paths, by[0], readout=by[1]), total=len(paths)):
            name = finished.candidate.relative_path
            if finished.measurement is None:
                unreadable[name] = why_unread(finished.error)
            else:
                measured[name] = finished.measurement
    return [[(path, measured[path]) for path in of_folder if path in measured] for of_folder in images], unreadable


def _images_of(folders: Sequence[Path], unreadable: dict[str, str], console: "Console") -> list[list[str]]:
    """Give the images of each folder, in order, as the daemon would choose them; what is none is told."""
    from imageguard_daemon.batch.measuring import ImagesOfFolder
    from imageguard_daemon.config import Intake
    from imageguard_daemon.intake.rules.selection import Selection, SkipReason

    def note(path: str) -> None:
        unreadable[path] = str(SkipReason.unreadable)

    selection, left, paths = Selection.from_settings(Intake()), Counter[str](), []
    for folder in folders:
        images = ImagesOfFolder(str(folder), selection, (), note)
        paths.append(sorted(images))
        left.update(images.left)
    for folder, of_folder in zip(folders, paths, strict=True):
        if not of_folder:
            raise NoInputError(f"no images in {printable(str(folder))}")
    for why, count in left.items():
        console.print(f"{count:,} left out: {why}")
    return paths


def _open_reviews(place: Path) -> "Store":
    from imageguard_daemon.audit.opening import open_log

    return open_log(place / "audit.db" if place.is_dir() else place, complete=True)


def _with_reviewed(measured: list[_Measured], place: Path, scorer_version: str, console: "Console") -> list[_Measured]:
    """Add what people said of images."""
    from imageguard_daemon.audit.reviewed_images import reviewed_measures
    from imageguard_daemon.calibration.samples import reviewed_images

    with _open_reviews(place) as log:
        reviewed = reviewed_images(reviewed_measures(log), scorer_version)
    good_images, bad_images = len(reviewed.good), len(reviewed.bad)
    counts = f"{good_images:,} released or approved count as good, {bad_images:,} confirmed or rejected as bad"
    console.print(f"by reviews: {counts}")
    if reviewed.left_out:
        console.print(f"by reviews: {reviewed.left_out:,} left out, not measured by scorer version {scorer_version}")
    good, bad = (*measured, [])[:2]
    return [[*good, *reviewed.good], [*bad, *reviewed.bad]]


def _collections(measured: Sequence[_Measured], archived: str) -> "tuple[Collection, Collection]":
    from imageguard_daemon.calibration.proposal import MIN_IMAGES
    from imageguard_daemon.calibration.samples import collect

    good, bad = (*measured, [])[:2]
    collections = (
        collect(good, frozenset(measurement.sha256 for _, measurement in bad)),
        collect(bad, frozenset(measurement.sha256 for _, measurement in good)),
    )
    if len(collections[0].samples) < MIN_IMAGES:
        raise NoInputError(f"{_too_few(collections[0])}{archived}")
    return collections


def _too_few(good: "Collection") -> str:
    """Say how many good images count, and what became of the others."""
    from imageguard_daemon.calibration.proposal import MIN_IMAGES

    issues = Counter(why.partition(":")[0] for why in good.unmeasured.values())
    others = {
        "identical to another": len(good.duplicates),
        "also among the bad images": len(good.contradictions),
        **issues,
    }
    counts = ", ".join(f"{count:,} {what}" for what, count in others.items() if count)
    not_counted = f" (not counted: {counts})" if counts else ""
    return f"{MIN_IMAGES} different good images are needed; there are {len(good.samples)}{not_counted}"


def _write(proposal: "Proposal", output: ProposalFormat, to_people: "Console", of_log: "FromLog | None") -> None:
    from imageguard_daemon.calibration.rendering import as_csv, as_dict, as_yaml, log_as_dict

    if output is ProposalFormat.table:
        _preview(proposal, of_log, plain_console())
        return
    if output is ProposalFormat.yaml:
        _preview(proposal, of_log, to_people)
        to_people.print()
    write(
        output,
        json=lambda: as_dict(proposal) | ({"log": log_as_dict(of_log)} if of_log else {}),
        csv=lambda: as_csv(proposal),
        yaml=lambda: as_yaml(proposal, of_log.source if of_log else "default"),
    )


def _preview(proposal: "Proposal", of_log: "FromLog | None", console: "Console") -> None:
    from imageguard_daemon.audit.counts import Scope
    from imageguard_daemon.calibration.rendering import as_preview, log_in_words
    from imageguard_daemon.reporting.simulation_rendering import simulation_as_table

    if of_log:
        for line in log_in_words(of_log):
            console.print(line)
    console.print(as_preview(proposal))
    if of_log:
        console.print()
        console.print(simulation_as_table(of_log.simulation, "the proposal", Scope(source=of_log.source)))
        console.print("\nTo try it, and to release what it accepts (counts first, --yes moves):", style="bold")
        for command in of_log.commands:
            console.print(command, soft_wrap=True)


def examples_of(request: LogRequest, preset: str | None, scorer_version: str) -> LoggedExamples:
    """Read the examples from the log: images that the scorer of this version measured.

    Raises:
        UsageError: it has several sources and none is named, or not the one that is.
        NoInputError: that scorer measured none of them.
    """
    from imageguard_daemon.audit.archive.archived_files import where_archived
    from imageguard_daemon.audit.reviewed_images import census, samples
    from imageguard_daemon.calibration.samples import logged_images
    from imageguard_daemon.reporting.query import columns_for

    with request.open() as log:
        with columns_for(log, request.scope) as columns:
            counted, ids = census(columns, request.scope, scorer_version)
        source = _the_source(counted)
        _require_measured(counted, scorer_version)
        images = logged_images(samples(log, replace(request.scope, source=source), ids))
        archived = where_archived(log)
    settings = request.settings()
    presets = {configured.name: configured.preset for configured in settings.sources} if settings else {}
    preset_name = preset or presets.get(source) or counted.presets.most_common(1)[0][0]
    return LoggedExamples(source, preset_name, counted, images, archived)


def judged_by(proposal: "Proposal", examples: LoggedExamples, request: LogRequest) -> "FromLog":
    """Say what the proposal would have decided about all of the log in scope, and what comes next."""
    from imageguard_daemon.calibration.rendering import FromLog, changed, next_commands
    from imageguard_daemon.reporting.query import simulation_of
    from imageguard_daemon.reporting.simulation import Rules

    scope = replace(request.scope, source=examples.source)
    rules = Rules(changed(proposal), proposal.preset_name, scorer_version=proposal.scorer_version)
    with request.open() as log:
        simulation = simulation_of(log, scope, rules)
    counted = examples.census
    options = f"--source {shlex.quote(printable(examples.source))}{request.text}"
    return FromLog(
        examples.source,
        counted.measured,
        len(examples.images.good) + len(examples.images.bad),
        examples.images.released,
        counted.unmeasured,
        counted.other_versions,
        counted.unreadable,
        simulation,
        next_commands(proposal, *request.arguments(examples.source), options),
    )


def _the_source(counted: "Census") -> str:
    if not counted.sources:
        raise NoInputError("the log has no decisions in scope")
    if len(counted.sources) > 1:
        names = ", ".join(f"{printable(name)} ({images:,} images)" for name, images in counted.sources.most_common())
        raise UsageError(
            f"the log has several sources, which have thresholds of their own; --source names one: {names}"
        )
    return next(iter(counted.sources))


def _require_measured(counted: "Census", scorer_version: str) -> None:
    if not counted.measured and counted.other_versions:
        versions = ", ".join(map(printable, counted.other_versions))
        own = "; --config or --readout names the readout that took them, or" if "+" in versions else ";"
        raise NoInputError(
            f"none of the images was measured by scorer version {scorer_version}, but by {versions}, whose scores mean "
            f"other things{own} calibrate on a folder of the images"
        )
