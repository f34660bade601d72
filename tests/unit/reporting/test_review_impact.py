"""What people said of images and what became of them, in every form of a report."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.model import Outcome
from imageguard_daemon.reporting.page import as_html
from imageguard_daemon.reporting.query import report_on
from imageguard_daemon.reporting.rendering import as_dict, as_table
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.tallies import Reviewed, recall
from imageguard_daemon.review.acting import approve, confirm, purge, reject, rejudge, release, undo
from tests.helpers.rejections import ANNA, Rejections

FAR = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report on ten rejected images: three released, one rejudged, one deleted, one confirmed, one undone."""
    rejections = Rejections(tmp_path_factory.mktemp("log") / "root")
    ids = [rejections.file(f"cat/{number}.jpg") for number in range(10)]
    rejections.file("cat/good.jpg", ok=True)
    rejections.do(release, *ids[:3], ids[5])
    rejections.do(undo, ids[5])
    rejections.do(confirm, ids[3], ids[4])
    rejections.do(purge, ids[4])
    with rejections.acting() as acting:
        list(rejudge(acting, [ids[6]], ANNA, {ids[6]: {"blur_score": 10.0}}))
    with open_log(rejections.root / "audit.db") as log:
        made = report_on(log, (Dimension.class_, Dimension.day), Scope(), Reporting(), FAR)
    rejections.close()
    return made


def printed(report: Report) -> str:
    """Give the table as text."""
    console = Console(width=100, file=io.StringIO(), record=True)
    console.print(as_table(report))
    return console.export_text()


def test_what_people_reject_and_approve_is_told_with_what_follows_for_the_bad_ones(tmp_path: Path) -> None:
    """Counts of the verdict stay; where images are, what was missed, and the recall with its ends come with them."""
    rejections = Rejections(tmp_path / "root")
    bad = [rejections.file(f"cat/{number}.jpg") for number in range(4)]
    good = [rejections.file(f"cat/{number}.jpg", ok=True) for number in range(4, 10)]
    rejections.do(confirm, *bad[:2])
    rejections.do(release, bad[2])
    rejections.do(reject, *good[:3])
    rejections.do(undo, good[2])
    rejections.do(purge, good[1])
    rejections.do(approve, *good[3:])
    with open_log(rejections.root / "audit.db") as log:
        made = report_on(log, (Dimension.class_,), Scope(), Reporting(), FAR)
    rejections.close()
    text = printed(made)
    words = "1 released since, 2 accepted and rejected by people since, 1 deleted since, 4 in quarantine"
    assert f"6 accepted, 4 rejected, {words}" in " ".join(text.split())
    assert "2 of 3 reviewed rejections were right (66.7 %" in text
    assert "2 of 5 reviewed acceptances were wrong (40.0 %" in text
    assert "If the reviewed ones are like the rest, 52.6 % of the bad images (" in text
    assert "2 of 5 reviewed acceptances were wrong (40.0 %" in as_html(made, {}, FAR)
    for part in (whole := as_dict(made), whole["groups"][0]):
        assert (part["released"], part["rejected_by_people"], part["purged"], part["in_quarantine"]) == (1, 2, 1, 4)
    assert (whole["accepted"], whole["quarantined"]) == (6, 4)
    told = whole["reviewed"]
    assert (told["right"], told["wrong"], told["approved"], told["missed"]) == (2, 1, 3, 2)
    assert told["recall"] == pytest.approx((2 / 3 * 4) / (2 / 3 * 4 + 2 / 5 * 6))
    assert told["miss_low"] < told["miss_rate"] < told["miss_high"]


counts = st.integers(0, 10_000)


@given(counts, counts, counts, counts, counts, counts)
def test_a_recall_lies_between_its_ends(
    right: int, wrong: int, approved: int, missed: int, more: int, others: int
) -> None:
    """Whatever people said of however many; and where nobody knows how many they looked through, there is none."""
    found = recall(
        Reviewed(right, wrong, approved=approved, missed=missed), right + wrong + more, approved + missed + others
    )
    if not approved or not right + wrong:
        assert found is None
    else:
        assert found is not None
        assert 0 <= found.low <= found.share <= found.high <= 1


def test_what_went_back_into_the_inbox_is_not_in_quarantine(tmp_path: Path) -> None:
    """Of two rejected images and a good one, one of each kind was written to: one rejected image is left."""
    rejections = Rejections(tmp_path / "root")
    returned = [rejections.file("cat/1.jpg"), rejections.file("cat/2.jpg"), rejections.file("cat/3.jpg", ok=True)][1:]
    for number in returned:
        moved = rejections.audit.moved_by(number)
        assert moved
        away = replace(moved.intent, source_path=moved.intent.destination_path, destination_path="")
        [taken] = rejections.audit.record_return([(away, number)], "was written to")
        Path(moved.intent.destination_path).unlink()
        rejections.audit.record_outcomes([Outcome(taken.intent_id, "purged")])
    with open_log(rejections.root / "audit.db") as log:
        made = report_on(log, (Dimension.class_,), Scope(), Reporting(), FAR)
    rejections.close()
    assert "2 rejected, 1 written to and judged again, 1 in quarantine" in printed(made)
    whole = as_dict(made)
    for part in (whole, whole["groups"][0]):
        assert (part["released"], part["purged"], part["returned"], part["in_quarantine"]) == (0, 0, 1, 1)


def test_people_read_how_many_are_in_quarantine_by_now(report: Report) -> None:
    """Ten were rejected; four released and one deleted since leave five."""
    words = "4 released since, 1 deleted since, 5 in quarantine"
    assert f"1 accepted, 10 rejected, {words}" in printed(report)
    assert f"({words})" in as_html(report, {}, FAR)
    [line] = [line for line in printed(report).splitlines() if line.startswith("cat ")]
    assert line.split()[2:5] == ["11", "10", "5"]


def test_programs_get_the_same_numbers(report: Report) -> None:
    """Keys of before keep their meaning; `quarantined` is the verdict, `in_quarantine` where the files are."""
    made = as_dict(report)
    assert (made["quarantined"], made["rejected"]) == (10, 10)
    [group] = made["groups"]
    for numbers in (made, group):
        assert (numbers["released"], numbers["purged"], numbers["in_quarantine"]) == (4, 1, 5)
    assert {name: made["reviewed"][name] for name in ("right", "wrong", "rejudged")} == {
        "right": 2,
        "wrong": 3,
        "rejudged": 1,
    }


def test_a_log_that_nobody_reviewed_is_told_in_short(tmp_path: Path) -> None:
    """All rejected images are in quarantine: one number says so."""
    rejections = Rejections(tmp_path / "root")
    rejections.file("cat/1.jpg")
    with open_log(rejections.root / "audit.db") as log:
        made = report_on(log, (Dimension.class_,), Scope(), Reporting(), FAR)
    rejections.close()
    assert "0 accepted, 1 quarantined" in printed(made)
    assert "in quarantine" not in printed(made)
    assert as_dict(made)["in_quarantine"] == 1
