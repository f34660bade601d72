"""How a daemon starts and ends."""

import os

import pytest
from rich.console import Console

from imageguard_daemon.config_file import load
from imageguard_daemon.core.errors import (
    NoInputError,
)
from imageguard_daemon.core.locks import RootLock
from imageguard_daemon.daemon import status
from imageguard_daemon.daemon.lifecycle import Daemon
from imageguard_daemon.daemon.status import StatusLine


def test_a_start_that_lacks_a_folder_is_the_last_end(tmp_path):
    """`status` says why nothing runs; but nothing of a start beside a daemon that is at work."""
    file = tmp_path / "config.yaml"
    file.write_text(f"root: root\nsources: [{{accepted: {tmp_path}/disk/accepted}}]")
    settings = load(file)
    starting = Daemon(settings, lambda: settings, StatusLine(Console()))
    with pytest.raises(NoInputError):
        starting.run()
    found = status.read_ending(settings.state_folder)
    assert found is not None
    assert (found.exit_code, "disk/accepted is not there" in found.why) == (os.EX_NOINPUT, True)
    (settings.state_folder / status.ENDING_FILE).unlink()
    lock = RootLock(settings.state_folder)
    with pytest.raises(NoInputError):
        starting.run()
    lock.release()
    assert status.read_ending(settings.state_folder) is None
