"""What people did with images: how many they released, confirmed, rejected or deleted, of which kind and hour."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from imageguard_daemon.audit.archive.archived_files import has_archived_reviews
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.queries import conditions_of, with_latest_review
from imageguard_daemon.audit.schema import decisions, reviews, rollup_reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import Verdict

_LEAVING_A_TRACE: Mapping[Verdict, Sequence[str]] = {
    "quarantined": ("confirm", "release", "rejudge", "purge", "return"),
    "accepted": ("reject", "approve", "purge"),
}
"""What an undo took back leaves none. Accepted images that are put back into the inbox are of no interest."""
_COLUMNS = (Dimension.class_, Dimension.reason, Dimension.source, Dimension.camera, Dimension.host, Dimension.preset)


class ReviewCount(NamedTuple):
    """How many images have this verdict and latest review, one label in each dimension, and were judged in one hour."""

    labels: Mapping[Dimension, str]
    verdict: Verdict
    action: str
    images: int


def count_reviews(log: Store, scope: Scope) -> list[ReviewCount]:
    """Count the reviewed images in scope, archived ones too; what counts is the latest word on an image.

    Those whose action is `archived` left the log when nobody noted yet what had become of them. The order is undefined.
    """
    with log.reading() as connection:
        counts = Counter[tuple[str, ...]]()
        if sa.inspect(connection).has_table("reviews"):  # else a log of before there were, which a start brings up
            columns = [decisions.c.verdict, reviews.c.action, *_columns(decisions)]
            query = sa.select(*columns, sa.func.count()).select_from(with_latest_review()).group_by(*columns)
            traces = (
                (decisions.c.verdict == v) & reviews.c.action.in_(traces) for v, traces in _LEAVING_A_TRACE.items()
            )
            query = query.where(sa.or_(*traces), *conditions_of(scope))
            _add(counts, connection.execute(query))
        if has_archived_reviews(connection):
            columns = [rollup_reviews.c.verdict, rollup_reviews.c.action, *_columns(rollup_reviews)]
            query = sa.select(*columns, sa.func.count()).where(*conditions_of(scope, rollup_reviews))
            _add(counts, connection.execute(query.group_by(*columns)))
    return [
        ReviewCount(_labels(*labels), "accepted" if verdict == "accepted" else "quarantined", action, images)
        for (verdict, action, *labels), images in counts.items()
    ]


def _columns(table: sa.FromClause) -> list[sa.ColumnElement[str]]:
    return [*(table.c[str(one)] for one in _COLUMNS), sa.func.substr(table.c.decided_at, 1, 13)]


def _add(counts: Counter[tuple[str, ...]], rows: Iterable[Sequence[Any]]) -> None:
    for *labels, images in rows:
        counts[tuple(labels)] += int(images)


def _labels(*texts: str) -> dict[Dimension, str]:
    *names, hour = texts
    return {**dict(zip(_COLUMNS, names, strict=True)), **_periods(hour)}


def _periods(hour: str) -> dict[Dimension, str]:
    """Give hour, day and week as counts have them; a time that was not written by us is that of 1970, as there."""
    try:
        day = date.fromisoformat(hour[:10])
        int(hour[11:])
    except ValueError:
        hour, day = "1970-01-01T00", date(1970, 1, 1)
    monday = day - timedelta(days=day.weekday())
    return {Dimension.hour: hour, Dimension.day: day.isoformat(), Dimension.week: monday.isoformat()}
