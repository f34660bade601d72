"""An inbox that went and is made anew lets the same uploaders in, or it is said that it does not."""

import os
import stat
import subprocess
import sys

import pytest

from imageguard_daemon.config import Settings
from imageguard_daemon.daemon import setup_folders
from tests.helpers.accounts import own_folders

UPLOADERS = 4321


@pytest.fixture
def settings(tmp_path):
    return Settings().anchored(tmp_path)


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to a group needs root")
def test_an_inbox_made_anew_has_group_and_mode_as_before(settings, capsys):
    """As systemd-tmpfiles made it for uploaders of a group, whatever the umask of a service."""
    inbox = settings.sources[0].inbox
    setup_folders.prepare(settings)
    os.chown(inbox, -1, UPLOADERS)
    inbox.chmod(0o2770)
    setup_folders.prepare(settings)
    inbox.rmdir()
    before = os.umask(0o077)
    try:
        setup_folders.prepare(settings)
    finally:
        os.umask(before)
    assert (_mode(inbox), inbox.stat().st_gid) == (0o2770, UPLOADERS)
    assert "recreated, with group and mode as before" in capsys.readouterr().out


def test_a_new_inbox_is_told_with_its_mode(settings, capsys):
    """The first start says what it makes; the second, with nothing to make, says nothing."""
    setup_folders.prepare(settings)
    assert "inbox made: put images into it" in capsys.readouterr().out
    setup_folders.prepare(settings)
    assert "inbox" not in capsys.readouterr().out


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_memory_stops_nothing(settings, content):
    """What cannot be read is as if it were not there."""
    settings.state_folder.mkdir(parents=True)
    (settings.state_folder / setup_folders.INBOX_MEMORY_FILE).write_text(content)
    setup_folders.prepare(settings)
    assert settings.sources[0].inbox.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="taking another account needs root")
def test_what_cannot_be_given_back_is_an_error(tmp_path):
    """An account that is not in the uploaders' group cannot give it back, and says that they may be locked out."""
    os.chown(tmp_path, 65534, 65534)
    opened = own_folders(tmp_path)
    program = f"""
import os
from pathlib import Path
from imageguard_daemon.config import Settings
from imageguard_daemon.daemon import setup_folders
settings = Settings().anchored(Path({str(tmp_path)!r}))
setup_folders.prepare(settings)
inbox = settings.sources[0].inbox
os.chown(inbox, 65534, {UPLOADERS})
inbox.chmod(0o2770)
for path in (settings.root, settings.state_folder):
    os.chown(path, 65534, 65534)
setup_folders.prepare(settings)
inbox.rmdir()
for folder in {[str(folder) for folder in opened]!r}:
    os.chmod(folder, 0o755)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
setup_folders.prepare(settings)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "but not as it was" in done.stdout
    assert "uploaders may be locked out" in done.stdout
