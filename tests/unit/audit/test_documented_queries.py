"""docs/audit-log.md: every column of the view is described, and every query runs and finds something."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.big_log import database_in, fill, index, upgrade
from bench.year import Year, patterns_of_a_bad_year
from imageguard_daemon.audit.schema import VIEW_COLUMNS

PAGE = (Path(__file__).parents[3] / "docs" / "audit-log.md").read_text(encoding="utf-8")
QUERIES = re.findall(r"```sql\n(SELECT.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Open a small year read-only, as anybody else would."""
    folder = tmp_path_factory.mktemp("year")
    fill(folder, Year(3_000, planted=patterns_of_a_bad_year()))
    index(folder)
    upgrade(folder)
    connection = sqlite3.connect(f"{database_in(folder).as_uri()}?mode=ro", uri=True)
    yield connection
    connection.close()


def test_every_column_is_described_in_its_order() -> None:
    """A column that is added to the view is added to the page."""
    described = re.findall(r"^\| `(\w+)` \| (?:text|integer|real)", PAGE, re.MULTILINE)
    assert tuple(described) == VIEW_COLUMNS


def test_there_are_ten_queries() -> None:
    """The page promises ten."""
    assert len(QUERIES) == 10


@pytest.mark.parametrize("query", QUERIES, ids=[str(number) for number in range(1, len(QUERIES) + 1)])
def test_a_query_of_the_page_finds_something(log: sqlite3.Connection, query: str) -> None:
    """It runs as it stands on a read-only connection, and its answer has rows without an error."""
    if "relative_path = '" in query:
        [path] = log.execute("SELECT relative_path FROM decisions LIMIT 1").fetchone()
        query = re.sub(r"'lynx/\d+\.jpg'", f"'{path}'", query)
    assert log.execute(query.rstrip().rstrip(";")).fetchall()


@pytest.mark.parametrize(
    ("condition", "index_used"),
    [
        ("likelihood(decided_at >= '2025-12-01', 0.001)", "ix_decision_records_decided_at"),
        ("relative_path = 'x'", "ix_decision_records_relative_path"),
        ("sha256 = 'x'", "ix_decision_records_sha256"),
        ("id = 5", "INTEGER PRIMARY KEY"),
    ],
)
def test_an_index_that_is_promised_is_used(log: sqlite3.Connection, condition: str, index_used: str) -> None:
    """A question about a period, a path, a content or one decision reads no more than that."""
    plan = [row[-1] for row in log.execute(f"EXPLAIN QUERY PLAN SELECT * FROM decisions WHERE {condition}")]
    assert any(line.startswith("SEARCH r ") and index_used in line for line in plan), plan
    assert not [line for line in plan if line.startswith("SCAN")], plan
