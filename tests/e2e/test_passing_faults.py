"""Faults that pass, each for real: the source pauses and says so, nothing is quarantined, and it resumes by itself."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon_process import COMMAND, Ingest, command, wait_until
from tests.helpers.images import jpeg, photo

GOOD = jpeg(photo(320, 240))
RESUMES_WITHIN_SECONDS = 60.0
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and changing users needs root")


def _run(*words: object) -> None:
    done = subprocess.run([str(word) for word in words], check=False, capture_output=True)
    if done.returncode:
        pytest.skip(f"{words[0]} is not allowed here: {done.stderr.decode().strip()}")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own with a folder `accepted`."""
    path = tmp_path / "disk"
    path.mkdir()
    _mount(path)
    (path / "accepted").mkdir()
    yield path
    while os.path.ismount(path):
        subprocess.run(["umount", "-l", path], check=True)


def _mount(disk: Path) -> None:
    _run("mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=20", "tmpfs", disk)


def _use_up_inodes(disk: Path) -> None:
    number = 0
    try:
        while True:
            (disk / f"ballast{number}").touch()
            number += 1
    except OSError:
        return


def _free_inodes(disk: Path) -> None:
    for path in disk.glob("ballast*"):
        path.unlink()


def _lose(disk: Path) -> None:
    unmounts = ("umount", disk)  # it is busy while the daemon looks at it
    wait_until(lambda: subprocess.run(unmounts, check=False, capture_output=True).returncode == 0, "the disk goes")
    (disk / "accepted").mkdir()  # what lies below looks just like an empty destination


def _mount_again(disk: Path) -> None:
    _mount(disk)
    (disk / "accepted").mkdir()


@pytest.mark.parametrize(
    ("begin", "end", "words"),
    [
        (_use_up_inodes, _free_inodes, "No space left"),
        (
            lambda disk: _run("mount", "-o", "remount,ro", disk),
            lambda disk: _run("mount", "-o", "remount,rw", disk),
            "Read-only file system",
        ),
        (_lose, _mount_again, "nothing is mounted"),
    ],
    ids=["no inodes", "read-only", "lost mount"],
)
def test_a_destination_out_of_order_pauses_its_source_only(
    ingest, disk: Path, begin: Callable[[Path], None], end: Callable[[Path], None], words: str
) -> None:
    """Files of the source wait in its inbox, another source goes on, and a minute after the end all is filed."""
    sources = [{"accepted": str(disk / "accepted")}, {"name": "other", "inbox": "in2", "accepted": "a2"}]
    one = ingest(sources=sources)
    one.start()
    begin(disk)
    one.put("cat/0.jpg", GOOD)
    wait_until(lambda: one.events("source paused"), "the pause is told")
    (one.root / "in2" / "1.jpg").write_bytes(GOOD)
    wait_until((one.root / "a2" / "1.jpg").exists, "the other source is served")
    wait_until(lambda: any(s["paused_because"] for s in _status(one)["sources"]), "status tells")
    [paused] = [s for s in _status(one)["sources"] if s["paused_because"]]
    assert words in paused["paused_because"]
    assert paused["next_attempt_at"]
    assert "next attempt" in command("status", "--config", one.config_file).stdout
    assert (one.inbox / "cat" / "0.jpg").exists()
    end(disk)
    wait_until((disk / "accepted" / "cat" / "0.jpg").exists, "it resumes", RESUMES_WITHIN_SECONDS)
    wait_until(lambda: one.events("source resumed"), "the resumption is told")
    assert {row["verdict"] for row in one.decisions()} == {"accepted"}
    assert one.stop() == 0


def test_a_start_without_the_destinations_disk_is_refused(ingest, disk: Path) -> None:
    """After a crash with the disk unmounted no file is called lost: the start fails with code 75 until it is back."""
    one = ingest(sources=[{"accepted": str(disk / "accepted")}])
    one.start()
    one.put("cat/0.jpg", GOOD)
    one.wait_for_decisions(1)
    one.stop(signal.SIGKILL)
    _lose(disk)
    assert one.start().wait(60) == os.EX_TEMPFAIL
    assert "a disk is not mounted" in one.log_file.read_text()
    _mount_again(disk)
    assert one.start("--once").wait(60) == 0


