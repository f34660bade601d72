"""What became of rejected images: how many people released, confirmed or deleted, of which kind and hour."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.database import reading
from imageguard_daemon.audit.queries import conditions_of, with_latest_review
from imageguard_daemon.audit.schema import decisions, reviews

_LEAVING_A_TRACE = ("confirm", "release", "rejudge", "purge")
"""What an undo took back leaves none."""
_COLUMNS = (Dimension.class_, Dimension.reason, Dimension.source, Dimension.camera, Dimension.host, Dimension.preset)


class ReviewCount(NamedTuple):
    """How many rejected images have this latest review, one label in each dimension, and were judged in one hour."""

    labels: Mapping[Dimension, str]
    action: str
    images: int


def count_reviews(engine: sa.Engine, scope: Scope) -> list[ReviewCount]:
    """Count the reviewed rejections in scope; what counts is the latest word on an image. The order is undefined."""
    columns = [*(decisions.c[str(one)] for one in _COLUMNS), sa.func.substr(decisions.c.decided_at, 1, 13)]
    query = sa.select(reviews.c.action, *columns, sa.func.count()).select_from(with_latest_review())
    query = query.where(reviews.c.action.in_(_LEAVING_A_TRACE), *conditions_of(scope))
    with reading(engine, engine.url.database or "") as connection:
        if not sa.inspect(connection).has_table("reviews"):
            return []  # a log of before there were reviews, which the next start brings up to date
        rows = connection.execute(query.group_by(reviews.c.action, *columns)).all()
    return [ReviewCount(_labels(*row[1:-1]), row[0], int(row[-1])) for row in rows]


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
