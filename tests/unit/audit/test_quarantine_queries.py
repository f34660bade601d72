"""Questions about rejected images, on real logs."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import (
    STATES,
    Selection,
    ids_of,
    neighbours,
    number_selected,
    page,
    selected,
)
from imageguard_daemon.audit.reviewed_images import count_reviews, reviewed_measures
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.errors import UnavailableError
from imageguard_daemon.review.acting import confirm, reject, release, undo
from tests.helpers.audit_logs import NOON, Judged, engine_of, write_log
from tests.helpers.records import UNDECODABLE
from tests.helpers.rejections import Rejections

BATCHES = (
    Judged("cat", "blurry", 4),
    Judged("dog", "noisy", 3, "scraper", decided_at=NOON + timedelta(days=1), borderline=True),
    Judged("cat", "", 5, borderline=True),
    Judged("dog", "blurry", 2, outcome="abandoned"),
)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Store]:
    """A log of seven rejected images, five accepted, and two that never moved."""
    with open_log(write_log(tmp_path / "audit.db", BATCHES)) as log:
        yield log


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(), 7),
        (Selection(reason="blurry"), 4),
        (Selection(Scope(class_name="dog")), 3),
        (Selection(Scope(source="scraper")), 3),
        (Selection(Scope(since=NOON + timedelta(hours=1))), 3),
        (Selection(Scope(until=NOON + timedelta(hours=1))), 4),
        (Selection(scores={"score": (0.1, 0.3)}), 7),
        (Selection(scores={"score": (0.3, 1.0)}), 0),
        (Selection(borderline=True), 3),
        (Selection(borderline=True, reason="blurry"), 0),
        (Selection(limit=2), 2),
        (Selection(ids=(1, 2, 9)), 2),
        (Selection(ids=()), 0),
        (Selection(states=("confirmed",)), 0),
        (Selection(states=("rejected",)), 0),
        (Selection(states=("waiting", "rejected")), 7),
        (Selection(states=("waiting", "rejected"), limit=2), 2),
        (Selection(action="release"), 0),
    ],
)
def test_what_is_selected_is_what_was_asked_for(log: Store, selection: Selection, count: int) -> None:
    """Each condition narrows, pages and bulk selections agree, and accepted or unmoved images are never among them."""
    images = page(log, selection)
    assert len(images) == count
    assert [image.id for image in images] == [row[0] for row in selected(log, selection)]
    assert all(image.reason and image.state == "waiting" for image in images)


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (Selection(states=("accepted",)), 5),
        (Selection(Scope(class_name="dog"), states=("accepted",)), 0),
        (Selection(Scope(since=NOON + timedelta(hours=1)), states=("accepted",)), 0),
        (Selection(borderline=True, states=("accepted",)), 5),
        (Selection(states=("accepted",), limit=2), 2),
        (Selection(states=("approved",)), 0),
        (Selection(ids=(1, 8, 9), states=("accepted",)), 2),
    ],
)
def test_accepted_images_are_selected_where_that_is_asked_for(log: Store, selection: Selection, count: int) -> None:
    """In pages and in bulk, by the same filters, and none that was rejected is among them."""
    images = page(log, selection)
    assert [image.id for image in images] == [row[0] for row in selected(log, selection)]
    assert (len(images), {(image.reason, image.state) for image in images}) == (
        count,
        {("", "accepted")} if count else set(),
    )


def test_pages_of_both_verdicts_are_one_list(log: Store) -> None:
    """Newest first over all, without gap or repeat, and the same way back."""
    everything, found, after = Selection(states=STATES, limit=5), [], None
    while images := page(log, everything, after):
        found += [image.id for image in images]
        after = found[-1]
    assert found == list(range(12, 0, -1))
    around = {12: (None, 11), 8: (9, 7), 7: (8, 6), 1: (2, None)}
    assert {number: neighbours(log, everything, number) for number in around} == around
    counts = [number_selected(log, Selection(states=STATES, limit=limit)) for limit in (None, 5, 12, 50)]
    assert counts == [12, 5, 12, 12]


def test_the_neighbours_of_an_image_are_sought_from_it(log: Store) -> None:
    """Of two upper bounds SQLite would begin at either: at the end of a long log it walked back for ten seconds."""
    asked: list[str] = []
    listener = lambda *told: asked.append(told[2])  # noqa: E731 - told[2] is the statement
    sa.event.listen(engine_of(log), "before_cursor_execute", listener)
    assert neighbours(log, Selection(), 5) == (6, 4)
    sa.event.remove(engine_of(log), "before_cursor_execute", listener)
    [down] = [one for one in asked if "ORDER BY decisions.id DESC" in one]
    assert down.count("decisions.id < ") == 1


def test_pages_follow_one_another_without_gap_or_repeat(log: Store) -> None:
    """Going on after the last of a page gives every image once, newest first."""
    found: list[int] = []
    after = None
    while images := page(log, Selection(limit=3), after):
        found += [image.id for image in images]
        after = found[-1]
    assert found == [7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    ("selection", "plan"),
    [
        (Selection(limit=50), "SEARCH r USING INTEGER PRIMARY KEY (rowid<?)"),
        (Selection(Scope(class_name="cat"), limit=50), "SEARCH r USING INDEX ix_quarantined_class"),
        (Selection(Scope(camera="Canon"), limit=50), "SEARCH r USING INDEX ix_quarantined_camera"),
        (Selection(reason="blurry", limit=50), "SEARCH r USING INDEX ix_quarantined_reason"),
        (Selection(states=("accepted",), limit=50), "SEARCH r USING INTEGER PRIMARY KEY (rowid<?)"),
    ],
)
def test_a_page_goes_down_an_index_and_sorts_nothing(log: Store, selection: Selection, plan: str) -> None:
    """However long the log is, a page reads about as many rows as it shows."""
    told = _plan_of(log, lambda: page(log, selection, after=10**9))
    assert plan in told[0]
    assert "SEARCH i USING INDEX ix_intents_decision_id (decision_id=?)" in told
    assert not any(line.startswith(("SCAN", "USE TEMP B-TREE FOR ORDER")) for line in told)


def test_a_page_of_what_people_rejected_begins_with_the_reviews(log: Store) -> None:
    """Most images are accepted, and none of those that nobody reviewed is read."""
    told = _plan_of(log, lambda: page(log, Selection(states=("rejected",), limit=50), after=10**9))
    assert any(line.startswith("SEARCH r USING INTEGER PRIMARY KEY (rowid=?") for line in told), told


def test_a_page_of_a_period_begins_with_the_period(log: Store) -> None:
    """What lies outside of it is not read, however much that is."""
    told = _plan_of(log, lambda: page(log, Selection(Scope(since=NOON), limit=50)))
    assert any("ix_decision_records_decided_at (decided_at>?)" in line for line in told)  # its range of ids
    assert "SEARCH i USING INDEX ix_intents_decision_id (decision_id=?)" in told
    assert not any(line.startswith("SCAN") and "anonymous" not in line and "anon_" not in line for line in told)


def test_counting_reviews_begins_with_the_reviews(log: Store) -> None:
    """A report over many decisions looks only at those that were reviewed."""
    told = _plan_of(log, lambda: count_reviews(log, Scope(since=NOON)))
    assert "SEARCH r USING INTEGER PRIMARY KEY (rowid=?)" in told
    assert not any(f"{line} ".startswith(("SCAN r ", "SCAN o ", "SCAN i ")) for line in told)


def _plan_of(log: Store, ask) -> list[str]:
    engine = engine_of(log)
    asked: list[tuple[str, object]] = []

    def note(_connection, _cursor, statement, parameters, *_rest):
        if statement.startswith("SELECT") and "sqlite_master" not in statement:
            asked.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    ask()
    sa.event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        plans = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", given).all() for text, given in asked]
    return [row[3] for plan in plans for row in plan]


def test_images_are_found_by_each_of_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As listed, as it lay in the inbox, as it lies in quarantine, and relative to the root or to where one is."""
    rejections = Rejections(tmp_path / "root")
    number, hostile = rejections.file("cat/1.jpg"), rejections.file(f"cat/{UNDECODABLE}")
    with open_log(rejections.root / "audit.db") as log:
        monkeypatch.chdir(rejections.quarantine)
        names = ["cat/1.jpg", "quarantine/cat/1.jpg", str(rejections.quarantine / "cat/1.jpg"), "./cat/1.jpg", "2.jpg"]
        rejections.file("cat/1.jpg", ok=True)  # the next of that name
        found = ids_of(log, names, str(rejections.root))
        assert [found[name] for name in names] == [[number]] * 4 + [[]]
        raw = [f"cat/{UNDECODABLE}", r"cat/caf\xe9\u000a\u001b[31m.jpg"]
        assert list(ids_of(log, raw, str(rejections.root)).values()) == [[hostile]] * 2
        assert ids_of(log, ["cat/1.jpg", "3.jpg"], str(rejections.root), accepted=True) == {
            "cat/1.jpg": [3],
            "3.jpg": [],
        }
        rejections.do(reject, 3)
        assert ids_of(log, ["cat/1.jpg"], str(rejections.root)) == {"cat/1.jpg": [number, 3]}
    rejections.close()


