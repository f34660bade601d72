"""Images by their scores: a page of the nearest to the other verdict, and how many of those selected have which score.

For a page, candidates come from an index on the score, in order; whether one is selected is looked up for a few hundred
at a time: its cost does not rise with the log. Counts come from the roll-ups: a million in a second. These know nothing
of reviews; images that were reviewed are few, and looked up one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from imageguard_daemon.audit.archive.archived_files import has_archives
from imageguard_daemon.audit.columns import Batch, Columns, open_columns
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.quarantine_queries import STATE_AFTER, ListedImage, Selection, page
from imageguard_daemon.audit.queries import ids_in_period, in_parts
from imageguard_daemon.audit.rollups import FLAG_BORDERLINE
from imageguard_daemon.audit.schema import archives, decision_records, reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.core.names import forms
from imageguard_daemon.core.timestamps import timestamp

MAX_LOOKED_AT = 10_000
"""Candidates looked at for one page; where few of them are selected it has less, and the next one goes on."""
_AT_A_TIME = (40, 200, 800, 2_000)
_RECORDS = decision_records.c
# Literally, or SQLite would not use indexes on those alone.
_QUARANTINED: sa.ColumnElement[bool] = sa.literal_column("verdict = 'quarantined'")
_BORDERLINE: sa.ColumnElement[bool] = sa.literal_column("verdict = 'accepted' AND borderline = 1")
_Conditions = list[sa.ColumnElement[bool]]
BUCKETS = 20
OVERALL = "score"
_WITHOUT_REVIEW = {"quarantined": "waiting", "accepted": "accepted"}
"""The state of an image that nobody reviewed, by the daemon's verdict."""
_ROWS_AT_A_TIME = 50_000
_SCORED = np.dtype([("id", np.int64), ("score", np.float64)])
_Floats = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]


class Nearest(NamedTuple):
    """One page; `after` is where the next one goes on, None at the end. `is_short` says that the bound was met."""

    images: tuple[ListedImage, ...]
    after: int | None = None
    is_short: bool = False


@dataclass(frozen=True, slots=True)
class _Order:
    """Candidates of any of these conditions by their score; of them those in time that `rest` selects, too."""

    among: Sequence[_Conditions]
    rest: Selection
    scope: Scope
    rising: bool = False


def nearest_page(log: Store, selection: Selection, limit: int, after: int | None = None) -> Nearest:
    """Give the images selected, highest score first and of equals the newest; `after` is one a page ended with.

    Raises:
        RetryableError: the database is locked.
        UnavailableError: it is damaged, or is not an audit log.
    """
    order = _Order(_among(log, selection), _without_narrowing(selection), selection.scope)
    return _by_score(log, order, limit, after)


def borderline_page(log: Store, selection: Selection, limit: int, after: int | None = None) -> Nearest:
    """Give accepted images: borderline ones first, the lowest score at their head; then the others, newest first.

    For `after` and errors see `nearest_page`.
    """
    borderline: tuple[ListedImage, ...] = ()
    if after is None or _is_borderline(log, after):
        first = _borderline(log, selection, limit, after)
        if first.after is not None or selection.borderline:
            return first
        borderline, after = first.images, None
    # One more than fits: whether there is one says whether there is another page.
    others = replace(selection, borderline=False, limit=limit - len(borderline) + 1)
    images = (*borderline, *page(log, others, after))
    last = images[limit - 1].id if len(images) > limit else None
    return Nearest(images[:limit], last)


def _borderline(log: Store, selection: Selection, limit: int, after: int | None) -> Nearest:
    among = [[_BORDERLINE, *_in_period(log, selection.scope)]]
    scope = replace(selection.scope, since=None, until=None)
    rest = replace(selection, scope=scope, borderline=True, limit=None)
    order = _Order(among, rest, selection.scope, rising=True)
    return _by_score(log, order, limit, after)


def _is_borderline(log: Store, number: int) -> bool:
    with log.reading() as connection:
        return connection.scalar(sa.select(_RECORDS.borderline).where(_RECORDS.id == number)) == 1


def _by_score(log: Store, order: _Order, limit: int, after: int | None) -> Nearest:
    images: list[ListedImage] = []
    looked_at = 0
    while looked_at < MAX_LOOKED_AT:
        # Few at first, as most pages are full soon; more each time, as where few are selected, each look costs much.
        size = next((step for step in _AT_A_TIME if step > looked_at), _AT_A_TIME[-1])
        ids = _candidates(log, order, after, size)
        looked_up = page(log, replace(order.rest, ids=tuple(ids))) if ids else []
        in_time = [image for image in looked_up if _is_in_time(image, order.scope)]
        # Candidates come in order, but what is looked up by ids has an order of its own.
        in_time.sort(key=lambda image: (image.score, image.id), reverse=not order.rising)
        images += in_time
        if len(images) > limit:
            return Nearest(tuple(images[:limit]), images[limit - 1].id)
        if len(ids) < size:
            return Nearest(tuple(images))
        looked_at, after = looked_at + len(ids), ids[-1]
    return Nearest(tuple(images), after, is_short=True)


