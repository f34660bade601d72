"""How far a scan has come, for people who wait: on a terminal only."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from imageguard_daemon.batch.images import Count

_SHOW_SECONDS = 0.1


class _Amount(ProgressColumn):
    """1,234 of 5,000, with a sign while it is still being counted."""

    def render(self, task: Task) -> Text:
        total = task.fields["counted"]
        return Text(f"{task.completed:,.0f} of {total}" if total else f"{task.completed:,.0f}")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.1f} images/s" if task.speed else "", "cyan")


class ScanProgress:
    """A bar on a terminal, with rate and time left; nothing elsewhere. `count` is asked how many images there are."""

    def __init__(self, console: Console, count: Callable[[], Count]) -> None:
        self._console = console
        self._make_count = count
        self._count: Count | None = None
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._shown_at = 0.0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._count = self._make_count()
            columns = (
                BarColumn(bar_width=None),
                _Amount(),
                _Rate(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[told]}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=True, speed_estimate_period=60)
            self._task = self._bar.add_task("", total=None, told="", counted="")
            self._bar.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._count is not None:
            with suppress(RuntimeError):
                self._count.stop()

    def show(self, done: int, rejected: int) -> None:
        """Show how many are done from now on."""
        if self._bar is None or self._count is None or time.monotonic() - self._shown_at < _SHOW_SECONDS:
            return
        self._shown_at = time.monotonic()
        images, complete = self._count.images, self._count.is_complete
        self._bar.update(
            self._task,
            completed=done,
            total=max(images, done) if complete else None,
            counted=f"{max(images, done):,}{'' if complete else ' or more'}",
            told=f"{rejected:,} rejected",
        )