@pytest.fixture
def unprivileged() -> Iterator[Callable[[Ingest], None]]:
    """Start a daemon that permissions hold back: as root, but without the capabilities to pass over them."""
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    started: list[subprocess.Popen[bytes]] = []

    def start(one: Ingest) -> None:
        with one.log_file.open("ab") as log:
            held_back = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
            one.process = subprocess.Popen(
                [*held_back, *COMMAND, "run", "--config", str(one.config_file)], stderr=log, stdout=log
            )
        started.append(one.process)
        wait_until(lambda: one.events("started") or one.process.poll() is not None, "start")

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_missing_permission_is_waited_for(ingest, unprivileged) -> None:
    """A file that may not be read stays and is listed, others go on; with it, it is filed within a minute."""
    one = ingest()
    (one.inbox / "0.jpg").write_bytes(GOOD)
    unprivileged(one)
    one.wait_for_decisions(1)
    (one.inbox / "locked.jpg").write_bytes(GOOD)
    (one.inbox / "locked.jpg").chmod(0)
    wait_until(lambda: _status(one)["failures"], "it is listed")
    [failure] = _status(one)["failures"]
    assert (failure["relative_path"], failure["given_up"]) == ("locked.jpg", False)
    assert failure["next_attempt_at"]
    one.put("1.jpg", GOOD + b"1")
    one.wait_for_decisions(2)
    (one.inbox / "locked.jpg").chmod(0o600)
    wait_until(lambda: len(one.decisions()) == 3, "it is filed", RESUMES_WITHIN_SECONDS)
    assert {row["verdict"] for row in one.decisions()} == {"accepted"}


def test_a_forbidden_destination_pauses_and_resumes(ingest, unprivileged) -> None:
    """Without write permission for the destination nothing is given up, however long it lasts."""
    one = ingest(filing={"max_attempts": 1})
    one.accepted.mkdir()
    unprivileged(one)
    one.accepted.chmod(0o500)
    (one.inbox / "0.jpg").write_bytes(GOOD)
    wait_until(lambda: one.events("source paused"), "the pause is told")
    assert "Permission denied" in one.events("source paused")[0]["why"]
    one.accepted.chmod(0o700)
    wait_until(one.decisions, "it resumes", RESUMES_WITHIN_SECONDS)


def test_a_folder_that_may_not_be_emptied_holds_up_no_other(ingest, unprivileged) -> None:
    """Twenty images of another account stay and are listed with their folder; twenty others are filed, then these."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another account")
    one = ingest()
    theirs = [one.put(f"cat/{number}.jpg", GOOD + b"cat%d" % number) for number in range(20)]
    os.chown(one.inbox / "cat", 65534, 65534)
    unprivileged(one)
    for number in range(20):
        one.put(f"dog/{number}.jpg", GOOD + b"dog%d" % number)
    one.wait_for_decisions(20)
    wait_until(lambda: len(_status(one)["failures"]) == 20, "they are listed")
    assert {failure["error"] for failure in _status(one)["failures"]} == {
        f"files cannot be moved out of {one.inbox / 'cat'}: this account has no write permission there"
    }
    assert not one.events("source paused")
    assert all(path.exists() for path in theirs)
    os.chown(one.inbox / "cat", 0, 0)
    wait_until(lambda: len(one.decisions()) == 40, "they are filed", RESUMES_WITHIN_SECONDS)
    one.check_books()


def test_a_given_up_file_that_goes_is_no_longer_listed(ingest) -> None:
    """A failed file stays listed while it is there; taken away it disappears from `status` without a SIGHUP."""
    one = ingest(filing={"max_attempts": 1})
    (one.root / "accepted").mkdir()
    (one.root / "accepted" / "cat").write_text("in the way of a folder")
    one.start()
    path = one.put("cat/0.jpg", GOOD)
    wait_until(lambda: [f for f in _status(one)["failures"] if f["given_up"]], "it is given up")
    one.put("dog/1.jpg", GOOD)
    one.wait_for_decisions(1)
    path.unlink()
    wait_until(lambda: not _status(one)["failures"], "it is no longer listed")


def _status(one: Ingest) -> dict:
    return json.loads(command("status", "--config", one.config_file, "--format", "json").stdout)["daemon"]


def test_a_reading_error_of_the_disk_is_waited_for(ingest) -> None:
    """EIO while an image is read pauses its source and says so; when the disk answers again the image is accepted."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    one = ingest(filing={"max_attempts": 1}, scoring={"workers": 1})
    path = one.put("cat/0.jpg", GOOD)
    inject = ["strace", "-f", "-qq", "-o", one.root / "trace", "-P", path, "-e", "inject=read:error=EIO:when=1..2"]
    with one.log_file.open("ab") as log:
        arguments = [*inject, *COMMAND, "run", "--config", one.config_file]
        one.process = subprocess.Popen([str(word) for word in arguments], stderr=log, stdout=log)
    try:
        wait_until(lambda: one.events("source paused"), "the pause is told")
        assert "Input/output error" in one.events("source paused")[0]["why"]
        assert [row["verdict"] for row in one.wait_for_decisions(1)] == ["accepted"]
    finally:
        if one.events("started"):
            os.kill(one.events("started")[0]["process_id"], signal.SIGTERM)
        one.process.wait(60)