def _among(log: Store, selection: Selection) -> list[_Conditions]:
    """Give the conditions on candidates: what the daemon quarantined, and the few images that people rejected."""
    narrowed = _narrowed(log, selection)
    states = set(selection.states)
    among: list[_Conditions] = []
    if states.intersection(STATE_AFTER["quarantined"].values()):
        among.append([_QUARANTINED, *narrowed])
    if states.intersection(STATE_AFTER["accepted"].values()):
        is_reviewed = _RECORDS.id.in_(sa.select(reviews.c.decision_id))
        among.append([_RECORDS.verdict == "accepted", is_reviewed, *narrowed])
    return among


def _narrowed(log: Store, selection: Selection) -> _Conditions:
    """Give the conditions that an index on the score answers by itself."""
    among: _Conditions = []
    if selection.reason is not None:
        among.append(_RECORDS.reason == selection.reason)
    if selection.scope.class_name is not None:
        names = sorted(forms(selection.scope.class_name))
        # Several names would have to be sorted; of one the index is in order.
        is_of_class = _RECORDS["class"] == names[0] if len(names) == 1 else _RECORDS["class"].in_(names)
        among.append(is_of_class)
    if "score" in selection.scores:
        among.append(_RECORDS.score.between(*selection.scores["score"]))
    return [*among, *_in_period(log, selection.scope)]


def _in_period(log: Store, scope: Scope) -> _Conditions:
    with log.reading() as connection:
        return ids_in_period(connection, scope, _RECORDS.id)


def _without_narrowing(selection: Selection) -> Selection:
    """Leave out what candidates fulfil already, or SQLite would go by that instead of by their ids."""
    scope = replace(selection.scope, class_name=None, since=None, until=None)
    scores = {name: limits for name, limits in selection.scores.items() if name != "score"}
    return replace(selection, scope=scope, reason=None, scores=scores, limit=None)


def _is_in_time(image: ListedImage, scope: Scope) -> bool:
    is_after = scope.since is None or image.decided_at >= timestamp(scope.since)
    is_before = scope.until is None or image.decided_at < timestamp(scope.until)
    return is_after and is_before


def _candidates(log: Store, order: _Order, after: int | None, size: int) -> Sequence[int]:
    by = [_RECORDS.score, _RECORDS.id]
    direction = by if order.rising else [column.desc() for column in by]
    query = sa.select(*by).order_by(*direction).limit(size)
    candidates: list[tuple[float, int]] = []
    with log.reading() as connection:
        if after is not None:
            query = query.where(_beyond(connection, after, rising=order.rising))
        # One question for each kind: for both in one there is no index that has them in order.
        for conditions in order.among:
            rows = connection.execute(query.where(*conditions))
            candidates += [(row.score, row.id) for row in rows]
    # Each question gave so many at most, in order; of all of them together the first so many are the nearest.
    candidates.sort(reverse=not order.rising)
    return [number for _, number in candidates[:size]]


def _beyond(connection: sa.Connection, after: int, *, rising: bool) -> Any:
    score = connection.scalar(sa.select(_RECORDS.score).where(_RECORDS.id == after))
    if score is None:  # archived since
        return sa.true()
    here = sa.tuple_(_RECORDS.score, _RECORDS.id)
    there = sa.tuple_(sa.literal(score), sa.literal(after))
    return here > there if rising else here < there


def highest(name: str) -> float:
    """Give the best that a score can be; 0 is the worst of each."""
    return 1.0 if name == OVERALL else 100.0


def count_scores(log: Store, selection: Selection, name: str) -> list[int]:
    """Count the images that filters select by a score, in BUCKETS equal parts from 0 to its best.

    A range of that score itself is left out, or there would be nothing to choose another one from. Both ends
    belong to a part, as to the range of a filter: an image that lies between two is in both. Images without this score
    are in none.

    Raises:
        RetryableError: the database is locked.
        UnavailableError: it is damaged, or is not an audit log of this version.
    """
    others = {other: limits for other, limits in selection.scores.items() if other != name}
    selection = replace(selection, scores=others, limit=None)
    reviewed = _reviewed(log)
    counts = np.zeros(BUCKETS, np.int64)
    # Rounded, as a filter has its ends.
    width = highest(name) / BUCKETS
    edges = np.round(np.arange(BUCKETS + 1) * width, 2)
    asked = (log, selection, name, reviewed)
    for values in chain(_never_reviewed(*asked), _looked_up(*asked)):
        ordered = np.sort(values[~np.isnan(values)])
        up_to = np.searchsorted(ordered, edges[1:], "right")
        below = np.searchsorted(ordered, edges[:-1], "left")
        counts += up_to - below
    return [int(images) for images in counts]


