"""Questions about images to be reviewed: which there are, what people said of them, and where their files are.

An image's state follows from the daemon's verdict, which stays as it is, and the latest review that took effect; the
view `reviews` has no others.
"""

import heapq
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from imageguard_daemon.audit.counts import RecordedScores, Scope
from imageguard_daemon.audit.queries import (
    conditions_of,
    ids_in_period,
    likely,
    recorded_columns,
    recorded_row,
)
from imageguard_daemon.audit.schema import LAST_SEEN, decision_records, decisions, intents, reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import MAX_INT64, SCORE_NAMES, Role, Verdict
from imageguard_daemon.core.names import forms
from imageguard_daemon.core.timestamps import timestamp

State = Literal["waiting", "confirmed", "released", "purged", "returned", "accepted", "approved", "rejected"]
STATES: tuple[State, ...] = get_args(State)
STATE_AFTER: Mapping[Verdict, Mapping[str, State]] = {
    "quarantined": {
        "": "waiting",
        "undo": "waiting",
        "confirm": "confirmed",
        "release": "released",
        "rejudge": "released",
        "purge": "purged",
        "return": "returned",
    },
    "accepted": {
        "": "accepted",
        "undo": "accepted",
        "approve": "approved",
        "reject": "rejected",
        "purge": "purged",
        "return": "returned",
    },
}
"""What an image is after its latest review, by the daemon's verdict; the empty action stands for none."""
ACCEPTED_STATES: tuple[State, ...] = ("accepted", "approved")
"""What images are that never were in quarantine."""
EVER_QUARANTINED: tuple[State, ...] = tuple(state for state in STATES if state not in ACCEPTED_STATES)
"""What all others are: quarantined by the daemon, or by a person who rejected them; or put back since."""

_ROWS_AT_A_TIME = 5_000
_ANYTHING = Scope()


@dataclass(frozen=True, slots=True)
class Selection:
    """Which images; None means all. `scores` has ranges, both ends included, by the name of the score.

    `ids` are those of the decisions; an empty tuple selects nothing. `action`, `reviewed_since` (included) and
    `reviewed_until` (not included; both with their zones) are about the latest review.
    """

    scope: Scope = _ANYTHING
    reason: str | None = None
    states: tuple[State, ...] = ("waiting",)
    scores: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    ids: tuple[int, ...] | None = None
    limit: int | None = None
    action: str | None = None
    reviewed_since: datetime | None = None
    borderline: bool | None = None
    """Only those on which good and bad images mix, or only the others."""
    reviewed_until: datetime | None = None
    rejected_until: datetime | None = None
    """Of those that people rejected only what they rejected before then."""


class ListedImage(NamedTuple):
    """One image as listings show it; names are escaped. An accepted one has no reason."""

    id: int
    decided_at: str
    source: str
    class_name: str
    relative_path: str
    destination: str
    sha256: str
    size_bytes: int
    reason: str
    detail: str
    score: float
    scores: tuple[float | None, ...]
    borderline: bool
    state: State


@dataclass(frozen=True, slots=True)
class Review:
    """One review that took effect."""

    id: int
    reviewed_at: str
    action: str
    who: str
    why: str
    destination: str
    undoes: int | None


@dataclass(frozen=True, slots=True)
class ReviewableFile:
    """One file of an image where the log says it is; `origin` is its path in the inbox, both absolute and raw."""

    intent_id: int
    role: Role
    path: str
    origin: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ReviewableImage:
    """An image with what is needed to act on it; the image's own file comes first.

    `last_review` is the latest that took effect, `came_from` the path at which the image lay before that one moved it.
    """

    decision_id: int
    source: str
    relative_path: str
    verdict: Verdict
    state: State
    last_review: int | None
    files: tuple[ReviewableFile, ...]
    came_from: str = ""
    busy: bool = False
    """Whether a review of it has begun that neither took effect nor was given up."""


def page(log: Store, selection: Selection, after: int | None = None) -> list[ListedImage]:
    """Give the images selected, newest first, those with smaller ids than `after` only."""
    columns = (
        *("id", "decided_at", "source", "class", "relative_path", "destination", "sha256", "size_bytes"),
        *("reason", "detail", "score", *SCORE_NAMES, "borderline", "verdict"),
    )
    query = sa.select(*(decisions.c[name] for name in columns), _of_last_review("action"))
    before = MAX_INT64 if after is None else after
    with log.reading() as connection:
        rows = list(_newest_first(connection, query, selection, before))
    return [_listed(tuple(row)) for row in rows]


