"""One run over many images, whatever they come from and go to: a folder scanned, a folder moved, a list back-filled.

They share what surrounds the work: one display of how far it is, one policy for stop signals, one result. Ctrl-C and
SIGTERM count between two images, never in the middle of writing one.
"""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import FrameType
from typing import Protocol, Self

from rich.console import Console

from imageguard_daemon.batch.links import OldLinks
from imageguard_daemon.batch.measuring import Unread
from imageguard_daemon.batch.progress import RunProgress
from imageguard_daemon.batch.scan_summary import Summary

PATIENCE_SECONDS = 2.0
"""Signals that come together, as from a terminal that is closed, are one."""


class InterruptedRunError(BaseException):
    """A person or the system asked for an end; like KeyboardInterrupt, it is not an error to be handled on the way."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """The shell's code for a process that a stop signal ended."""
        return 128 + self.number


class Interrupts:
    """Notes stop signals; `check` raises InterruptedRunError once one has come.

    A handler that raised would do so wherever the program is, in a library's lock for instance, which then stays held.
    A second signal, some time after the first, ends the process at once, should no `check` be reached any more.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._came: int | None = None
        self._came_at = 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> Self:
        for number in self._NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup wants it
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raise InterruptedRunError if a stop signal has come; call it between images and while waiting."""
        if self._came is not None:
            raise InterruptedRunError(self._came)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._came is None:
            self._came, self._came_at = number, time.monotonic()
        elif time.monotonic() - self._came_at > PATIENCE_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a run. `exit_code` is 0 when it came to its end, whatever the verdicts.

    `failed` says of shards that were given up why; only a back-fill has shards.
    """

    summary: Summary
    unread: Unread
    exit_code: int = 0
    filed: str = ""
    how_to_go_on: str = ""
    used_standard_output: bool = False
    is_interrupted: bool = False
    old_links: OldLinks = field(default_factory=OldLinks)
    failed: Mapping[int, str] | None = None


class Work(Protocol):
    """What is done in a run, from where its images come to where its results go."""

    tells_lines: bool
    """Whether it may take so long that a log, too, is told how far it is."""

    def open(self, stack: ExitStack) -> None:
        """Open all that it needs, for `stack` to close; what cannot begin raises here, with nothing changed."""

    def count(self) -> Iterator[int]:
        """Count the images there are, some at a time; runs in a thread of its own."""

    def run(self, interrupts: Interrupts, progress: RunProgress) -> None:
        """Judge all images; asks `interrupts` between any two."""

    def finish(self) -> None:
        """Put the results in place: all was judged."""

    def set_aside(self) -> None:
        """Keep what there is by now: a stop signal has come."""

    def result(self, exit_code: int) -> Result:
        """Give what has come of it."""


def run(work: Work, console: Console) -> Result:
    """Do all of the work; an interruption gives the result so far.

    Raises:
        FatalError: going on would be wrong, or of no use.
    """
    exit_code = 0
    with ExitStack() as stack:
        work.open(stack)
        try:
            with Interrupts() as interrupts, RunProgress(console, work.count, tells_lines=work.tells_lines) as progress:
                work.run(interrupts, progress)
            work.finish()
        except InterruptedRunError as end:
            exit_code = end.exit_code
            work.set_aside()
    return work.result(exit_code)
