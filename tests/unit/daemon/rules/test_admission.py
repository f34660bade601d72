"""Which verdicts wait where writers are not known, for how long, and what becomes of content that was filed before."""

from dataclasses import replace

import pytest

from imageguard_daemon.core.model import Candidate, FileIdentity, Measurement
from imageguard_daemon.daemon.rules import admission
from imageguard_daemon.daemon.rules.admission import Doubts, is_doubtful
from tests.helpers.pipeline_bench import GOOD, Bench

NOW, SETTLE = 1000.0, 60.0
STATE = FileIdentity(1, 2, 3, 4, 5)
CUT = Candidate("default", "cut.jpg", settled=STATE, still_since=NOW)


@pytest.mark.parametrize(
    ("measurement", "doubtful"),
    [
        (Measurement("a", issue="corrupt"), True),
        (Measurement("a", issue="unsupported"), True),
        (Measurement("a", issue="blank"), True),
        (Measurement("a", issue="too_large"), False),
        (Measurement("a", GOOD), False),
    ],
)
def test_only_what_an_unfinished_upload_would_get_waits(measurement: Measurement, doubtful: bool) -> None:
    """A whole image is as good now as later, and one that is too large grows no smaller."""
    assert is_doubtful(measurement) == doubtful


def test_a_doubtful_verdict_waits_from_the_last_change() -> None:
    """Looked at again after a while, a file that has not changed has waited for as long as it has lain still."""
    doubts = Doubts(SETTLE)
    assert doubts.believe_at(CUT, NOW + 2) == NOW + SETTLE
    again = replace(CUT, still_since=NOW + 55)  # it had to settle once more
    assert doubts.believe_at(again, NOW + 57) == NOW + SETTLE
    assert doubts.believe_at(again, NOW + SETTLE) is None


def test_a_file_that_changed_waits_anew() -> None:
    """What has grown meanwhile has proved that somebody writes."""
    doubts = Doubts(SETTLE)
    doubts.believe_at(CUT, NOW)
    grown = replace(CUT, settled=replace(STATE, size_bytes=30), still_since=NOW + 50)
    assert doubts.believe_at(grown, NOW + SETTLE) == NOW + 50 + SETTLE


def test_where_writers_are_known_nothing_waits() -> None:
    """The kernel says that nobody writes: an empty file is judged as quickly as any."""
    assert Doubts(SETTLE).believe_at(replace(CUT, still_since=None), NOW) is None


def test_what_was_still_long_before_is_believed_at_once() -> None:
    """An old file of another account does not wait a second time only because the daemon was started."""
    assert Doubts(SETTLE).believe_at(replace(CUT, still_since=NOW - 3600), NOW) is None