def neighbours(log: Store, selection: Selection, number: int) -> tuple[int | None, int | None]:
    """Give the numbers of the images before and after this one in a list with the newest first; None at its ends."""
    with log.reading() as connection:
        in_period = ids_in_period(connection, selection.scope, decisions.c.id)
        query = sa.select(decisions.c.id).where(*in_period).limit(1)
        up = query.where(decisions.c.id > number).order_by(decisions.c.id)
        down = query.order_by(decisions.c.id.desc())
        newer = [connection.scalar(up.where(*part)) for part in _parts(selection)]
        # One upper bound alone: of two, SQLite begins at either, and would walk from there.
        older = [connection.scalar(down.where(*part)) for part in _parts(selection, number)]
        return min(filter(None, newer), default=None), max(filter(None, older), default=None)


def number_selected(log: Store, selection: Selection) -> int:
    """Count the images selected, up to the limit of the selection."""
    images = 0
    with log.reading() as connection:
        in_period = ids_in_period(connection, selection.scope, decisions.c.id)
        query = sa.select(decisions.c.id).where(*in_period)
        for conditions in _parts(selection):
            # Counted below the limit: a page asks whether there are more, and not how many millions.
            part = query.where(*conditions).limit(selection.limit).subquery()
            images += connection.scalar(sa.select(sa.func.count()).select_from(part)) or 0
    return images if selection.limit is None else min(images, selection.limit)


def selected(log: Store, selection: Selection) -> Iterator[tuple[int, str, int]]:
    """Stream id, reason and size in bytes of the images selected, newest first."""
    query = sa.select(decisions.c.id, decisions.c.reason, decisions.c.size_bytes)
    with log.reading() as connection:
        for row in _newest_first(connection, query, selection):
            yield row.id, row.reason, row.size_bytes


def scores_of(log: Store, selection: Selection) -> Iterator[RecordedScores]:
    """Stream the images selected that the daemon quarantined, newest first, with all it takes to judge them again.

    What people rejected of the others may be in a state of the same name, purged for instance.
    """
    query = sa.select(*recorded_columns()).where(decisions.c.verdict == "quarantined")
    with log.reading() as connection:
        for row in _newest_first(connection, query, selection):
            yield recorded_row(tuple(row))


def reviews_of(log: Store, decision_id: int) -> list[Review]:
    """Give what was said and done about an image, in that order."""
    columns = (reviews.c[name] for name in ("id", "reviewed_at", "action", "who", "why", "destination", "undoes"))
    query = sa.select(*columns).where(reviews.c.decision_id == decision_id).order_by(reviews.c.id)
    with log.reading() as connection:
        return [Review(*row) for row in connection.execute(query)]


def ids_of(log: Store, names: Sequence[str], root: str, *, accepted: bool = False) -> dict[str, list[int]]:
    """Find images by path: as listings show it, below the inbox, or of the file where it was filed.

    Found are those that the daemon accepted, or else those that it quarantined and those that people have reviewed.
    """
    with log.reading() as connection:
        return {name: _ids_of(connection, name, root, accepted=accepted) for name in names}


def reviewable_image(log: Store, decision_id: int) -> ReviewableImage | None:
    """Give one image as it is at this moment of the log."""
    with log.reading() as connection:
        return reviewable_images(connection, [decision_id]).get(decision_id)


def reviewable_images(connection: sa.Connection, decision_ids: Sequence[int]) -> dict[int, ReviewableImage]:
    """Give the images of these decisions, by id, as they are at this moment of the log."""
    columns = (decisions.c[name] for name in ("id", "source", "relative_path", "verdict"))
    query = sa.select(*columns, _of_last_review("action"), _of_last_review("id"))
    rows = connection.execute(query.where(decisions.c.id.in_(decision_ids))).all()
    return {row.id: _reviewable(connection, row) for row in rows}


def _ids_of(connection: sa.Connection, name: str, root: str, *, accepted: bool) -> list[int]:
    # People name files as they see them: from the folder they are in, or from the root.
    paths = sorted({os.path.normpath(os.path.join(folder, name)) for folder in (root, os.getcwd())})
    filed_there = intents.c.destination_path.in_([os.fsencode(path) for path in paths])
    is_called_so = decision_records.c.relative_path.in_(forms(name))
    by_place = sa.select(intents.c.decision_id).where(filed_there)
    by_name = sa.select(decision_records.c.id).where(is_called_so)
    if accepted:
        meant = decisions.c.verdict == "accepted"
    else:
        meant = (decisions.c.verdict == "quarantined") | decisions.c.id.in_(_reviewed())
    query = sa.select(decisions.c.id).where(decisions.c.id.in_(by_place.union(by_name)), meant)
    return sorted(connection.scalars(query))


def _newest_first(
    connection: sa.Connection, query: sa.Select[Any], selection: Selection, before: int = MAX_INT64
) -> Iterator[sa.Row[Any]]:
    """Stream the rows of the images selected; the query's first column is their number."""
    query = query.where(*ids_in_period(connection, selection.scope, decisions.c.id))
    query = query.order_by(decisions.c.id.desc()).limit(selection.limit)
    connection = connection.execution_options(yield_per=_ROWS_AT_A_TIME)
    with ExitStack() as opened:  # with a limit, one of them is not read to its end
        streams = [opened.enter_context(connection.execute(query.where(*part))) for part in _parts(selection, before)]
        yield from islice(heapq.merge(*streams, key=lambda row: -row[0]), selection.limit)