def test_the_latest_word_counts(tmp_path: Path) -> None:
    """Right are confirmed ones, wrong are released ones; what was undone since counts for neither."""
    rejections = Rejections(tmp_path / "root")
    first, second, third, _ = (rejections.file(f"cat/{n}.jpg") for n in range(4))
    rejections.do(confirm, first, second, third)
    rejections.do(release, second)
    rejections.do(undo, third)
    with open_log(rejections.root / "audit.db") as log:
        assert {one.action: one.images for one in count_reviews(log, Scope())} == {"confirm": 1, "release": 1}
        assert count_reviews(log, Scope(class_name="dog")) == []
        assert count_reviews(log, Scope(until=datetime(2020, 1, 1, tzinfo=UTC))) == []
        assert sorted((right, name) for right, name, *_ in reviewed_measures(log)) == [
            (False, "cat/1.jpg"),
            (True, "cat/0.jpg"),
        ]
    rejections.close()


def test_a_log_of_before_there_were_reviews_is_told_apart(tmp_path: Path) -> None:
    """Reports go on without them; review commands say how to bring the log up to date."""
    path = write_log(tmp_path / "audit.db", BATCHES)
    connection = sqlite3.connect(path)
    connection.execute("DROP VIEW reviews")
    connection.execute("DROP TABLE review_records")
    connection.close()
    with open_log(path) as log:
        assert count_reviews(log, Scope()) == []
    with pytest.raises(UnavailableError, match="older version"):
        open_log(path, complete=True)
