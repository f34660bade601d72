"""Which verdicts wait where writers are not known, and for how long."""

from dataclasses import replace

import pytest

from imageguard_daemon.core.model import Candidate, FileIdentity, Measurement
from imageguard_daemon.daemon.rules import unproved_verdicts
from imageguard_daemon.daemon.rules.unproved_verdicts import Doubts, is_doubtful
from tests.helpers.bench import GOOD

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
    monkeypatch.setattr(unproved_verdicts, "CAPACITY", 2)
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