def _parts(selection: Selection, before: int = MAX_INT64) -> Iterator[list[sa.ColumnElement[bool]]]:
    """Yield conditions for the images of each verdict: asked for both at once, SQLite would go through all the log."""
    for verdict, state_after in STATE_AFTER.items():
        actions = [action for action, state in state_after.items() if state in selection.states]
        if actions:
            yield [*_conditions(selection, before), *_in_state(verdict, actions, selection)]


def _in_state(verdict: Verdict, actions: Sequence[str], selection: Selection) -> Iterator[sa.ColumnElement[bool]]:
    action = _of_last_review("action").element
    # SQLite is to go down the ids, or an index on class or reason: then a page is as quick in a long log as in a short.
    yield likely(decisions.c.verdict == verdict, 0.0000001)
    if verdict == "accepted":
        if "" not in actions:  # most are accepted, and few of them are reviewed
            yield decisions.c.id.in_(_reviewed())
        if selection.rejected_until is not None:
            until = timestamp(selection.rejected_until)
            reviewed_at = _of_last_review("reviewed_at").element
            yield (sa.func.coalesce(action, "") != "reject") | (reviewed_at < until)
    if len(actions) < len(STATE_AFTER[verdict]):
        yield sa.func.coalesce(action, "").in_(actions)


def _reviewed() -> sa.Select[tuple[int]]:
    return sa.select(reviews.c.decision_id)


def _conditions(selection: Selection, before: int) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [decisions.c.id < before, *conditions_of(selection.scope)]
    if selection.reason is not None:
        conditions.append(decisions.c.reason == selection.reason)
    for name, (low, high) in selection.scores.items():
        conditions.append(decisions.c[name].between(low, high))
    if selection.borderline is not None:
        is_one = decisions.c.borderline == 1
        is_none = sa.func.coalesce(decisions.c.borderline, 0) != 1  # NULL in records of older versions
        conditions.append(is_one if selection.borderline else is_none)
    if selection.ids is not None:
        conditions.append(decisions.c.id.in_(selection.ids))
    if selection.action is not None:
        conditions.append(_of_last_review("action").element == selection.action)
    if selection.reviewed_since is not None:
        conditions.append(_of_last_review("reviewed_at").element >= timestamp(selection.reviewed_since))
    if selection.reviewed_until is not None:
        conditions.append(_of_last_review("reviewed_at").element < timestamp(selection.reviewed_until))
    return conditions


def _of_last_review(column: str) -> sa.Label[Any]:
    # Asked of each image by the index on its decision: of a page there are few, while reviews may be many.
    of_image = reviews.c.decision_id == decisions.c.id
    query = sa.select(reviews.c[column]).where(of_image).correlate(decisions)
    newest = query.order_by(reviews.c.id.desc()).limit(1)
    return newest.scalar_subquery().label(f"last_{column}")


_FILES = sa.text(f"""
SELECT i.id, i.role, i.source_path, i.previous_id, i.sha256, i.size_bytes, i.review_id, o.outcome, {LAST_SEEN} AS place
FROM intents i LEFT JOIN outcomes o ON o.intent_id = i.id WHERE i.decision_id = :decision ORDER BY i.id""")


def _listed(row: tuple[Any, ...]) -> ListedImage:
    *values, borderline, verdict, action = row
    state = STATE_AFTER[verdict][action or ""]
    return ListedImage._make([*values[:11], tuple(values[11:]), borderline == 1, state])


def _reviewable(connection: sa.Connection, image: Any) -> ReviewableImage:
    """Follow the moves of an image's files from the inbox to where they are."""
    rows = connection.execute(_FILES, {"decision": image.id}).all()
    busy = any(row.review_id is not None and row.outcome is None for row in rows)
    places: dict[int, ReviewableFile] = {}
    came_from = ""
    for row in rows:  # in the order of the moves: each begins where the one before it ended
        before = places.get(row.previous_id)
        if row.outcome not in {"moved", "purged"}:
            continue
        if row.review_id is not None:
            places.pop(row.previous_id, None)
        if row.review_id == image.last_id and row.role == "image":
            came_from = os.fsdecode(row.source_path)
        if row.outcome == "moved":
            origin = before.origin if before else os.fsdecode(row.source_path)
            file = ReviewableFile(row.id, row.role, os.fsdecode(row.place), origin, row.sha256, row.size_bytes)
            places[row.id] = file
    files = sorted(places.values(), key=lambda file: file.role != "image")
    state = STATE_AFTER[image.verdict][image.last_action or ""]
    about = (image.id, image.source, image.relative_path, image.verdict, state)
    return ReviewableImage(*about, image.last_id, tuple(files), came_from, busy)
