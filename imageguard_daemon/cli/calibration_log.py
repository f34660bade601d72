"""What `calibrate --log` needs: images of a log as examples, and what a proposal would have decided about them."""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.core.errors import NoInputError, UsageError
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from imageguard_daemon.audit.reviewed_images import Census
    from imageguard_daemon.audit.store import Store
    from imageguard_daemon.calibration.logged import FromLog, LoggedImages
    from imageguard_daemon.calibration.proposal import Proposal
    from imageguard_daemon.config import Settings


@dataclass(frozen=True, slots=True)
class AskedOfLog:
    """Which decisions of which log: options as given, `text` those that other commands take as well."""

    place: Path
    config: Path | None
    scope: Scope
    text: str


@dataclass(frozen=True, slots=True)
class LoggedExamples:
    """The examples, with the source they are of and the preset it has."""

    source: str
    preset: str
    census: "Census"
    sampled: int
    images: "LoggedImages"
    archived: str = ""
    """Where older records are, as the end of a sentence."""


def examples_of(asked: AskedOfLog, preset: str | None, scorer_version: str) -> LoggedExamples:
    """Read the examples from the log: images that the scorer of this version measured.

    Raises:
        UsageError: it has several sources and none is named, or not the one that is.
        NoInputError: that scorer measured none of them.
    """
    from imageguard_daemon.audit.archive.archived_files import where_archived
    from imageguard_daemon.audit.reviewed_images import census, samples
    from imageguard_daemon.calibration.logged import logged_images
    from imageguard_daemon.reporting.query import columns_for

    settings = _settings(asked)
    with _log_of(asked, settings) as log:
        with columns_for(log, asked.scope) as columns:
            made, ids = census(columns, asked.scope, scorer_version)
        source = _the_source(made)
        _require_measured(made, scorer_version)
        images = logged_images(samples(log, replace(asked.scope, source=source), ids))
        archived = where_archived(log)
    configured = next((one.preset for one in settings.sources if one.name == source), None) if settings else None
    chosen = preset or configured or made.presets.most_common(1)[0][0]
    return LoggedExamples(source, chosen, made, len(images.good) + len(images.bad), images, archived)


def judged_by(proposal: "Proposal", found: LoggedExamples, asked: AskedOfLog) -> "FromLog":
    """Say what the proposal would have decided about all of the log in scope, and what comes next."""
    from imageguard_daemon.calibration.logged import FromLog, changed, next_commands
    from imageguard_daemon.reporting.query import simulation_of
    from imageguard_daemon.reporting.simulation import Rules

    scope = replace(asked.scope, source=found.source)
    rules = Rules(changed(proposal), proposal.preset_name, scorer_version=proposal.scorer_version)
    with _log_of(asked, _settings(asked)) as log:
        made = simulation_of(log, scope, rules)
    told = found.census
    options = f"--source {shlex.quote(printable(found.source))}{asked.text}"
    return FromLog(
        found.source,
        told.measured,
        found.sampled,
        found.images.released,
        told.unmeasured,
        told.other_versions,
        told.unreadable,
        made,
        next_commands(proposal, *_where(asked, found.source), options),
    )


def _the_source(made: "Census") -> str:
    if not made.sources:
        raise NoInputError("the log has no decisions in scope")
    if len(made.sources) > 1:
        known = ", ".join(f"{printable(name)} ({images:,} images)" for name, images in made.sources.most_common())
        raise UsageError(
            f"the log has several sources, which have thresholds of their own; --source names one: {known}"
        )
    return next(iter(made.sources))


def _require_measured(made: "Census", scorer_version: str) -> None:
    if not made.measured and made.other_versions:
        versions = ", ".join(map(printable, made.other_versions))
        own = "; --config or --readout names the readout that took them, or" if "+" in versions else ";"
        raise NoInputError(
            f"none of the images was measured by scorer version {scorer_version}, but by {versions}, whose scores mean "
            f"other things{own} calibrate on a folder of the images"
        )


def _settings(asked: AskedOfLog) -> "Settings | None":
    from imageguard_daemon.cli.options import settings_for

    return settings_for(None if asked.place.is_file() else asked.place, asked.config) if asked.config else None


def _log_of(asked: AskedOfLog, settings: "Settings | None") -> "Store":
    from imageguard_daemon.audit.opening import open_log

    if asked.place.is_file():
        return open_log(asked.place)
    return open_log(settings.audit.database if settings else asked.place / "audit.db")


def _where(asked: AskedOfLog, source: str) -> tuple[str, str]:
    """Give the arguments by which other commands find this log, and the images; a copy of a log has none."""
    if asked.place.is_file():
        return f"--db {shlex.quote(str(asked.place))}", ""
    root = shlex.quote(str(asked.place))
    if asked.config:
        return (f"{root} --config {shlex.quote(str(asked.config))}",) * 2
    # Where the files of a source lie only the configuration knows, unless it is the one there is without.
    return root, root if source == "default" else f"{root} --config FILE"
