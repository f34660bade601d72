"""Counting decisions in real audit logs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa

from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.errors import UnavailableError
from tests.helpers.audit_logs import NOON, Judged, count_decisions, engine_of, write_log

NEARLY_MIDNIGHT = datetime(2025, 3, 1, 23, 59, 59, 999_000, tzinfo=UTC)
MIDNIGHT = datetime(2025, 3, 2, tzinfo=UTC)
ODD_NAME = b"caf\xe9\\\x1b[31m".decode("utf-8", "surrogateescape")

BATCHES = (
    Judged("cat", "", 5, camera="Canon EOS R6"),
    Judged("cat", "blurry", 2, decided_at=NEARLY_MIDNIGHT),
    Judged("dog", "low_resolution", 3, "scraper", decided_at=MIDNIGHT),
    Judged("dog", "blurry", 1, "scraper", decided_at=MIDNIGHT),
    Judged("", "", 4, decided_at=MIDNIGHT),
    Judged(ODD_NAME, "corrupt", 1, decided_at=MIDNIGHT),
    Judged("cat", "noisy", 7, outcome="abandoned"),
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with all there is to count."""
    return write_log(tmp_path_factory.mktemp("log") / "audit.db", BATCHES)


@pytest.fixture
def engine(log: Path) -> Iterator[Store]:
    """A read-only engine on that log."""
    with open_log(log) as opened:
        yield opened


def counted(engine: Store, by: Dimension, **scope: object) -> dict[tuple[str, str], int]:
    """Give images by key and reason."""
    [counts] = count_decisions(engine, [(by,)], Scope(**scope))
    return {(count.keys[0], count.reason): count.images for count in counts}


def images(engine: Store, **scope: object) -> int:
    """Give the number of images in scope."""
    [counts] = count_decisions(engine, [()], Scope(**scope))
    return sum(count.images for count in counts)


def test_counts_are_crossed_with_verdict_and_reason(engine: Store) -> None:
    """Each combination of class, verdict and reason is one count, and images that never moved are in none."""
    [counts] = count_decisions(engine, [(Dimension.class_,)], Scope(source="default", until=MIDNIGHT))
    assert set(counts) == {
        Count(("cat",), "accepted", "", 5),
        Count(("cat",), "quarantined", "blurry", 2),
    }


def test_each_dimension_gives_its_own_keys(engine: Store) -> None:
    """Sources, reasons, cameras and hosts are counted under the names the log has for them."""
    assert counted(engine, Dimension.source)["scraper", "low_resolution"] == 3
    assert counted(engine, Dimension.reason)["blurry", "blurry"] == 3
    assert counted(engine, Dimension.camera)["Canon EOS R6", ""] == 5
    assert len({host for host, _ in counted(engine, Dimension.host)}) == 1


def test_days_are_utc_days(engine: Store) -> None:
    """The last millisecond before midnight UTC belongs to the old day, midnight to the new one."""
    days = counted(engine, Dimension.day)
    assert days["2025-03-01", "blurry"] == 2
    assert days["2025-03-02", "blurry"] == 1


def test_several_dimensions_at_once(engine: Store) -> None:
    """Keys come in the order in which their dimensions were asked for."""
    [counts] = count_decisions(engine, [(Dimension.class_, Dimension.source)], Scope())
    assert Count(("dog", "scraper"), "quarantined", "low_resolution", 3) in counts


def test_since_is_included_and_until_is_not(engine: Store) -> None:
    """Two periods that meet count every image once."""
    before, after = images(engine, until=MIDNIGHT), images(engine, since=MIDNIGHT)
    assert (before, after) == (7, 9)
    assert images(engine) == before + after


def test_a_moment_in_another_zone_is_the_same_moment(engine: Store) -> None:
    """A period given in local time selects what the same period in UTC does."""
    local = MIDNIGHT.astimezone(timezone(timedelta(hours=-7)))
    assert images(engine, since=local) == images(engine, since=MIDNIGHT)


def test_source_and_class_narrow_the_scope(engine: Store) -> None:
    """Only images of the source and the class named are counted; an unknown name has none."""
    assert images(engine, source="scraper") == 4
    assert images(engine, class_name="cat", source="default") == 7
    assert images(engine, class_name="zebra") == 0


def test_an_empty_class_name_means_images_without_a_class(engine: Store) -> None:
    """Naming no class and naming the empty one are different questions."""
    assert images(engine, class_name="") == 4


@pytest.mark.parametrize("name", [ODD_NAME, r"caf\xe9\\\u001b[31m"])
def test_a_class_is_found_by_its_folder_and_by_its_form_in_reports(engine: Store, name: str) -> None:
    """A hostile name works as the shell gives it and as copied from a report."""
    assert images(engine, class_name=name) == 1


def test_quotes_in_a_name_are_data(engine: Store) -> None:
    """SQL in a class name selects nothing."""
    assert images(engine, class_name="cat' OR '1'='1") == 0


def test_all_groupings_see_one_moment_of_the_log(tmp_path: Path) -> None:
    """What is recorded between two groupings of one question is in neither."""
    database = write_log(tmp_path / "audit.db", [Judged(images=3)])
    with open_log(database) as log:
        late = iter([Judged("dog", "blurry", 2)])

        def record_more(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if statement.startswith("SELECT"):
                write_log(database, late)

        sa.event.listen(engine_of(log), "after_cursor_execute", record_more)
        first, second = count_decisions(log, [(Dimension.class_,), (Dimension.day,)], Scope())
    assert next(late, None) is None
    assert [count.images for count in first] == [count.images for count in second] == [3]


def test_a_log_without_decisions_counts_nothing(tmp_path: Path) -> None:
    """A new log gives no counts, and no error."""
    with open_log(write_log(tmp_path / "audit.db", [])) as log:
        assert count_decisions(log, [(Dimension.class_,), ()], Scope()) == [[], []]


def test_a_file_that_is_no_audit_log_is_said_to_be_none(tmp_path: Path) -> None:
    """Another file in the place of the log ends the question with an error for a person."""
    (tmp_path / "audit.db").write_text("not a database, " * 100)
    with open_log(tmp_path / "audit.db") as log, pytest.raises(UnavailableError, match="not a database"):
        count_decisions(log, [(Dimension.class_,)], Scope())


def test_a_short_period_is_found_through_the_index(engine: Store) -> None:
    """A question about the last hour does not walk the whole log."""
    plans: list[str] = []

    def explain(connection: sa.Connection, cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            plans.extend(
                row[-1] for row in connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            )

    sa.event.listen(engine_of(engine), "before_cursor_execute", explain)
    count_decisions(engine, [(Dimension.class_,)], Scope(since=NOON))
    assert any("SEARCH rollup_hours USING INDEX ix_rollup_hours_hour" in line for line in plans), plans
    assert not any("decision_records" in line or "SCAN rollup_hours" in line for line in plans), plans
