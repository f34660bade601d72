"""Images by how near they came to the other verdict, a page at a time, at a cost that a long log does not raise.

Candidates come from an index on the score, in order; whether one is selected is looked up for a few hundred at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import sqlalchemy as sa

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.quarantine_queries import STATE_AFTER, ListedImage, Selection, page
from imageguard_daemon.audit.queries import ids_in_period
from imageguard_daemon.audit.schema import decision_records, reviews
from imageguard_daemon.audit.store import Store
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
        among = [[_BORDERLINE, *_in_period(log, selection.scope)]]
        scope = replace(selection.scope, since=None, until=None)
        rest = replace(selection, scope=scope, borderline=True, limit=None)
        first = _by_score(log, _Order(among, rest, selection.scope, rising=True), limit, after)
        if first.after is not None or selection.borderline:
            return first
        borderline, after = first.images, None
    others = replace(selection, borderline=False, limit=limit - len(borderline) + 1)
    images = (*borderline, *page(log, others, after))
    return Nearest(images[:limit], images[limit - 1].id if len(images) > limit else None)


def _is_borderline(log: Store, number: int) -> bool:
    with log.reading() as connection:
        return connection.scalar(sa.select(_RECORDS.borderline).where(_RECORDS.id == number)) == 1


def _by_score(log: Store, order: _Order, limit: int, after: int | None) -> Nearest:
    images: list[ListedImage] = []
    looked_at = 0
    while looked_at < MAX_LOOKED_AT:
        size = next((one for one in _AT_A_TIME if one > looked_at), _AT_A_TIME[-1])
        ids = _candidates(log, order, after, size)
        looked_up = page(log, replace(order.rest, ids=tuple(ids))) if ids else []
        chosen = [image for image in looked_up if _is_in_time(image, order.scope)]
        images += sorted(chosen, key=lambda image: (image.score, image.id), reverse=not order.rising)
        if len(images) > limit:
            return Nearest(tuple(images[:limit]), images[limit - 1].id)
        if len(ids) < size:
            return Nearest(tuple(images))
        looked_at, after = looked_at + len(ids), ids[-1]
    return Nearest(tuple(images), after, is_short=True)


def _among(log: Store, selection: Selection) -> list[_Conditions]:
    """Give the conditions on candidates: what the daemon quarantined, and the few images that people rejected."""
    narrowed, states = _narrowed(log, selection), set(selection.states)
    among = [[_QUARANTINED, *narrowed]] if states & {*STATE_AFTER["quarantined"].values()} else []
    if states & {*STATE_AFTER["accepted"].values()}:
        among.append([_RECORDS.verdict == "accepted", _RECORDS.id.in_(sa.select(reviews.c.decision_id)), *narrowed])
    return among


def _narrowed(log: Store, selection: Selection) -> _Conditions:
    """Give the conditions that an index on the score answers by itself."""
    among: _Conditions = []
    if selection.reason is not None:
        among.append(_RECORDS.reason == selection.reason)
    if selection.scope.class_name is not None:
        names = sorted(forms(selection.scope.class_name))
        # Several names would have to be sorted; of one the index is in order.
        among.append(_RECORDS["class"] == names[0] if len(names) == 1 else _RECORDS["class"].in_(names))
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
    return (scope.since is None or image.decided_at >= timestamp(scope.since)) and (
        scope.until is None or image.decided_at < timestamp(scope.until)
    )


def _candidates(log: Store, order: _Order, after: int | None, size: int) -> Sequence[int]:
    score, number = (_RECORDS.score, _RECORDS.id) if order.rising else (_RECORDS.score.desc(), _RECORDS.id.desc())
    query = sa.select(_RECORDS.score, _RECORDS.id).order_by(score, number).limit(size)
    with log.reading() as connection:
        if after is not None:
            query = query.where(_beyond(connection, after, rising=order.rising))
        candidates = [tuple(row) for conditions in order.among for row in connection.execute(query.where(*conditions))]
    return [number for _, number in sorted(candidates, reverse=not order.rising)[:size]]


def _beyond(connection: sa.Connection, after: int, *, rising: bool) -> Any:
    score = connection.scalar(sa.select(_RECORDS.score).where(_RECORDS.id == after))
    if score is None:  # archived since
        return sa.true()
    here, there = sa.tuple_(_RECORDS.score, _RECORDS.id), sa.tuple_(sa.literal(score), sa.literal(after))
    return here > there if rising else here < there
