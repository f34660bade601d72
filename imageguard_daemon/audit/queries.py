"""Questions to the view `decisions`: one by one, in pages, by id; and what all questions to the log share."""

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from imageguard_daemon.audit.counts import SCOPE_COLUMNS, RecordedImage, RecordedScores, Scope
from imageguard_daemon.audit.schema import IS_GOING_ON, LAST_SEEN, decision_records, decisions, reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import MAX_INT64, SCORE_NAMES
from imageguard_daemon.core.names import forms
from imageguard_daemon.core.timestamps import timestamp

_IDS_AT_A_TIME = 500
_SHORT_PERIOD = 50_000
_PAGE = 2_000
_NEAR = 5_000
"""So many decisions before one are looked through for others of its class: no index has accepted images by class."""
_SCORES = ", ".join(f"d.{name}" for name in SCORE_NAMES)
_FILED = f"""
SELECT i.id, {LAST_SEEN} AS place, i.size_bytes, i.mtime_ns, i.sha256,
       d.relative_path, d.class, d.verdict, d.reason, d.issues, d.score, d.borderline, {_SCORES}
FROM intents i JOIN outcomes o ON o.intent_id = i.id AND o.outcome = 'moved'
               JOIN decision_records d ON d.id = i.decision_id
WHERE i.id > ? AND i.role = 'image' AND i.destination_path <> x''
  AND NOT {IS_GOING_ON}
ORDER BY i.id LIMIT {_PAGE}"""
"""Where each image is that has been filed, after all reviews; one that a review is moving just now is nowhere."""


def images_by_id(log: Store, ids: Sequence[int]) -> dict[int, RecordedImage]:
    """Give the images filed by these decisions; those that were archived are not among them."""
    names = ("id", "decided_at", "source", "class", "relative_path", "destination", "sha256", "verdict", "reason")
    query = sa.select(*(decisions.c[name] for name in names), decisions.c.detail)
    images: dict[int, RecordedImage] = {}
    with log.reading() as connection:
        for part in in_parts(ids):
            for row in connection.execute(query.where(decisions.c.id.in_(part))):
                images[row.id] = RecordedImage._make(row)
    return images


def recorded_columns() -> list[sa.ColumnElement[Any]]:
    """Give the columns of `RecordedScores`, in its order, the six scores one by one."""
    return [
        *(decisions.c[name] for name in ("id", "source", "class", "relative_path", "verdict", "reason", "preset")),
        sa.cast(decisions.c.profile, sa.Text),
        decisions.c.scorer_version,
        sa.cast(decisions.c.measures, sa.Text),
        *(decisions.c[name] for name in SCORE_NAMES),
    ]


def recorded_row(row: tuple[Any, ...]) -> RecordedScores:
    """Take a row of `recorded_columns`."""
    values: list[Any] = [*row[:10], tuple(row[10:])]
    return RecordedScores._make(values)


def conditions_of(scope: Scope, table: sa.FromClause = decisions) -> list[sa.ColumnElement[bool]]:
    """Give what a decision in scope must fulfil; another table has columns of the same names."""
    conditions: list[sa.ColumnElement[bool]] = []
    if scope.since is not None:
        conditions.append(_rare(table.c.decided_at >= timestamp(scope.since)))
    if scope.until is not None:
        conditions.append(_rare(table.c.decided_at < timestamp(scope.until)))
    for field, column in SCOPE_COLUMNS.items():
        name = getattr(scope, field)
        if name is not None:
            conditions.append(table.c[column].in_(forms(name)))
    return conditions


def ids_in_period(
    connection: sa.Connection, scope: Scope, column: sa.ColumnElement[int]
) -> list[sa.ColumnElement[bool]]:
    """Give the range of ids of a short period as a condition, for indexes that would lead through all the log.

    Clocks may have jumped: it is the range of all that was decided then, others may lie in it. In a long period
    images are selected often enough without.
    """
    records = decision_records.c
    conditions = []
    if scope.since is not None:
        conditions.append(records.decided_at >= timestamp(scope.since))
    if scope.until is not None:
        conditions.append(records.decided_at < timestamp(scope.until))
    if not conditions:
        return []
    # Counted no further than to the limit: to learn that a period is long must not take long.
    inside = sa.select(records.id).where(*conditions).limit(_SHORT_PERIOD).subquery()
    ids = inside.c.id
    query = sa.select(sa.func.min(ids), sa.func.max(ids), sa.func.count())
    first, last, number = connection.execute(query).one()
    if number == _SHORT_PERIOD:
        return []
    return [column.between(first, last)] if number else [sa.false()]


