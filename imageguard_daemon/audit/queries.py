"""Questions to the audit log: counts from the roll-ups, rows from the view `decisions`."""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction

from imageguard_daemon.audit.counts import SCOPE_COLUMNS, RecordedImage, RecordedScores, Scope
from imageguard_daemon.audit.schema import decision_records, decisions
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.core.names import forms
from imageguard_daemon.core.timestamps import timestamp

_IDS_AT_A_TIME = 500
_SHORT_PERIOD = 50_000


def images_by_id(log: Store, ids: Sequence[int]) -> dict[int, RecordedImage]:
    """Give the images filed by these decisions; those that were archived are not among them."""
    names = ("id", "decided_at", "source", "class", "relative_path", "destination", "sha256", "verdict", "reason")
    query = sa.select(*(decisions.c[name] for name in names), decisions.c.detail)
    with log.reading() as connection:
        rows = [row for part in in_parts(ids) for row in connection.execute(query.where(decisions.c.id.in_(part)))]
    return {row.id: RecordedImage._make(row) for row in rows}


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
    conditions = []
    if scope.since is not None:
        conditions.append(decision_records.c.decided_at >= timestamp(scope.since))
    if scope.until is not None:
        conditions.append(decision_records.c.decided_at < timestamp(scope.until))
    if not conditions:
        return []
    inside = sa.select(decision_records.c.id).where(*conditions).limit(_SHORT_PERIOD).subquery()
    query = sa.select(sa.func.min(inside.c.id), sa.func.max(inside.c.id), sa.func.count())
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
