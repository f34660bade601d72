"""Pages of filed images, newest first."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest
import sqlalchemy as sa

from imageguard_daemon.audit import rollups
from imageguard_daemon.audit.columns import open_columns
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.database import open_for_reading
from imageguard_daemon.audit.paging import Place, Wanted, page_of_images
from imageguard_daemon.audit.queries import images_by_id
from tests.helpers.audit_logs import NOON, Judged, write_log

DAYS = [0, 3, 1, 5, 2, 5, 4]
"""Not in order: clocks are set, crashes are finished later."""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of a week, some of it packed."""
    batches = [
        Judged(
            images=3, reason="blurry" if day % 2 else "", source=f"s{day % 2}", decided_at=NOON + timedelta(days=day)
        )
        for day in DAYS
    ]
    with patch.object(rollups, "MOST_RECENT", 4):
        return write_log(tmp_path_factory.mktemp("log") / "audit.db", batches)


@pytest.fixture
def engine(database: Path) -> Iterator[sa.Engine]:
    """A read-only engine on it."""
    engine = open_for_reading(database)
    yield engine
    engine.dispose()


def walked(engine: sa.Engine, limit: int, scope: Scope, wanted: Wanted) -> list[Place]:
    """Turn all pages."""
    found: list[Place] = []
    with open_columns(engine) as columns:
        while page := page_of_images(columns, scope, limit, found[-1] if found else None, wanted):
            assert len(page) <= limit
            found += page
    return found


@pytest.mark.parametrize("limit", [1, 2, 7, 100])
@pytest.mark.parametrize("wanted", [Wanted(), Wanted("quarantined"), Wanted(reason="blurry"), Wanted(reason="noisy")])
def test_pages_have_every_image_once_newest_first(engine: sa.Engine, limit: int, wanted: Wanted) -> None:
    """Whatever the size of pages and the order in which the log came about."""
    found = walked(engine, limit, Scope(), wanted)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT id, reason FROM decisions ORDER BY decided_at DESC, id DESC").all()
    reasons = {None, "blurry"} if wanted.verdict else {wanted.reason}
    expected = [row.id for row in rows if reasons == {None} or row.reason in reasons]
    assert [place.id for place in found] == expected
    assert found == sorted(found, reverse=True)


def test_a_page_keeps_to_its_scope(engine: sa.Engine) -> None:
    """A source and a period narrow it, and its images can be had by their ids."""
    scope = Scope(since=NOON + timedelta(days=3), source="s1")
    found = walked(engine, 4, scope, Wanted())
    images = images_by_id(engine, [place.id for place in found])
    assert len(images) == 9
    assert {image.source for image in images.values()} == {"s1"}
    assert min(image.decided_at for image in images.values()) >= "2025-03-04"


def test_no_page_scans_the_log(engine: sa.Engine) -> None:
    """Hours come backwards by their index, and images by their ids."""
    plans: list[str] = []

    def explain(connection: sa.Connection, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[-1] for row in rows)

    sa.event.listen(engine, "before_cursor_execute", explain)
    with open_columns(engine) as columns:
        page = page_of_images(columns, Scope(), 2)
    images_by_id(engine, [place.id for place in page])
    assert "SEARCH rollup_hours USING INDEX ix_rollup_hours_hour (hour>? AND hour<?)" in plans
    assert "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)" in plans
    small = ("sqlite_master", "rollup_keys", "rollup_recent", "alembic_version")
    assert not [line for line in plans if "SCAN" in line and not line.endswith(small)], plans
    assert not [line for line in plans if "TEMP B-TREE" in line], plans
