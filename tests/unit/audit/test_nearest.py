"""The nearest rejected images: all of them, in order, under every filter, a page at a time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imageguard_daemon.audit import nearest
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.nearest import borderline_page, nearest_page
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import EVER_QUARANTINED, Selection, page
from imageguard_daemon.audit.writer import PlannedReview, ReviewWriter
from imageguard_daemon.core.model import Outcome
from tests.helpers.records import intent, judged

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ISSUES = ("blurry", "noisy", "corrupt")


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """Three hundred rejected images of three reasons, two classes and a month, and fifty accepted ones.

    People have rejected four of these.
    """
    root = tmp_path_factory.mktemp("nearest")
    file = root / "image"
    file.write_bytes(b"image")
    moment = iter(BEGIN + timedelta(hours=2 * number) for number in range(10_000))
    writer = ReviewWriter(root / "audit.db", root, now=lambda: next(moment))
    for number in range(350):
        ok = number % 7 == 6
        one = judged(intent(file, root / f"{number}.jpg"), ok=ok, relative_path=f"{number}.jpg")
        issues = () if ok else (ISSUES[number % 3],)
        score = 0.9 if ok else (number * 37 % 100) / 200  # several have the same
        score += number * 29 % 10 / 100 if ok else 0
        decision = replace(one.decision, score=score, issues=issues, borderline=number % 3 == 0)
        one = replace(one, decision=decision, class_name=("cat", "dog")[number % 2])
        [recorded] = writer.record_intents([one])
        writer.record_outcomes([Outcome(each.intent_id, "moved") for each in recorded])
    rejected = writer.reviewable_images([7, 14, 49, 350]).values()
    writer.record_reviews([PlannedReview(image, "reject", "anna", "") for image in rejected])
    writer.close()
    with open_log(root / "audit.db", complete=True) as log:
        yield log


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(states=EVER_QUARANTINED),
        Selection(states=("rejected",)),
        Selection(states=("rejected", "waiting"), scope=Scope(class_name="cat")),
        Selection(reason="noisy"),
        Selection(scope=Scope(class_name="dog")),
        Selection(scope=Scope(class_name="dog"), reason="blurry"),
        Selection(scope=Scope(since=BEGIN + timedelta(days=20))),
        Selection(scope=Scope(since=BEGIN + timedelta(days=3), until=BEGIN + timedelta(days=9))),
        Selection(scope=Scope(since=BEGIN + timedelta(days=4000))),
        Selection(scores={"score": (0.2, 0.4)}),
        Selection(scores={"blur_score": (0.0, 10.0)}),
        Selection(states=("released",)),
        Selection(scope=Scope(class_name="bird")),
    ],
)
@pytest.mark.parametrize("most", [40, 10_000])
def test_pages_are_the_whole_selection_in_order(log, selection, most, monkeypatch):
    """Put together, pages have every image once, the nearest first, however few are looked at for a page."""
    monkeypatch.setattr(nearest, "MAX_LOOKED_AT", most)
    monkeypatch.setattr(nearest, "_AT_A_TIME", (7, 20))
    expected = sorted(page(log, selection), key=lambda image: (-image.score, -image.id))
    found, after, pages = [], None, 0
    while pages == 0 or after is not None:
        part = nearest_page(log, selection, 10, after)
        found, after, pages = [*found, *part.images], part.after, pages + 1
        assert len(part.images) <= 10
    assert [image.id for image in found] == [image.id for image in expected]


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(states=("approved",)),
        Selection(scope=Scope(class_name="dog")),
        Selection(scope=Scope(since=BEGIN + timedelta(days=20))),
        Selection(scope=Scope(since=BEGIN + timedelta(days=3), until=BEGIN + timedelta(days=9))),
        Selection(scores={"score": (0.92, 0.97)}),
        Selection(borderline=True),
        Selection(scope=Scope(class_name="bird")),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize("most", [10, 10_000])
def test_accepted_images_come_borderline_ones_first(log, selection, size, most, monkeypatch):
    """Each once: borderline ones by their score, then the others, newest first, however the pages are cut."""
    monkeypatch.setattr(nearest, "MAX_LOOKED_AT", most)
    monkeypatch.setattr(nearest, "_AT_A_TIME", (7, 20))
    selection = replace(selection, states=selection.states if "approved" in selection.states else ("accepted",))
    everything = page(log, selection)
    expected = sorted((one for one in everything if one.borderline), key=lambda one: (one.score, one.id))
    expected += [one for one in everything if not one.borderline]
    found, after, pages = [], None, 0
    while pages == 0 or after is not None:
        part = borderline_page(log, selection, size, after)
        found, after, pages = [*found, *part.images], part.after, pages + 1
        assert len(part.images) <= size
    assert [one.id for one in found] == [one.id for one in expected]


def test_borderline_accepted_images_come_from_an_index(log):
    """Most images are accepted: neither all of them are read nor sorted."""
    query = "SELECT score, id FROM decision_records WHERE verdict = 'accepted' AND borderline = 1 ORDER BY score, id"
    with log.reading() as connection:
        plan = " ".join(str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query} LIMIT 10"))
    assert "INDEX ix_accepted_borderline" in plan
    assert "TEMP B-TREE" not in plan


def test_candidates_come_from_an_index(log):
    """Neither the whole log is read nor sorted for a page, whatever it is filtered by."""
    for filters in ("", "AND reason = 'noisy'", "AND class = 'dog'"):
        query = f"SELECT id FROM decision_records WHERE verdict = 'quarantined' {filters} ORDER BY score DESC, id DESC"
        with log.reading() as connection:
            plan = " ".join(str(row[-1]) for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query} LIMIT 10"))
        assert "INDEX ix_quarantined_" in plan
        assert "TEMP B-TREE" not in plan
