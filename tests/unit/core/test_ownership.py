"""Root leaves no files behind that the account of a root folder cannot use."""

import os
import shutil
import subprocess
import sys

import pytest

from imageguard_daemon.core.ownership import account_name
from tests.helpers.images import jpeg, photo

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="acting as root needs root")
NOBODY = 65534
NAMELESS = 54_321


def _command(*arguments):
    command = [sys.executable, "-m", "imageguard_daemon", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root whose daemon runs as another account, with an image that waits."""
    root = tmp_path_factory.mktemp("owned") / "ingest"
    (root / "inbox").mkdir(parents=True)
    (root / "inbox" / "1.jpg").write_bytes(jpeg(photo(640, 480), 95))
    assert _command("run", root, "--once").returncode == 0
    (root / "inbox" / "2.jpg").write_bytes(jpeg(photo(640, 480, seed=2), 95))
    for path in (root, *root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return root


@pytest.mark.parametrize(
    "command",
    [
        "run --once",
        "web",
        "web --new-token anna",
        "quarantine release --yes --id 1",
        "verify --repair",
        "fleet forward",
        "audit accept",
    ],
)
def test_root_is_refused_in_a_root_of_another_account(root, command, tmp_path):
    """The message names the account and the command's other form; nothing was changed, and nothing is root's."""
    before = _state(root)
    config = tmp_path / "config.yaml"
    config.write_text(f"root: {root}\nforward: {{url: 'postgresql://a@127.0.0.1/b'}}\n")
    told = _command(*command.split(), "--config", config)
    assert told.returncode == os.EX_NOPERM, told.stderr
    assert f"`sudo -u {account_name(NOBODY)}` before it" in told.stderr
    assert _state(root) == before
    assert all(path.stat().st_uid == NOBODY for path in root.rglob("*"))


def _state(root):
    """Give what is there, but for what SQLite needs to read; it sees to the owner of that itself."""
    kept = [path for path in root.rglob("*") if not path.name.endswith(("-wal", "-shm"))]
    return {path: path.stat().st_mtime_ns for path in kept if path.is_file()}


def test_root_may_look_everywhere_and_act_in_its_own(root, tmp_path):
    """Reading changes no owner; a root that is root's is like that of any account."""
    for command in ("status", "report", "verify"):
        assert _command(command, root).returncode == 0, command
    assert all(path.stat().st_uid == NOBODY for path in root.rglob("*"))
    own = tmp_path / "own"
    shutil.copytree(root, own)
    done = _command("run", own, "--once")
    assert done.returncode == 0, done.stderr


def test_a_new_root_in_an_accounts_folder_is_that_accounts(tmp_path):
    """What systemd-tmpfiles made is not taken over by whoever starts first; an account without a name has a number."""
    os.chown(tmp_path, NAMELESS, NAMELESS)
    told = _command("run", tmp_path, "--once")
    assert (told.returncode, f"sudo -u #{NAMELESS}" in told.stderr) == (os.EX_NOPERM, True), told.stderr
    assert list(tmp_path.iterdir()) == []
