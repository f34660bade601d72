"""Files that become still, under any order of looks, changes and waits."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from imageguard_daemon.core.model import FileIdentity
from imageguard_daemon.intake.rules.stability import Seen, Settling

SETTLE_SECONDS = 5.0
CAPACITY = 4
PATHS = st.sampled_from([f"{number}.jpg" for number in range(6)])


class SettlingMachine(RuleBasedStateMachine):
    """An inbox of six files that change at random, and a line that holds four."""

    @initialize()
    def begin(self) -> None:
        self.settling = Settling(SETTLE_SECONDS, CAPACITY)
        self.now = 100.0
        self.versions: dict[str, int] = {}
        self.looked_same_since: dict[str, float] = {}

    def look(self, path: str) -> Seen:
        return (FileIdentity(1, 1, self.versions.get(path, 0), 0, 0), None)

    def note(self, path: str, *, anew: bool) -> None:
        if anew:
            self.looked_same_since[path] = self.now
        for one in [one for one in self.looked_same_since if one not in self.settling]:
            del self.looked_same_since[one]

    @rule(seconds=st.sampled_from([0.0, 1.0, 2.5, 5.0, 60.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(path=PATHS)
    def a_file_changes_and_is_seen(self, path: str) -> None:
        self.versions[path] = self.versions.get(path, 0) + 1
        self.settling.observe(path, self.look(path), self.now)
        self.note(path, anew=True)

    @rule(path=PATHS)
    def a_file_is_seen_unchanged(self, path: str) -> None:
        known, full = path in self.settling, self.settling.full
        self.settling.observe(path, self.look(path), self.now)
        assert (path in self.settling) == (known or not full)
        self.note(path, anew=not known)

    @rule(path=PATHS)
    def a_file_turns_out_to_be_open(self, path: str) -> None:
        if path in self.settling:
            self.settling.restart(path, self.look(path), self.now)
            self.note(path, anew=True)

    @rule(path=PATHS)
    def a_file_goes(self, path: str) -> None:
        self.settling.forget(path)
        self.note(path, anew=False)
        assert path not in self.settling

    @rule(path=PATHS)
    def one_more_look(self, path: str) -> None:
        known = path in self.settling
        settled = self.settling.settled(path, self.look(path), self.now)
        self.note(path, anew=not known)
        if settled:
            assert self.now - self.looked_same_since[path] >= SETTLE_SECONDS

    @rule(limit=st.integers(0, 6))
    def due_files_are_handed_on(self, limit: int) -> None:
        due = self.settling.due(self.now, limit)
        waits = [self.looked_same_since[path] for path in due]
        assert waits == sorted(waits)
        assert len(due) <= limit
        still = [path for path, since in self.looked_same_since.items() if self.now - since >= SETTLE_SECONDS]
        assert len(due) == min(limit, len(still))
        for path in due:
            assert self.settling.settled(path, self.look(path), self.now)
            self.settling.forget(path)
            self.note(path, anew=False)

    @invariant()
    def the_line_is_bounded_and_knows_what_comes_next(self) -> None:
        assert len(self.settling) <= CAPACITY
        assert len(self.settling) == CAPACITY or not self.settling.full
        first = min(self.looked_same_since.values(), default=None)
        assert self.settling.next_due() == (None if first is None else first + SETTLE_SECONDS)


TestSettling = SettlingMachine.TestCase
TestSettling.__doc__ = "No file is ever due before it was still for long enough, and the longest wait comes first."
