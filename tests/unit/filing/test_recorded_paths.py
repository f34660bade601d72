"""Where the files of a move are when the folders were moved between its record and its recovery."""

from pathlib import Path

import pytest

from imageguard_daemon.config import Source
from imageguard_daemon.core.model import FileIdentity, Intent, Origin
from imageguard_daemon.filing.recorded_paths import Places

INBOX, ACCEPTED, QUARANTINE = "inbox", "accepted", "quarantine"


@pytest.mark.parametrize(
    ("verdict", "action", "ends"),
    [
        ("accepted", None, (INBOX, ACCEPTED)),
        ("quarantined", None, (INBOX, QUARANTINE)),
        ("quarantined", "release", (QUARANTINE, ACCEPTED)),
        ("quarantined", "undo", (ACCEPTED, QUARANTINE)),
        ("accepted", "reject", (ACCEPTED, QUARANTINE)),
        ("accepted", "undo", (QUARANTINE, ACCEPTED)),
    ],
)
def test_a_move_is_looked_for_between_the_folders_in_force(tmp_path: Path, verdict, action, ends) -> None:
    """Those that its kind of move leads between: an undo leads back to where the daemon filed the image."""
    folders = {name: tmp_path / name for name in (INBOX, ACCEPTED, QUARANTINE)}
    for folder in folders.values():
        folder.mkdir()
    places = Places({"default": Source().model_copy(update=folders)})
    old = [f"/gone/{name}/cat/1.jpg" for name in ends]
    moved = Intent("image", *old, "0" * 64, FileIdentity(1, 2, 3, 4, 5))
    today = places.today(moved, Origin("default", 2, verdict, action))
    assert [today.source_path, today.destination_path] == [str(folders[name] / "cat/1.jpg") for name in ends]
