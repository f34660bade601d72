"""What a running daemon is made of: parts with one protocol, which the main loop runs in one thread, in one order.

On each turn the loop lets every part do its next step, asks each when it is due, and waits until the first of them is,
or until something wakes it. A turn does not know what woke it, so a part finds out in `step`, cheaply, whether there is
anything to do.

When a part is due is asked for after all have stepped, and not told by `step` itself: what one does moves the times of
others. An image that was filed makes room for what has settled; a disk that is full pauses a source, and the end of the
pause is then the next probe of its inbox.

Once a second each part adds to a snapshot of the daemon, which is never changed, so that any thread may read it. All
that the daemon says of itself comes from there: the status file and the line on a terminal (`status.py`), the metrics
(`metrics.py`), systemd's STATUS and the answers to /healthz and /readyz (below). So they never differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imageguard_daemon.config import Settings

FAILURES_SHOWN = 100
LEFT_OPEN_SHOWN = 5
UNHEALTHY_SECONDS = 30.0
"""A loop that has not run for so long hangs; it runs every second."""
_STUCK = "no image has finished for a long time"


@dataclass(frozen=True, slots=True)
class SourceSnapshot:
    """One source as it is now."""

    name: str
    inbox: str
    present: bool
    settling: int
    paused_because: str
    next_attempt_at: str = ""
    """When the end of the pause is probed next (ISO 8601, UTC); empty without a pause."""
    writers_unknown: tuple[str, ...] = ()
    """Of which files the kernel does not say who is still writing."""
    skipped: int = 0
    """How many files are left where they are because their content was filed before (`intake.duplicates: skip`)."""
    canary_age_seconds: float | None = None
    """How long ago an event last proved that events arrive; None before the first proof."""


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that stays in the inbox because something outside of it went wrong."""

    source: str
    relative_path: str
    attempts: int
    given_up: bool
    error: str
    next_attempt_at: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A daemon at one moment; counts are since its start. Each part of it fills in what it knows."""

    at: float = 0.0
    """The wall clock, in seconds since 1970."""
    process_id: int = 0
    state: str = "starting"
    """`watching`, `stopping` or `stopped` once it has started."""
    started_at: str = ""
    scorer_version: str = ""
    """By which scorer images are measured, as records name it."""
    code: str = ""
    """Which code takes the features."""
    confinement_lacks: tuple[str, ...] = ()
    log_unsafe_because: str = ""
    """Why the log should not be where it is; empty when it is on a local disk."""
    configuration_refused: str = ""
    """Why the configuration as it is now was not taken over, by a reload; empty when the last one was."""

    accepted: int = 0
    quarantined: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    images_per_second: float = 0.0

    backlog: int = 0
    """Files that have settled and wait for their verdict or are in work."""
    oldest_arrived_at: float | None = None
    """When the file arrived that has waited longest, in seconds since 1970; None when none waits."""
    set_aside: int = 0
    given_up: int = 0
    retries: int = 0
    sources: tuple[SourceSnapshot, ...] = ()
    failures: tuple[FailedFile, ...] = ()

    in_work: int = 0
    worker_failures: int = 0
    pools_lost: int = 0
    makes_progress: bool = True
    left_open: int = 0
    """Moves of earlier runs that cannot be settled for now."""
    left_open_examples: tuple[str, ...] = ()

    findings: Mapping[str, int] = field(default_factory=dict)
    """How many there were of each kind at the last look."""
    findings_at: float | None = None
    forwarding: Mapping[str, Any] | None = None
    """What the forwarder last said of itself; None where nothing is forwarded."""
    pages_up: bool | None = None
    """None where the daemon brings no pages along."""


def summary(snapshot: Snapshot) -> str:
    """Put it into a line for systemd's STATUS: what needs a person first, then the counts."""
    counts = f"{snapshot.accepted} accepted, {snapshot.quarantined} quarantined, {snapshot.backlog} waiting"
    troubles = [] if snapshot.makes_progress else [_STUCK]
    paused = (source for source in snapshot.sources if source.paused_because)
    troubles += [f"{source.name} paused: {source.paused_because}" for source in paused]
    if snapshot.configuration_refused:
        troubles.append(f"configuration not reloaded: {snapshot.configuration_refused}")
    return "; ".join([*troubles, counts])


def liveness_failure(snapshot: Snapshot | None, now: float) -> str:
    """Say why the daemon is not alive and well; empty when it is. `now` is the wall clock."""
    if snapshot is None:
        return "has not begun"
    if now - snapshot.at > UNHEALTHY_SECONDS:
        return f"the loop has not run for {now - snapshot.at:.0f} s"
    return "" if snapshot.makes_progress else _STUCK


def readiness_failure(snapshot: Snapshot | None, now: float) -> str:
    """Say why images that arrive now would not be judged; empty when they would."""
    if snapshot is None or liveness_failure(snapshot, now):
        return liveness_failure(snapshot, now)
    if snapshot.state != "watching":
        return snapshot.state
    lost = [f"source {source.name}: its inbox is gone" for source in snapshot.sources if not source.present]
    paused = [f"source {source.name}: paused" for source in snapshot.sources if source.paused_because]
    return "; ".join(lost + paused)


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


def earliest(*moments: float | None) -> float | None:
    """Give the first of moments of the monotonic clock, None for one that never comes; None when none comes."""
    return min((moment for moment in moments if moment is not None), default=None)
