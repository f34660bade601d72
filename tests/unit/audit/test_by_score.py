"""Images by their scores: pages of the nearest, in order under every filter, and counts held against the images."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imageguard_daemon.audit import by_score
from imageguard_daemon.audit.archive.archiving import ArchiveRequest, archive
from imageguard_daemon.audit.by_score import BUCKETS, borderline_page, count_scores, highest, nearest_page
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import EVER_QUARANTINED, Selection, page
from imageguard_daemon.audit.store import Store
from imageguard_daemon.audit.writer import PlannedReview, ReviewWriter
from imageguard_daemon.core.model import SCORE_NAMES, Outcome
from imageguard_daemon.review.acting import confirm, release, undo
from tests.helpers.audit_logs import NOON, Judged, write_log
from tests.helpers.records import intent, judged
from tests.helpers.rejections import Rejections

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
    monkeypatch.setattr(by_score, "MAX_LOOKED_AT", most)
    monkeypatch.setattr(by_score, "_AT_A_TIME", (7, 20))
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
    monkeypatch.setattr(by_score, "MAX_LOOKED_AT", most)
    monkeypatch.setattr(by_score, "_AT_A_TIME", (7, 20))
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


SCORES = ("score", *SCORE_NAMES)
SELECTIONS = (
    Selection(),
    Selection(reason="blurry"),
    Selection(Scope(class_name="dog")),
    Selection(Scope(camera="Canon")),
    Selection(Scope(camera="")),
    Selection(Scope(since=NOON)),
    Selection(borderline=True),
    Selection(scores={"blur_score": (0, 60)}),
    Selection(scores={"score": (0, 0.4)}),
    Selection(states=("released", "confirmed")),
    Selection(states=("waiting", "confirmed", "released", "purged", "returned")),
)


def _by_hand(engine: Store, selection: Selection, name: str) -> list[int]:
    counts = [0] * BUCKETS
    kept = {one: limits for one, limits in selection.scores.items() if one != name}
    for image in page(engine, replace(selection, scores=kept)):
        score = image.score if name == "score" else image.scores[SCORE_NAMES.index(name)]
        for at in range(BUCKETS):
            low, high = (round(one * highest(name) / BUCKETS, 2) for one in (at, at + 1))
            counts[at] += score is not None and low <= score <= high
    return counts


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory: pytest.TempPathFactory):
    """A log of rejected images in many states."""
    made = Rejections(tmp_path_factory.mktemp("scores") / "root")
    for number in range(9):
        made.file(f"cat/{number}.jpg", class_name="dog" if number % 2 else "cat")
    made.file("cat/good.jpg", ok=True)
    made.do(release, 1, 2)
    made.do(confirm, 3, 4)
    made.do(undo, 2)
    with open_log(made.root / "audit.db", complete=True) as log:
        yield log
    made.close()


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
@pytest.mark.parametrize("name", SCORES)
def test_counts_by_score_are_those_of_the_images_selected(reviewed: Store, selection: Selection, name: str) -> None:
    """Whatever the filters are, reviews included, each image is in the part that its score belongs to, and no other."""
    assert count_scores(reviewed, selection, name) == _by_hand(reviewed, selection, name)


@pytest.mark.parametrize("name", SCORES)
def test_counts_of_a_larger_log_agree(tmp_path, name: str) -> None:
    """Images that were packed by the hour are counted as those that were not; unmoved and accepted ones never."""
    batches = (
        Judged("cat", "blurry", 40, camera="Canon", exposure=(0.0, 0.0)),
        Judged("dog", "noisy", 30, borderline=True, exposure=(0.0, 0.0)),
        Judged("dog", "corrupt", 3),
        Judged("dog", "", 20),
        Judged("dog", "blurry", 10, outcome="abandoned"),
    )
    with open_log(write_log(tmp_path / "audit.db", batches), complete=True) as log:
        for selection in (Selection(), Selection(reason="blurry"), Selection(Scope(camera="Canon")), SELECTIONS[6]):
            counts = count_scores(log, selection, name)
            assert counts == _by_hand(log, selection, name)
            assert name not in {"score", "blur_score"} or sum(counts)


def test_what_was_archived_is_in_no_bar(tmp_path) -> None:
    """Roll-ups remember it; galleries cannot show it."""
    made = Rejections(tmp_path / "root")
    for number in range(4):
        made.file(f"cat/{number}.jpg", ok=number % 2 == 0)
    made.do(release, 2)
    archive(
        made.settings, ArchiveRequest(datetime.now(UTC) + timedelta(minutes=1), made.root / "archive", "anna", False)
    )
    made.file("cat/new.jpg", ok=True)
    with open_log(made.root / "audit.db", complete=True) as log:
        for selection in (Selection(states=("accepted",)), Selection()):
            for name in SCORES:
                assert count_scores(log, selection, name) == _by_hand(log, selection, name)
    made.close()
