"""One run over many images, whatever they come from and go to: a folder scanned, a folder moved, a list back-filled.

They share what surrounds the work: one display of how far it is (a bar on a terminal; elsewhere nothing, or a line a
minute of what may take days), one policy for stop signals, one result. Ctrl-C and SIGTERM count between two images,
never in the middle of writing one.
"""

import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from imageguard_daemon.batch.links import OldLinks
from imageguard_daemon.batch.measuring import Unread
from imageguard_daemon.batch.scan_summary import Summary
from imageguard_daemon.core.errors import ImageguardError

_BAR_SECONDS = 0.1
_NOTE_SECONDS = 1.0
_LINE_SECONDS = 60.0
_RATE_SECONDS = 300.0
"""The rate is that of the last minutes."""
_END_SECONDS = 1.0


class Count:
    """Counts images in a thread of its own: how many there are is known long before they are judged."""

    def __init__(self, increments: Iterator[int]) -> None:
        self.images = 0
        self.is_complete = False
        self._stopped = False
        self._thread = threading.Thread(target=self._count, args=(increments,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Give up counting."""
        self._stopped = True
        self._thread.join(_END_SECONDS)  # it may hang in a mount, and keeps nothing alive

    def _count(self, increments: Iterator[int]) -> None:
        with suppress(ImageguardError):  # whoever looks at the images for their verdicts tells what is wrong
            for images in increments:
                if self._stopped:
                    return
                self.images += images
            self.is_complete = True


class _Amount(ProgressColumn):
    """1,234 of 5,000, with a sign while it is still being counted."""

    def render(self, task: Task) -> Text:
        done, counted = task.fields["done"], task.fields["counted"]
        return Text(f"{done:,} of {counted}" if counted else f"{done:,}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.1f} images/s" if task.speed else "", "cyan")


class RunProgress:
    """Tells people how far it is. `count` gives the images there are, some at a time."""

    def __init__(self, console: Console, count: Callable[[], Iterator[int]], *, tells_lines: bool = False) -> None:
        self._console = console
        self._increments = count
        self._count: Count | None = None
        self._is_shown = console.is_terminal or tells_lines
        self._seconds = _BAR_SECONDS if console.is_terminal else _NOTE_SECONDS
        self._left = TimeRemainingColumn()
        columns = (BarColumn(bar_width=None), _Amount(), _Rate(), self._left, TextColumn("{task.fields[more]}"))
        self._bar = Progress(*columns, console=console, transient=True, speed_estimate_period=_RATE_SECONDS)
        self._bar.add_task("", total=None, done=0, counted="", more="")
        self._noted_at = self._told_at = time.monotonic()
        self._known = 0

    def __enter__(self) -> Self:
        if self._is_shown:
            self._count = Count(self._increments())
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()
        if self._count is not None:
            with suppress(RuntimeError):
                self._count.stop()

    def show(self, done: int, rejected: int, *, known: int = 0, more: str = "") -> None:
        """Show how it stands now, unless that was done a moment ago.

        What was `known` from an earlier run is a part of neither rate nor time left. `more` is told last.
        """
        now = time.monotonic()
        if self._count is None or now - self._noted_at < self._seconds:
            return
        self._noted_at = now
        # What was counted may have grown meanwhile: the bar never shows more done than there is.
        images, is_complete = max(self._count.images, done), self._count.is_complete
        counted = f"{images:,}{'' if is_complete else ' or more'}" if self._count.images else ""
        task = self._bar.tasks[0]
        task.completed += known - self._known  # beside `update`, so that it is not taken for work of this run
        self._known = known
        task.fields.update(done=done, counted=counted, more=f"{rejected:,} rejected{more}")
        self._bar.update(task.id, completed=done, total=images if is_complete else None)
        if not self._console.is_terminal and now - self._told_at >= _LINE_SECONDS:
            self._told_at = now
            self._console.print(self._line(task), soft_wrap=True)

    def _line(self, task: Task) -> str:
        counted, words = task.fields["counted"], []
        words.append(f"{task.fields['done']:,}{' of ' if counted else ''}{counted} images")
        if task.speed:
            words.append(f"{task.speed:,.1f} images/s")
        if task.speed and task.total is not None:
            words.append(f"{self._left.render(task).plain} left")
        return ", ".join([*words, task.fields["more"]])


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
        # Nothing is raised here: the program may be anywhere, in a library's lock perhaps, which would then stay held.
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


class Work(ABC):
    """What is done in a run, from where its images come to where its results go."""

    tells_lines = False
    """Whether it may take so long that a log, too, is told how far it is."""

    @abstractmethod
    def open(self, stack: ExitStack) -> None:
        """Open all that it needs, for `stack` to close; what cannot begin raises here, with nothing changed."""

    @abstractmethod
    def count(self) -> Iterator[int]:
        """Count the images there are, some at a time; runs in a thread of its own."""

    @abstractmethod
    def run(self, interrupts: Interrupts, progress: RunProgress) -> None:
        """Judge all images; asks `interrupts` between any two."""

    def finish(self) -> None:  # noqa: B027 - a back-fill has put each result in place when it came
        """Put the results in place: all was judged."""

    def set_aside(self) -> None:  # noqa: B027 - as above
        """Keep what there is by now: a stop signal has come."""

    @abstractmethod
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
