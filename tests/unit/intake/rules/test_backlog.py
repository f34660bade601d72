"""The hand-over from intake to the workers."""

from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.core.model import Candidate, FileIdentity
from imageguard_daemon.intake.rules import backlog as backlog_module
from imageguard_daemon.intake.rules.backlog import PAUSES, Backlog

CAT, DOG = Candidate("default", "cat.jpg"), Candidate("default", "dog.jpg")
NOW = 1000.0


def in_work(backlog: Backlog, candidate: Candidate) -> Candidate:
    """Offer a candidate and take it again."""
    backlog.offer(candidate)
    assert backlog.take() == [candidate]
    return candidate


@pytest.fixture
def backlog() -> Backlog:
    """A backlog that gives up after three attempts."""
    return Backlog(limit=3, max_attempts=3)


def test_candidates_leave_in_the_order_in_which_they_came(backlog: Backlog) -> None:
    """The oldest candidate is handed out first, each once, even when it is offered again meanwhile."""
    for candidate in (CAT, DOG, CAT):
        backlog.offer(candidate)
    assert [backlog.take(), backlog.take(), backlog.take()] == [[CAT], [DOG], []]
    backlog.offer(CAT)
    assert backlog.take() == []
    assert (backlog.held, backlog.room) == (2, 1)


def test_sources_take_turns(backlog: Backlog) -> None:
    """A thousand files of one, however long they take, are no queue for the one file that came to another."""
    backlog.limit = 100
    many = [Candidate("busy", f"{number}.jpg") for number in range(10)]
    for candidate in (*many, CAT):
        backlog.offer(candidate)
    assert backlog.waiting == 11
    assert backlog.take(4) == many[:4]
    assert backlog.take(4) == [CAT]
    backlog.offer(DOG)
    assert [backlog.take(4), backlog.take(4), backlog.take(4), backlog.take(4)] == [many[4:8], [DOG], many[8:], []]
    assert (backlog.waiting, backlog.held, backlog.oldest) == (0, 12, None)


def test_images_and_sidecars_take_turns(backlog: Backlog) -> None:
    """Labels by the thousand whose images have not come are no queue for the images that do."""
    backlog.limit = 100
    labels = [Candidate("default", f"{number}.txt", "sidecar") for number in range(10)]
    for candidate in (*labels, CAT):
        backlog.offer(candidate)
    assert [backlog.take(5), backlog.take(5), backlog.take(5)] == [labels[:5], [CAT], labels[5:]]


def test_what_failed_before_and_what_is_new_take_turns(backlog: Backlog) -> None:
    """Files by the hundred that are tried again at the same moment are no queue for a new one."""
    backlog.limit = 100
    failing = [Candidate("default", f"{number}.jpg") for number in range(10)]
    for candidate in failing:
        backlog.offer(candidate)
        backlog.take()
        backlog.failed(candidate, "too large", 0.0)
    for candidate in (*backlog.take_retries(1e9), CAT):
        backlog.offer(candidate)
    assert [backlog.take(5), backlog.take(5), backlog.take(5)] == [failing[:5], [CAT], failing[5:]]


def test_the_file_that_arrived_first_is_known(backlog: Backlog, tmp_path: Path) -> None:
    """Whose turn it is does not matter for how long something has waited."""
    for source in ("new", "old"):
        (tmp_path / source).touch()
        seen = FileIdentity.from_stat((tmp_path / source).stat())
        age = {"new": 1, "old": 5}[source]
        backlog.offer(Candidate(source, "1.jpg", settled=replace(seen, ctime_ns=seen.ctime_ns - age * 10**9)))
    assert backlog.oldest is not None
    assert backlog.oldest.source == "old"


def test_pauses_double_up_to_a_limit() -> None:
    """Each failure in a row waits twice as long as the one before, but never longer than the longest pause."""
    backlog = Backlog(limit=1, max_attempts=20)
    pauses, now = [], NOW
    for _ in range(12):
        failure = backlog.failed(in_work(backlog, CAT), "no", now)
        assert failure.retry_at is not None
        pauses.append(failure.retry_at - now)
        now = failure.retry_at
        assert list(backlog.take_retries(now)) == [CAT]
    assert pauses[:3] == [PAUSES.first_seconds, 2 * PAUSES.first_seconds, 4 * PAUSES.first_seconds]
    assert pauses[-1] == PAUSES.longest_seconds


def test_retries_may_be_taken_a_few_at_a_time(backlog: Backlog) -> None:
    """Who stops taking them gets the others at the next time, and none twice."""
    for candidate in (CAT, DOG):
        backlog.failed(in_work(backlog, candidate), "no", NOW)
    assert next(backlog.take_retries(NOW + 1000)) == CAT
    assert list(backlog.take_retries(NOW + 1000)) == [DOG]


