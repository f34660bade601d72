"""The options by which images are selected, the same for every command that lists or acts on them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.options import ConfigFile, Root, offer_issues, offer_score_ranges
from imageguard_daemon.cli.report import CameraName, ClassName, Since, SourceName, Until
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import ISSUES, SCORE_NAMES

if TYPE_CHECKING:
    from datetime import datetime

    from imageguard_daemon.audit.counts import Scope
    from imageguard_daemon.audit.quarantine_queries import Selection
    from imageguard_daemon.audit.quarantine_queries import State as ImageState
    from imageguard_daemon.audit.store import Store


class StateName(StrEnum):
    """What became of an image, by the daemon's verdict and what people have said of it."""

    waiting = "waiting"
    confirmed = "confirmed"
    released = "released"
    rejected = "rejected"
    purged = "purged"
    returned = "returned"
    accepted = "accepted"
    approved = "approved"
    all = "all"


ACCEPTED_STATES = (StateName.accepted, StateName.approved)
"""The states of images that nobody ever rejected."""


class ActionName(StrEnum):
    """What the latest review of an image was."""

    release = "release"
    rejudge = "rejudge"
    confirm = "confirm"
    reject = "reject"
    approve = "approve"


Ids = Annotated[
    list[int] | None, typer.Option("--id", metavar="N", help="The image with this number; may be repeated.")
]
Paths = Annotated[
    list[str] | None,
    typer.Option(
        "--path",
        metavar="PATH",
        help="Every image that ever came under this path of the inbox, or was filed there; may be repeated.",
    ),
]
Images = Annotated[
    list[str] | None,
    typer.Argument(metavar="IMAGE...", help="Images, by number or path; ROOT before them is optional."),
]
Reason = Annotated[
    str | None,
    typer.Option("--reason", metavar="ISSUE", help="Only for this reason, e.g. blurry.", autocompletion=offer_issues),
]
ScoreRanges = Annotated[
    list[str] | None,
    typer.Option(
        "--score",
        metavar="NAME=LOW..HIGH",
        help="Only with this score in this range, e.g. blur_score=30..40 or score=0.4..; may be repeated.",
        autocompletion=offer_score_ranges,
    ),
]
Borderline = Annotated[
    bool | None,
    typer.Option("--borderline", help="Only borderline images: near a threshold, where good and bad ones mix."),
]
State = Annotated[
    StateName | None, typer.Option("--state", help="Only images in this state; all: all that were ever rejected.")
]
Action = Annotated[ActionName | None, typer.Option("--action", help="Only images whose latest review was this action.")]
ReviewedSince = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only images whose latest review was since then, e.g. 2h.")
]
Limit = Annotated[
    int | None, typer.Option("--limit", metavar="N", min=1, help="Maximum number of images, newest first.")
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look, and the images typed as arguments."""

    root: Root = None
    images: Images = None
    config_file: ConfigFile = None


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """The selection options of one command, as given."""

    ids: Ids = None
    paths: Paths = None
    reason: Reason = None
    class_name: ClassName = None
    source: SourceName = None
    camera: CameraName = None
    since: Since = None
    until: Until = None
    scores: ScoreRanges = None
    borderline: Borderline = None
    state: State = None
    action: Action = None
    reviewed_since: ReviewedSince = None
    limit: Limit = None

    @property
    def by_name(self) -> bool:
        """Whether single images are named, and nothing narrows that down."""
        return bool(self.ids or self.paths) and not self.narrows

    @property
    def narrows(self) -> bool:
        """Whether anything other than single images is asked for."""
        others = [getattr(self, field.name) for field in fields(self) if field.name not in {"ids", "paths"}]
        return any(value is not None for value in others)


def with_images(place: Place, options: SelectionOptions) -> tuple[Path | None, SelectionOptions]:
    """Take the images typed as arguments for what `--id` and `--path` name; what is not a folder is not the ROOT."""
    root, typed = place.root, list(place.images or ())
    if root is not None and not root.is_dir() and root.suffix not in {".yaml", ".yml"}:
        typed.insert(0, str(root))
        root = None
    ids = [int(word) for word in typed if word.isdecimal()]
    paths = [word for word in typed if not word.isdecimal()]
    return root, replace(
        options, ids=[*(options.ids or ()), *ids] or None, paths=[*(options.paths or ()), *paths] or None
    )


def selection_of(options: SelectionOptions, ids: Sequence[int] | None, states: Sequence[StateName]) -> "Selection":
    """Turn the options into a selection; `states` are those meant where none is asked for.

    Single images are meant in whatever state they are: what makes no sense for one is told of that one.
    """
    from imageguard_daemon.audit.quarantine_queries import Selection
    from imageguard_daemon.config import did_you_mean

    if options.reason is not None and options.reason not in ISSUES:
        raise UsageError(f"--reason {options.reason}: no such issue{did_you_mean(options.reason, ISSUES)}")
    reviewed_since, reviewed_until = _reviewed_period(options.reviewed_since)
    return Selection(
        _scope(options),
        options.reason,
        _states(options, states),
        dict(map(_score_range, options.scores or ())),
        None if ids is None else tuple(ids),
        options.limit,
        options.action,
        reviewed_since,
        options.borderline or None,
        reviewed_until,
    )


def _states(options: SelectionOptions, otherwise: Sequence[StateName]) -> "tuple[ImageState, ...]":
    from imageguard_daemon.audit.quarantine_queries import EVER_QUARANTINED, STATES

    if options.state is StateName.all:
        return STATES if options.ids or options.paths else EVER_QUARANTINED
    if options.state is None and (options.ids or options.paths):
        return STATES
    wanted = otherwise if options.state is None else [options.state]
    return tuple(state.value for state in wanted)  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Named:
    """The images named one by one: each `--id` and `--path` with the numbers it stands for."""

    found: Sequence[tuple[str, Sequence[int]]] = ()

    @property
    def ids(self) -> list[int] | None:
        """The numbers, each once; None when no image is named."""
        return list(dict.fromkeys(number for _, ids in self.found for number in ids)) if self.found else None

    @property
    def unknown(self) -> list[str]:
        """The paths that no image has."""
        return [name for name, ids in self.found if not ids]

    def left_out(self, selected: Sequence[int]) -> list[str]:
        """Give the names that stand for images of which none was chosen."""
        numbers = set(selected)
        return [name for name, ids in self.found if ids and not numbers.intersection(ids)]


def named_images(options: SelectionOptions, log: "Store", root: str, *, accepted: bool = False) -> Named:
    """Look up the images named.

    Those with a path are looked for among what the daemon accepted, or else what it rejected and people have reviewed.
    """
    from imageguard_daemon.audit.quarantine_queries import ids_of

    by_path = ids_of(log, options.paths or [], root, accepted=accepted) if options.paths else {}
    return Named([*((str(number), [number]) for number in options.ids or ()), *by_path.items()])


def require_known(selection: "Selection", log: "Store") -> None:
    """Say so when nothing was found because of a name that the log has never seen; errors are those of reports."""
    from imageguard_daemon.audit.columns import open_columns

    with open_columns(log) as columns:
        columns.require_known(selection.scope)


def _scope(options: SelectionOptions) -> "Scope":
    from datetime import UTC, datetime

    from imageguard_daemon.audit.counts import Scope
    from imageguard_daemon.reporting.period import parse_period

    period = parse_period(options.since, options.until, datetime.now(UTC))
    return Scope(*period, options.source, options.class_name, options.camera)


def _reviewed_period(since: str | None) -> "tuple[datetime | None, datetime | None]":
    from datetime import UTC, datetime

    from imageguard_daemon.reporting.period import end_of, parse_since

    now = datetime.now(UTC)
    first = None if since is None else parse_since("--reviewed-since", since, now)
    return first, end_of(first, None, now)


def _score_range(text: str) -> tuple[str, tuple[float, float]]:
    from imageguard_daemon.config import did_you_mean

    name, _, span = text.partition("=")
    scores = (*SCORE_NAMES, "score")
    if name not in scores:
        raise UsageError(f"--score {text}: no such score{did_you_mean(name, scores)}")
    low, dots, high = span.partition("..")
    try:
        ends = float(low or "-inf"), float((high or "inf") if dots else low)
    except ValueError:
        raise UsageError(f"--score {text}: expected NAME=LOW..HIGH, e.g. blur_score=30..40") from None
    if not ends[0] <= ends[1]:
        raise UsageError(f"--score {text}: {low} is not below {high}")
    return name, ends
