"""What the surroundings refuse at start is told with the file it is about, and a code that says whether it may pass."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.helpers import accounts
from tests.helpers.accounts import NOBODY, run_as_nobody
from tests.helpers.images import jpeg, photo

pytestmark = pytest.mark.skipif(bool(accounts.lacking()), reason=f"needs {accounts.lacking()}")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other accounts may enter."""
    with tempfile.TemporaryDirectory(prefix="imageguard-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - that is what it is for
        yield Path(folder)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root as a first run of root's leaves it."""
    root = tmp_path_factory.mktemp("begun") / "ingest"
    done = subprocess.run([sys.executable, "-m", "imageguard_daemon", "run", root, "--once"], check=True)
    assert done.returncode == 0
    return root


@pytest.fixture
def root(place: Path, begun: Path) -> Path:
    """A root of the account, with an image that waits."""
    root = place / "ingest"
    shutil.copytree(begun, root)
    (root / "inbox" / "1.jpg").write_bytes(jpeg(photo(640, 480), 95))
    for path in (root, *root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return root


def _refuse(path: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        os.chown(one, 0, 0)
        one.chmod(0o444 if one.is_file() else 0o000 if path.name == "inbox" else 0o555)


@pytest.mark.parametrize("name", ["", ".imageguard/daemon.lock", "audit.db", "accepted", "inbox"])
def test_what_this_account_may_not_write_to_ends_with_77_and_its_path(root: Path, name: str) -> None:
    """Whichever part of the program meets it: the folder, the lock, SQLite, or the first file that is moved."""
    _refuse(root / name)
    done = run_as_nobody("run", root, "--once")
    assert done.returncode == os.EX_NOPERM, done.stderr
    assert "Traceback" not in done.stderr
    assert str(root / name) in done.stderr


def test_a_log_that_this_account_may_not_read_is_there(root: Path) -> None:
    """It is no missing log, which might pass or be begun anew."""
    for one in root.glob("audit.db*"):
        os.chown(one, 0, 0)
        one.chmod(0o600)
    done = run_as_nobody("run", root, "--once")
    assert (done.returncode, str(root / "audit.db") in done.stderr) == (os.EX_NOPERM, True), done.stderr


@pytest.mark.parametrize("command", ["run --once", "status"])
def test_a_folder_that_cannot_even_be_entered_ends_with_77(place: Path, command: str) -> None:
    """No traceback, and no box that calls it a mistake of the command line."""
    secret = place / "secret"
    (secret / "ingest").mkdir(parents=True)
    secret.chmod(0o700)
    for arguments in (["--config", secret / "config.yaml"], [secret / "ingest"]):
        done = run_as_nobody(*command.split(), *arguments)
        assert done.returncode == os.EX_NOPERM, done.stderr
        assert "Traceback" not in done.stderr
        assert str(arguments[-1]) in done.stderr
    config = place / "config.yaml"
    config.write_text(f"root: {place}\n")
    config.chmod(0o600)
    done = run_as_nobody(*command.split(), "--config", config)
    assert (done.returncode, f"cannot read the configuration {config}" in done.stderr) == (os.EX_NOPERM, True)


def test_where_the_caller_stands_does_not_matter(root: Path, place: Path) -> None:
    """A service command given from a folder that the account may not enter works as from anywhere."""
    private = place / "private"
    private.mkdir(mode=0o700)
    done = run_as_nobody("run", root, "--once", cwd=private)
    assert done.returncode == 0, done.stderr
    assert (root / "accepted" / "1.jpg").exists()


@pytest.mark.parametrize("limit", [11, 12, 24])
def test_too_few_open_files_is_a_sentence(root: Path, limit: int) -> None:
    """With the limit's name; or the daemon makes do with them."""
    done = run_as_nobody("run", root, "--once", before=f"ulimit -n {limit}")
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0 or "too many open files" in done.stderr.lower(), done.stderr
    assert done.returncode in {0, os.EX_TEMPFAIL}


def test_a_full_disk_at_the_start_may_pass(place: Path) -> None:
    """It ends with the code that is tried again, and names the disk and what it lacks."""
    disk = place / "ingest"
    disk.mkdir(parents=True)
    fill = f"mount -t tmpfs -o size=256k,uid={NOBODY} tmpfs {disk}; head -c 300k /dev/zero >{disk}/others || true"
    done = run_as_nobody("run", disk, "--once", before=fill)
    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    assert "no space left on device" in done.stderr.splitlines()[-1].lower()
    assert str(disk) in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", ["ingest", "ingest/accepted"])
def test_a_read_only_disk_is_told_before_anything_is_judged(root: Path, place: Path, what: str) -> None:
    """A destination that the unit may not write to, or a disk that was remounted: its path, and how to open it."""
    disk = place / what
    done = run_as_nobody("run", root, "--once", before=f"mount --bind {disk} {disk}; mount -o remount,bind,ro {disk}")
    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    last = done.stderr.splitlines()[-1]
    assert f"{disk}" in last
    assert "read-only file system" in last.lower()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("mode", "told"), [(0o000, "1 folders cannot be read"), (0o744, "1 files are left")])
def test_not_all_is_done_while_a_folder_of_the_inbox_is_closed(root: Path, mode: int, told: str) -> None:
    """One that may not be listed, and one that may but not entered: images may lie there, or do."""
    folder = root / "inbox" / "cat"
    folder.mkdir()
    shutil.copy(root / "inbox" / "1.jpg", folder)
    folder.chmod(mode)
    done = run_as_nobody("run", root, "--once")
    assert done.returncode == os.EX_TEMPFAIL, done.stderr
    assert told in done.stderr
    assert (root / "accepted" / "1.jpg").exists()


def test_a_check_of_the_configuration_names_destinations_that_will_be_refused(place: Path) -> None:
    """It stays a note: who checks need not be who runs, nor see the same disks."""
    (place / "closed").mkdir()
    config = place / "config.yaml"
    away, missing = {"name": "a", "inbox": "1", "accepted": str(place / "closed")}, {"name": "b", "inbox": "2"}
    missing |= {"quarantine": str(place / "missing")}
    config.write_text(yaml.safe_dump({"root": str(place / "ingest"), "sources": [away, missing]}))
    done = run_as_nobody("config", "check", config)
    assert done.returncode == 0, done.stderr
    assert f"{place / 'closed'} cannot be written by this account" in done.stderr
    assert f"{place / 'missing'} is not there" in done.stderr
