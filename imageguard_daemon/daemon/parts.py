"""What a running daemon is made of: parts with one protocol, which the main loop runs in one thread, in one order.

On each turn the loop lets every part do its next step, asks each when it is due, and waits until the first of them is,
or until something wakes it. A turn does not know what woke it, so a part finds out in `step`, cheaply, whether there is
anything to do.

When a part is due is asked for after all have stepped, and not told by `step` itself: what one does moves the times of
others. An image that was filed makes room for what has settled; a disk that is full pauses a source, and the end of the
pause is then the next probe of its inbox.
"""

from collections.abc import Mapping

from imageguard_daemon.config import Settings
from imageguard_daemon.daemon.snapshot import Snapshot


class Part:
    """One part; what it has nothing to do for, it leaves as it is here. One thread only; only `stop` may wait."""

    def start(self) -> None:
        """Begin: called once, before the first step."""

    def step(self, now: float) -> None:
        """Do what there is to do now, a monotonic clock in seconds; never for long, and without waiting."""

    def next_due(self, now: float) -> float | None:  # noqa: ARG002 - for those that need it
        """Say when to call `step` at the latest; None when only others' doings make it necessary."""
        return None

    def reload(self, settings: Settings) -> None:
        """Take over what can change while running."""

    def has_work(self, now: float) -> bool:  # noqa: ARG002 - for those that need it
        """Tell whether `run --once` has to go on; after `drain`, whether what was begun is still unfinished."""
        return False

    def conclude(self) -> Mapping[str, str]:
        """With `run --once`, before all is drained: look a last time, and say what is not done, by what keeps it."""
        return {}

    def drain(self) -> None:
        """Begin nothing new from now on; `step` then finishes what was begun, for as long as `has_work` says so."""

    def stop(self) -> None:
        """End what was started; what is unfinished is in the inbox or in the log."""

    def snapshot(self, so_far: Snapshot, now: float) -> Snapshot:  # noqa: ARG002 - for those that need it
        """Add what this part knows to the snapshot of this moment."""
        return so_far