def test_many_doubtful_files_are_believed_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more than can be remembered the first ones keep their place, and are through in time."""
    monkeypatch.setattr(admission, "CAPACITY", 2)
    doubts = Doubts(SETTLE)
    files = [replace(CUT, relative_path=f"{number}.jpg") for number in range(4)]
    for file in files:
        doubts.believe_at(file, NOW)
    late = [replace(file, still_since=NOW + SETTLE) for file in files]
    believed = [doubts.believe_at(file, NOW + SETTLE) is None for file in late]
    assert believed == [True, True, False, False]


def test_once_waits_for_what_lies_still_and_not_for_what_goes_on_changing() -> None:
    """`run --once` ends some time, whoever writes."""
    doubts = Doubts(SETTLE)
    for second in range(0, 200, 10):
        grown = replace(CUT, settled=replace(STATE, size_bytes=second), still_since=NOW + second)
        doubts.believe_at(grown, NOW + second)
        assert bool(list(doubts.worth_waiting_for(NOW + second))) == (second < 90)


def begun(tmp_path, policy: str) -> Bench:
    """Give a bench with a good and a bad image filed."""
    bench = Bench(tmp_path, duplicates=policy, settle_seconds=2.0)
    bench.arrive("cat/1.jpg", b"good")
    bench.arrive("cat/bad.jpg", b"bad")
    bench.step()
    return bench


@pytest.mark.parametrize("policy", ["accept", "quarantine", "skip"])
def test_what_is_new_is_judged_whatever_becomes_of_duplicates(tmp_path, policy):
    """Nothing but equal bytes is a duplicate."""
    bench = begun(tmp_path, policy)
    bench.arrive("cat/1.jpg", b"good, changed")
    bench.step()
    assert sorted(bench.files().values()) == [b"bad", b"good", b"good, changed"]
    assert [verdict for _, verdict in bench.decisions()] == ["accepted", "quarantined", "accepted"]
    bench.audit.close()


def test_duplicates_are_judged_by_default(tmp_path):
    """The same bytes again are filed again, under a name of their own."""
    bench = begun(tmp_path, "accept")
    bench.arrive("cat/1.jpg", b"good")
    bench.step()
    assert [verdict for _, verdict in bench.decisions()] == ["accepted", "quarantined", "accepted"]
    bench.audit.close()


def test_duplicates_can_be_quarantined_with_what_they_repeat(tmp_path):
    """The reason is `duplicate`, and the detail names the first file, also when that was rejected."""
    bench = begun(tmp_path, "quarantine")
    bench.arrive("dog/again.jpg", b"good")
    bench.arrive("dog/bad again.jpg", b"bad")
    bench.step()
    decisions = {file.candidate.relative_path: file.decision for file in bench.filed[2:]}
    assert {name: decision.reason for name, decision in decisions.items()} == dict.fromkeys(
        ("dog/again.jpg", "dog/bad again.jpg"), "duplicate"
    )
    assert decisions["dog/again.jpg"].detail == "the same bytes were filed as accepted/cat/1.jpg"
    assert decisions["dog/bad again.jpg"].detail == "the same bytes were filed as quarantine/cat/bad.jpg"
    assert "quarantine/dog/again.jpg" in bench.files()
    bench.audit.close()


def test_duplicates_can_be_left_until_they_change(tmp_path):
    """A nightly copy stays, is counted, is never judged again, and is judged when it changes."""
    bench = begun(tmp_path, "skip")
    bench.arrive("cat/1.jpg", b"good")
    bench.step()
    inbox = bench.served.inbox
    assert bench.files()["inbox/cat/1.jpg"] == b"good"
    assert (len(bench.decisions()), inbox.skipped, bench.backlog.failures) == (2, 1, ())
    for night in range(1, 4):
        inbox.walk_soon()
        found = inbox.step(night * 86_400.0, 100) + inbox.step(night * 86_400.0 + 3, 100)
        assert (found, inbox.skipped) == ([], 1)
    (bench.inbox / "cat/1.jpg").write_bytes(b"good, changed")
    inbox.walk_soon()
    inbox.step(400_000.0, 100)
    assert [candidate.relative_path for candidate in inbox.step(400_003.0, 100)] == ["cat/1.jpg"]
    inbox.walk_soon()
    inbox.step(400_010.0, 100)
    assert inbox.skipped == 0
    inbox.stop()
    bench.audit.close()


@pytest.mark.parametrize("policy", ["quarantine", "skip"])
def test_twins_that_arrive_together_wait_for_one_another(tmp_path, policy):
    """Only what was filed makes a duplicate: the second of two is looked at once the first is through."""
    bench = Bench(tmp_path, duplicates=policy)
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        bench.arrive(name, b"the same")
    bench.step()
    assert len(bench.decisions()) == 1
    assert (bench.backlog.held, bench.served.inbox.settling) == (0, 2)
    for name in ("2.jpg", "3.jpg"):
        bench.arrive(name, b"the same")
    bench.step()
    assert len(bench.decisions()) == (3 if policy == "quarantine" else 1)
    assert len(bench.files()) == 3
    bench.audit.close()
