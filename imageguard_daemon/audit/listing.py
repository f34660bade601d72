"""Decisions one by one, with everything the view `decisions` has of them, for those who carry them elsewhere."""

import json
import os
from collections.abc import Iterator, Sequence

import sqlalchemy as sa

from imageguard_daemon.audit.schema import IS_GOING_ON, LAST_SEEN, decision_records, decisions, reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import MAX_INT64, SCORE_NAMES

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


def last_decision(log: Store) -> int:
    """Give the id of the newest decision on a file that has moved; 0 when there is none."""
    return next((int(str(row["id"])) for row in newest_decisions(log, MAX_INT64, 1)), 0)


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
    query = sa.select(decisions).where(decisions.c.id.in_(ids), *where).order_by(decisions.c.id)
    return [dict(row) for row in connection.execute(query).mappings()] if ids else []


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
    query = sa.select(records.id, records.relative_path).where(
        *(records.id < decision_id, records.id >= decision_id - _NEAR),
        *(records["class"] == class_name, records.verdict == "accepted"),
        records.id.not_in(sa.select(reviews.c.decision_id).where(reviews.c.action == "reject")),
    )
    with log.reading() as connection:
        return [
            (row.id, row.relative_path) for row in connection.execute(query.order_by(records.id.desc()).limit(most))
        ]


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