def _reviewed(log: Store) -> _Ids:
    with log.reading() as connection:
        ids = connection.scalars(sa.select(reviews.c.decision_id).distinct()).all()
    return np.array(ids, np.int64)


def _kept(log: Store) -> _Ids | None:
    """Give the ids still in the log, None where nothing was archived: roll-ups know of archived images, too."""
    with log.reading() as connection:
        if not has_archives(connection) or not connection.scalar(sa.select(archives.c.id).limit(1)):
            return None
        ids = connection.scalars(sa.select(decision_records.c.id)).all()
    return np.array(ids, np.int64)


def _never_reviewed(log: Store, selection: Selection, name: str, reviewed: _Ids) -> Iterator[_Floats]:
    verdicts = [verdict for verdict, state in _WITHOUT_REVIEW.items() if state in selection.states]
    if not verdicts:
        return
    names = {name, *selection.scores}
    overall = _overall(log, verdicts, selection.reason) if OVERALL in names else None
    has_scores = names != {OVERALL}  # of the roll-ups they are two thirds: none is read for nothing
    in_log = _kept(log)
    with open_columns(log) as columns:
        wanted = columns.keys.where("verdict", verdicts)
        if selection.reason is not None:
            wanted &= columns.keys.where("reason", [selection.reason])
        for batch in _chosen(columns, selection, wanted, has_scores=has_scores):
            images = batch.where(~np.isin(batch.ids, reviewed)) if len(reviewed) else batch
            if in_log is not None:
                images = images.where(np.isin(images.ids, in_log))
            for score_name, (low, high) in selection.scores.items():
                values = _values(images, score_name, overall)
                images = images.where((values >= low) & (values <= high))
            yield _values(images, name, overall)


def _chosen(
    columns: Columns, selection: Selection, wanted: npt.NDArray[np.bool_], *, has_scores: bool
) -> Iterator[Batch]:
    for batch in columns.batches(selection.scope, scores=has_scores):
        mask = wanted[batch.keys]
        if selection.borderline is not None:
            is_borderline = batch.flags & FLAG_BORDERLINE > 0
            mask &= is_borderline == selection.borderline
        yield batch.where(mask)


def _values(batch: Batch, name: str, overall: tuple[_Ids, _Floats] | None) -> _Floats:
    if overall is None or name != OVERALL:
        return batch.scores[:, SCORE_NAMES.index(name)]
    ids, scores = overall
    # An id that is not there was archived; one beyond the last has the place of the one more.
    places = np.searchsorted(ids[:-1], batch.ids)
    return np.where(ids[places] == batch.ids, scores[places], np.nan)


def _overall(log: Store, verdicts: Sequence[str], reason: str | None) -> tuple[_Ids, _Floats]:
    """Give ids in their order and the overall score of each, and one more of both at the end, -1 and NaN.

    No roll-up has this score; an index has that of quarantined images.
    """
    query = sa.select(_RECORDS.id, _RECORDS.score)
    if reason is not None:
        query = query.where(_RECORDS.reason == reason)
    parts = [np.empty(0, _SCORED)]
    with log.reading() as connection:
        for verdict in verdicts:
            # Literally, or SQLite would not use the index on the quarantined alone.
            rows = connection.execute(query.where(sa.literal_column(f"verdict = '{verdict}'")))
            # An array at a time: tuples of all rows at once would take many times the memory. The driver's own rows:
            # to make objects of a million took longer than to read them.
            while some := rows.cursor.fetchmany(_ROWS_AT_A_TIME):
                parts.append(np.array(some, _SCORED))
    table = np.sort(np.concatenate(parts), order="id")
    return np.append(table["id"], -1), np.append(table["score"], np.nan)


def _looked_up(log: Store, selection: Selection, name: str, reviewed: _Ids) -> Iterator[_Floats]:
    for ids in in_parts(reviewed.tolist()):
        images = page(log, replace(selection, ids=tuple(ids)))
        if name == OVERALL:
            yield np.array([image.score for image in images], np.float64)
        else:
            at = SCORE_NAMES.index(name)
            yield np.array([image.scores[at] for image in images], np.float64)
