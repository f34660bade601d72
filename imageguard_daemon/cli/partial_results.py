"""What the commands that judge many files say of an end that is not the whole, each in the same words."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from rich.console import Console


def tell_unread(console: "Console", examples: Sequence[tuple[str, str]], total: int) -> None:
    """Name the first files that could not be read, and count the others."""
    for path, why in examples:
        console.print(f"error: {printable(path)}: {why}", soft_wrap=True)
    if (hidden := total - len(examples)) > 0:
        console.print(f"error: {hidden:,} more could not be read")


def tell_how_to_go_on(console: "Console", *, interrupted: bool, detail: str = "") -> None:
    """Say that the same command goes on."""
    told = (
        "interrupted; run the same command again to resume"
        if interrupted
        else "not complete; run the same command again to go on"
    )
    console.print(f"{told}{detail}", soft_wrap=True)
