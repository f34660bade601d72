"""How far a run has come: a bar on a terminal; elsewhere nothing, or a line a minute of what may take days."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

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
