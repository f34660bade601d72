"""The live status line on a terminal."""

from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from imageguard_daemon.daemon.snapshot import Snapshot


class StatusLine:
    """Shows one line that changes in place; shows nothing when the console is not a terminal."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, transient=True, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Show this moment from now on."""
        if self._live is not None:
            self._live.update(status_line(snapshot))


def status_line(snapshot: Snapshot) -> Text:
    """Put a moment into one line."""
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{snapshot.state}  ", "bold")
    line.append(f"{snapshot.accepted} accepted", "green")
    line.append("  ")
    line.append(f"{snapshot.quarantined} quarantined", "yellow" if snapshot.quarantined else "")
    line.append(f"  {snapshot.backlog} waiting  {snapshot.images_per_second:.1f} images/s")
    settling = sum(source.settling for source in snapshot.sources)
    if settling:
        line.append(f"  {settling} settling")
    if snapshot.failures:
        line.append(f"  {len(snapshot.failures)} left behind", "red")
    for source in snapshot.sources:
        if source.paused_because:
            line.append(f"  {source.name} paused: {source.paused_because}", "bold red")
        elif not source.present:
            line.append(f"  {source.name}: inbox is gone", "bold red")
    return line