def test_a_pause_ends_early_for_what_still_waits_as_it_was_told(backlog: Backlog) -> None:
    """When what it waited for has come; of one that has failed again meanwhile, or went, nothing changes."""
    first = backlog.postponed(in_work(backlog, CAT), "no permission", NOW + 600)
    assert backlog.still_waits(first)
    backlog.retry_now(first, NOW)
    assert list(backlog.take_retries(NOW)) == [CAT]
    again = backlog.postponed(in_work(backlog, CAT), "no permission", NOW + 600)
    backlog.retry_now(first, NOW)
    assert (backlog.still_waits(first), backlog.next_retry()) == (False, NOW + 600)
    backlog.done(CAT)
    backlog.retry_now(again, NOW)
    assert backlog.failures == ()


def test_a_file_that_failed_too_often_waits_for_a_person(backlog: Backlog) -> None:
    """After `max_attempts` there are no more retries, until everything gets another chance."""
    for _ in range(3):
        backlog.failed(in_work(backlog, CAT), "no", NOW)
        list(backlog.take_retries(NOW + 1000))
    [failure] = backlog.failures
    assert (failure.attempts, failure.retry_at) == (3, None)
    assert backlog.next_retry() is None
    assert CAT in backlog
    backlog.give_all_another_chance()
    assert CAT not in backlog
    assert not backlog.failures


def test_a_changed_file_starts_with_a_clean_slate(backlog: Backlog) -> None:
    """A new file under the name of one that failed is offered at once and has all its attempts."""
    backlog.failed(in_work(backlog, CAT), "no", NOW)
    backlog.changed(CAT)
    assert backlog.failed(in_work(backlog, CAT), "no", NOW).attempts == 1


def test_a_change_does_not_disturb_a_file_in_work(backlog: Backlog) -> None:
    """An event about a file in work does not let it be queued a second time."""
    in_work(backlog, CAT)
    backlog.changed(CAT)
    assert CAT in backlog


def test_a_postponed_file_has_no_attempt_counted(backlog: Backlog) -> None:
    """Waiting for an image costs a sidecar none of its attempts."""
    assert backlog.postponed(in_work(backlog, CAT), "wait", NOW + 10).attempts == 0
    assert (list(backlog.take_retries(NOW)), backlog.next_retry()) == ([], NOW + 10)
    assert list(backlog.take_retries(NOW + 10)) == [CAT]
    assert backlog.failed(in_work(backlog, CAT), "no", NOW).attempts == 1


def seen_as(size_bytes: int, ctime_ns: int = 0) -> FileIdentity:
    """Give the state of a file."""
    return FileIdentity(1, 2, size_bytes, 3, ctime_ns)


def still(size_bytes: int) -> Candidate:
    """Give a candidate that settled with this size."""
    return Candidate("default", "cat.jpg", settled=seen_as(size_bytes))


def test_a_file_that_is_never_the_judged_one_is_given_up_though_our_attempts_change_it(backlog: Backlog) -> None:
    """The first time is a sender's doing; then pauses grow and end, whatever links and renames do to its ctime."""
    assert backlog.changed_underway(in_work(backlog, still(5)), "replaced", NOW) is None
    backlog.done(still(5))
    for attempt in (1, 2, 3):
        failure = backlog.changed_underway(in_work(backlog, still(5)), "replaced", NOW)
        assert failure
        assert (failure.attempts, failure.retry_at is None) == (attempt, attempt == 3)
        backlog.changed(CAT, seen_as(5, ctime_ns=attempt))
        assert backlog.is_set_aside(CAT)
        list(backlog.take_retries(NOW + 1000))
    backlog.changed(CAT, seen_as(6))
    assert not backlog.failures


def test_a_file_that_others_go_on_changing_is_no_failure(backlog: Backlog) -> None:
    """A slow upload that is judged too early again and again is looked at afresh each time."""
    for size_bytes in range(10):
        assert backlog.changed_underway(in_work(backlog, still(size_bytes)), "changed", NOW) is None
        backlog.done(CAT)


def test_success_wipes_the_failures(backlog: Backlog) -> None:
    """A file that went through after a failure is no longer listed."""
    backlog.failed(in_work(backlog, CAT), "no", NOW)
    list(backlog.take_retries(NOW + 1000))
    backlog.done(in_work(backlog, CAT))
    assert not backlog.failures


def test_forgetting_an_old_failure_keeps_its_file_in_work(backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """When there is no room for more failures, the file of the oldest is not queued twice."""
    monkeypatch.setattr(backlog_module, "REMEMBERED_FAILURES", 1)
    backlog.failed(in_work(backlog, CAT), "no", NOW)
    list(backlog.take_retries(NOW + 1000))
    in_work(backlog, CAT)
    backlog.failed(in_work(backlog, DOG), "no", NOW)
    assert CAT in backlog
    assert [failure.candidate for failure in backlog.failures] == [DOG]
