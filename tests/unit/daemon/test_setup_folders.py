"""An inbox that went and is made anew lets the same uploaders in, or it is said that it does not."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from imageguard_daemon.config import Settings
from imageguard_daemon.config_file import load
from imageguard_daemon.core import file_systems
from imageguard_daemon.core.errors import (
    ConfigError,
    NoInputError,
    StalledError,
)
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


@pytest.mark.parametrize(
    ("magic", "told"), [(0x6969, "is on NFS"), (0xFE534D42, "is on SMB"), (0x65735546, "is on FUSE"), (0xEF53, "")]
)
def test_a_log_on_no_local_disk_is_told_with_what_to_do(tmp_path, monkeypatch, magic, told):
    """NFS and SMB keep neither SQLite's locks nor its promises: that is said by name, and on a local disk nothing."""
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: magic)
    found = setup_folders.why_log_is_unsafe(load(None, tmp_path))
    assert told in found
    assert ("name that place as audit.database" in found) == bool(told)


def test_folders_below_the_root_are_made_and_others_must_exist(tmp_path):
    """A root is furnished by itself; a folder elsewhere that is missing is most likely a mount."""
    settings = load(None, tmp_path / "new" / "root")
    setup_folders.prepare(settings)
    assert all(source.inbox.is_dir() for source in settings.sources)
    (tmp_path / "config.yaml").write_text(f"root: r\nsources: [{{accepted: {tmp_path}/elsewhere}}]")
    with pytest.raises(NoInputError, match="elsewhere is not there"):
        setup_folders.prepare(load(tmp_path / "config.yaml"))


@pytest.mark.parametrize("place", ["inbox", "accepted", "elsewhere/quarantine", "elsewhere"])
def test_a_file_in_place_of_a_folder_needs_a_person(tmp_path, place):
    """Who has a file called inbox hears of it, and the unit does not try again: no disk that comes late mends that."""
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text("x")
    (tmp_path / "config.yaml").write_text(f"root: .\nsources: [{{quarantine: {tmp_path}/elsewhere/quarantine}}]")
    with pytest.raises(ConfigError, match=f"{place}( cannot be a folder: a file is in its place| is a file)$"):
        setup_folders.prepare(load(tmp_path / "config.yaml"))


@pytest.mark.parametrize("place", ["inbox", ".imageguard", "elsewhere"])
def test_a_check_of_the_configuration_tells_what_the_start_would(tmp_path, place):
    """A file in the place of a folder is a mistake for both; what the one who checks may not see is none."""
    (tmp_path / place).write_text("x")
    file = tmp_path / "config.yaml"
    file.write_text(f"root: .\nsources: [{{quarantine: {tmp_path}/elsewhere/quarantine}}]")
    with pytest.raises(ConfigError, match="cannot be a folder"):
        setup_folders.refuse_files_in_place_of_folders(load(file))
    (tmp_path / place).unlink()
    setup_folders.refuse_files_in_place_of_folders(load(file))
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("number", [errno.ENOTCONN, errno.ESTALE, errno.EIO, errno.EHOSTDOWN])
@pytest.mark.parametrize("place", ["accepted", "elsewhere"])
def test_a_mount_whose_server_is_gone_may_pass(tmp_path, monkeypatch, number, place):
    """It is neither a mistake in the program nor of the configuration, and no folder that is missing."""
    (tmp_path / place).mkdir()
    file = tmp_path / "root.yaml"
    file.write_text(f"root: root\nsources: [{{accepted: {tmp_path / place}}}]")
    settings, stat = load(file), os.stat

    def away(path, **options):
        if str(path).startswith(str(tmp_path / place)):
            raise OSError(number, os.strerror(number), str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", away)
    with pytest.raises(StalledError, match=f"cannot look at {tmp_path / place}: {os.strerror(number)}"):
        setup_folders.prepare(settings)
    setup_folders.refuse_files_in_place_of_folders(settings)


@pytest.mark.parametrize("place", ["inbox", "accepted", "accepted/deep"])
def test_a_link_to_a_disk_that_is_not_there_may_pass(tmp_path, place):
    """A link to a mount point that comes late is no file in the way: such a start is tried again."""
    (tmp_path / place.split("/")[0]).symlink_to(tmp_path / "disk" / "folder")
    (tmp_path / "config.yaml").write_text(f"root: .\nsources: [{{{place.split('/')[0]}: {place}}}]")
    with pytest.raises(NoInputError, match="leads nowhere; mount its disk"):
        setup_folders.prepare(load(tmp_path / "config.yaml"))


def test_a_start_names_the_defaults_that_were_replaced(capsys):
    """Whoever replaces `intake.ignore` hears which unfinished uploads are judged from now on; the rest do not."""
    setup_folders.warn_of_names_let_through(Settings())
    assert not capsys.readouterr().out
    setup_folders.warn_of_names_let_through(Settings(intake={"ignore": ["*.tmp"]}))
    told = capsys.readouterr().out
    assert "ignore_also" in told
    assert "*.part" in told