def in_parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Yield ids as many at a time as one question may name."""
    return (ids[at : at + _IDS_AT_A_TIME] for at in range(0, len(ids), _IDS_AT_A_TIME))


def _rare(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Have SQLite start from the index on time; it would walk the whole log, since it keeps no statistics."""
    return likely(condition, 0.001)


class _Likelihood(GenericFunction[Any]):  # of no type: SQLite's hint must not become `likelihood(...) = 1`
    inherit_cache = True
    name = "likelihood"


@compiles(_Likelihood, "postgresql")
def _without_hint(element: _Likelihood, compiler: SQLCompiler, **options: Any) -> str:
    condition = next(iter(element.clauses))
    return f"({compiler.process(condition, **options)})"


def likely(condition: sa.ColumnElement[bool], probability: float) -> sa.ColumnElement[bool]:
    """Tell SQLite, which keeps no statistics, how often a condition holds; PostgreSQL knows by itself."""
    return _Likelihood(condition, sa.literal_column(f"{probability:.7f}"))


def last_decision(log: Store) -> int:
    """Give the id of the newest decision on a file that has moved; 0 when there is none."""
    newest = newest_decisions(log, MAX_INT64, 1)
    return int(str(newest[0]["id"])) if newest else 0


def decision_rows(log: Store, after_id: int = 0, *where: sa.ColumnElement[bool]) -> Iterator[dict[str, object]]:
    """Yield the decisions with a larger id, oldest first, by the columns of the view; memory stays flat.

    Read in pages, so that no long transaction keeps the log from being tidied.

    Raises:
        RetryableError: the database is locked.
        UnavailableError: it is damaged, or is not an audit log.
    """
    while True:
        records = sa.select(decision_records.c.id).where(decision_records.c.id > after_id)
        with log.reading() as connection:
            ids = connection.scalars(records.order_by(decision_records.c.id).limit(_PAGE)).all()
            page = _moved(connection, ids, *where)
        yield from page
        if len(ids) < _PAGE:
            return
        after_id = ids[-1]


def _moved(connection: sa.Connection, ids: Sequence[int], *where: sa.ColumnElement[bool]) -> list[dict[str, object]]:
    """Give the decisions on files that have moved, of one page of records, oldest first.

    The page is cut from the records: asked for it in order, SQLite would first sort all that the view has.
    """
    if not ids:
        return []
    query = sa.select(decisions).where(decisions.c.id.in_(ids), *where)
    query = query.order_by(decisions.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def decision_row(log: Store, decision_id: int) -> dict[str, object] | None:
    """Give one decision by the columns of the view; None for one that is not there."""
    with log.reading() as connection:
        row = connection.execute(sa.select(decisions).where(decisions.c.id == decision_id)).mappings().first()
        return dict(row) if row else None


def newest_decisions(log: Store, before: int, most: int) -> list[dict[str, object]]:
    """Give the decisions with smaller ids, newest first, by the columns of the view."""
    rows: list[dict[str, object]] = []
    while len(rows) < most:
        records = sa.select(decision_records.c.id).where(decision_records.c.id < before)
        with log.reading() as connection:
            ids = connection.scalars(records.order_by(decision_records.c.id.desc()).limit(most)).all()
            rows += reversed(_moved(connection, ids))
        if len(ids) < most:
            break
        before = ids[-1]
    return rows[:most]


def accepted_before(log: Store, decision_id: int, class_name: str, most: int) -> list[tuple[int, str]]:
    """Give number and path of accepted images of a class judged shortly before a decision, newest first.

    None that a person has rejected, whatever was said of it later.
    """
    records = decision_records.c
    rejected = sa.select(reviews.c.decision_id).where(reviews.c.action == "reject")
    query = sa.select(records.id, records.relative_path).where(
        records.id.between(decision_id - _NEAR, decision_id - 1),
        records["class"] == class_name,
        records.verdict == "accepted",
        records.id.not_in(rejected),
    )
    with log.reading() as connection:
        rows = connection.execute(query.order_by(records.id.desc()).limit(most))
        return [(row.id, row.relative_path) for row in rows]


def filed_images(log: Store) -> Iterator[dict[str, object]]:
    """Yield every image that has been filed and still is, oldest move first: `place` is its path, `issues` a list.

    Raises:
        RetryableError: the database is locked.
        UnavailableError: it is damaged, or is not an audit log.
    """
    after = 0
    while True:
        with log.reading() as connection:
            rows = connection.exec_driver_sql(_FILED, (after,)).mappings().all()
        for row in rows:
            yield {**row, "place": os.fsdecode(row["place"]), "issues": json.loads(row["issues"])}
        if len(rows) < _PAGE:
            return
        after = rows[-1]["id"]
