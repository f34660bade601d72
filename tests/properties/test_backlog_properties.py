"""The backlog under any order of what intake and workers do with it."""

from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imageguard_daemon.core.model import Candidate
from imageguard_daemon.intake.rules import backlog as backlog_module
from imageguard_daemon.intake.rules.backlog import Backlog

LIMIT, MAX_ATTEMPTS, REMEMBERED = 3, 2, 3
CANDIDATES = [Candidate("default", f"{number}.jpg") for number in range(6)]


class BacklogMachine(RuleBasedStateMachine):
    """Six files, room for three, and two attempts for each."""

    @initialize()
    def begin(self) -> None:
        self.patch = patch.object(backlog_module, "REMEMBERED_FAILURES", REMEMBERED)
        self.patch.start()
        self.backlog = Backlog(LIMIT, MAX_ATTEMPTS)
        self.now = 0.0
        self.in_work: list[Candidate] = []

    def teardown(self) -> None:
        self.patch.stop()

    @rule(candidate=st.sampled_from(CANDIDATES))
    def offer(self, candidate: Candidate) -> None:
        if self.backlog.room:  # intake asks first
            self.backlog.offer(candidate)

    @rule()
    def take(self) -> None:
        for candidate in self.backlog.take(2):
            assert candidate not in self.in_work
            self.in_work.append(candidate)

    @precondition(lambda self: self.in_work)
    @rule(end=st.sampled_from(["done", "failed", "postponed"]))
    def finish(self, end: str) -> None:
        candidate = self.in_work.pop(0)
        if end == "done":
            self.backlog.done(candidate)
            assert candidate not in self.backlog
        elif end == "failed":
            failure = self.backlog.failed(candidate, "no", self.now)
            assert failure.attempts <= MAX_ATTEMPTS
            assert (failure.retry_at is None) == (failure.attempts == MAX_ATTEMPTS)
        else:
            self.backlog.postponed(candidate, "wait", self.now + 10)

    @rule(seconds=st.sampled_from([1.0, 5.0, 1000.0]))
    def retry(self, seconds: float) -> None:
        self.now += seconds
        for candidate in self.backlog.take_retries(self.now):
            assert candidate not in self.backlog
        next_retry = self.backlog.next_retry()
        assert next_retry is None or next_retry > self.now

    @rule(candidate=st.sampled_from(CANDIDATES))
    def change(self, candidate: Candidate) -> None:
        self.backlog.changed(candidate)
        assert not self.backlog.is_set_aside(candidate)

    @rule()
    def another_chance(self) -> None:
        self.backlog.give_all_another_chance()

    @invariant()
    def everything_is_in_one_place_and_bounded(self) -> None:
        assert all(candidate in self.backlog for candidate in self.in_work)
        assert not any(self.backlog.is_set_aside(candidate) for candidate in self.in_work)
        assert self.backlog.held + self.backlog.room == LIMIT
        assert len(self.backlog.failures) <= REMEMBERED
        failed = [failure.candidate for failure in self.backlog.failures]
        assert all(candidate in failed for candidate in CANDIDATES if self.backlog.is_set_aside(candidate))


TestBacklog = BacklogMachine.TestCase
TestBacklog.__doc__ = "No candidate is in work twice, and none is both held and set aside."
