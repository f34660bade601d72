"""Decisions one by one: in pages, without sorting all that there are."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from imageguard_daemon.audit import queries
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.store import Store
from tests.helpers.audit_logs import Judged, engine_of, write_log

MIXED = [Judged(images=7), Judged(images=5, outcome="abandoned"), Judged(images=4), Judged(outcome="abandoned")]
MOVED = [*range(1, 8), *range(13, 17)]


@pytest.fixture
def engine(tmp_path: Path) -> Store:
    return open_log(write_log(tmp_path / "audit.db", MIXED))


def ids(rows: object) -> list[object]:
    return [row["id"] for row in rows]  # type: ignore[attr-defined]


@pytest.mark.parametrize("most", [1, 3, 5, 50])
def test_pages_have_every_moved_file_once_newest_first(engine: Store, most: int):
    """However long a page is, and whatever did not move between, the pages together are the whole."""
    found: list[object] = []
    before = 1000
    while page := ids(queries.newest_decisions(engine, before, most)):
        assert len(page) <= most
        found += page
        before = page[-1]
    assert found == MOVED[::-1]


def test_rows_come_oldest_first_in_pages(engine: Store, monkeypatch: pytest.MonkeyPatch):
    """Pages that hold nothing of what is wanted end nothing."""
    monkeypatch.setattr(queries, "_PAGE", 2)
    assert ids(queries.decision_rows(engine)) == MOVED
    assert ids(queries.decision_rows(engine, 6)) == MOVED[6:]
    assert queries.last_decision(engine) == 16


def test_an_empty_log_has_no_last_decision(tmp_path: Path):
    """Nothing was decided: 0."""
    assert queries.last_decision(open_log(write_log(tmp_path / "audit.db", []))) == 0


def test_a_page_is_found_by_its_ids(engine: Store, monkeypatch: pytest.MonkeyPatch):
    """No statement sorts the log or reads it from one end to the other."""
    plans: list[str] = []

    def explain(connection: sa.Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[attr-defined]
            plans.extend(row[3] for row in rows)

    sa.event.listen(engine_of(engine), "before_cursor_execute", explain)
    queries.newest_decisions(engine, 1000, 3)
    list(queries.decision_rows(engine, 3))
    assert plans
    assert not [plan for plan in plans if "SCAN" in plan or "TEMP B-TREE" in plan]
