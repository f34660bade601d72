"""Decisions one by one, with everything the view `decisions` has of them, for those who carry them elsewhere."""

from collections.abc import Iterator

import sqlalchemy as sa

from imageguard_daemon.audit.database import reading
from imageguard_daemon.audit.schema import decisions

_PAGE = 2_000


def last_decision(engine: sa.Engine) -> int:
    """Give the id of the newest decision on a file that has moved; 0 when there is none."""
    with reading(engine, engine.url.database or "") as connection:
        return int(connection.scalar(sa.select(sa.func.coalesce(sa.func.max(decisions.c.id), 0))) or 0)


def decision_rows(engine: sa.Engine, after_id: int = 0, *where: sa.ColumnElement[bool]) -> Iterator[dict[str, object]]:
    """Yield the decisions with a larger id, oldest first, by the columns of the view; memory stays flat.

    Read in pages, so that no long transaction keeps the log from being tidied.

    Raises:
        RetryableError: the database is locked.
        UnavailableError: it is damaged, or is no audit log.
    """
    while True:
        query = sa.select(decisions).where(decisions.c.id > after_id, *where).order_by(decisions.c.id).limit(_PAGE)
        with reading(engine, engine.url.database or "") as connection:
            page = [dict(row) for row in connection.execute(query).mappings()]
        yield from page
        if len(page) < _PAGE:
            return
        after_id = page[-1]["id"]
