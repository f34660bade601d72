"""How many of the images selected have which score, held against the images themselves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imageguard_daemon.audit.archive.archiving import ArchiveRequest, archive
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import Selection, page
from imageguard_daemon.audit.score_counts import BUCKETS, count_scores, highest
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.review.acting import confirm, release, undo
from tests.helpers.audit_logs import NOON, Judged, write_log
from tests.helpers.rejections import Rejections

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
