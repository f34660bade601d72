"""How far a back-fill has come: a bar on a terminal, a line a minute elsewhere, since it may take days."""

import threading
import time
from contextlib import suppress
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from imageguard_daemon.batch.backfill.manifest import Manifest
from imageguard_daemon.batch.backfill.rules.description import Standing
from imageguard_daemon.batch.backfill.rules.pace import Pace, duration_in_words
from imageguard_daemon.core.errors import ImageguardError

_BAR_SECONDS = 0.1
_LINE_SECONDS = 60.0


class BackfillProgress:
    """Tells people about a `Standing`; counting the manifest, where it does not know its rows, goes on meanwhile."""

    def __init__(self, console: Console, manifest: Manifest) -> None:
        self._console = console
        self._manifest = manifest
        self._total = manifest.rows
        self._pace = Pace(time.monotonic())
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._total is None:
            threading.Thread(target=self._count, daemon=True).start()
        if self._console.is_terminal:
            columns = (BarColumn(bar_width=None), TextColumn("{task.fields[told]}"))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task("", total=None, told="")
            self._bar.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, standing: Standing, shards_out: int) -> None:
        """Show how it stands now, unless that was done a moment ago."""
        now = time.monotonic()
        if now - self._told_at < (_LINE_SECONDS if self._bar is None else _BAR_SECONDS):
            return
        self._told_at = now
        self._pace.note(now, standing.done - standing.known)
        told = ", ".join(self._parts(standing, shards_out))
        if self._bar is None:
            self._console.print(told, soft_wrap=True)
        else:
            total = max(self._total, standing.done) if self._total else None
            self._bar.update(self._task, completed=standing.done, total=total, told=told)

    def _parts(self, standing: Standing, shards_out: int) -> list[str]:
        parts = [f"{standing.done:,} of {self._total:,} images" if self._total else f"{standing.done:,} images"]
        if self._pace.rate:
            parts.append(f"{self._pace.rate:,.1f} images/s")
            seconds = self._pace.left(self._total - standing.done) if self._total else None
            parts += [f"{duration_in_words(max(seconds, 0))} left"] if seconds is not None else []
        parts.append(f"{standing.rejected:,} rejected")
        parts += [f"{standing.unread:,} unread"] if standing.unread else []
        parts.append(f"{shards_out} shards in work")
        parts += [f"{standing.failed_shards:,} shards failed"] if standing.failed_shards else []
        return parts

    def _count(self) -> None:
        with suppress(ImageguardError):  # whoever reads the manifest for its rows tells what is wrong with it
            self._total = self._manifest.count()
