"""Mounts whose server is gone, where every access waits for it inside the kernel; and such as answer slowly."""

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.daemon_process import command, wait_until
from tests.helpers.images import jpeg, photo


@contextmanager
def _hung(remote: Path):
    """Stop the server of a mount, and let it go on at the end."""
    [server] = [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdigit() and _is_server_of(folder, remote)
    ]
    os.kill(server, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server, signal.SIGCONT)


def _is_server_of(process: Path, remote: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"sftp-server") and os.fsencode(remote) in words


def test_status_names_a_mount_that_hangs_and_a_stop_signal_ends_the_daemon(mounted, ingest, tmp_path):
    """While the loop waits inside the kernel: `status` says for what, SIGTERM is heard, and nothing more is done."""
    at = mounted("uncached")
    for place in ("accepted", "quarantine"):
        (tmp_path / place).mkdir()
    (at / "inbox").mkdir()
    places = {"inbox": str(at / "inbox")} | {p: str(tmp_path / p) for p in ("accepted", "quarantine")}
    one = ingest(sources=[{"name": "nas"} | places], service={"drain_seconds": 2.0})
    one.inbox = at / "inbox"
    one.start()
    one.put("cat/1.jpg", jpeg(photo()))
    one.wait_for_decisions(1)
    with _hung(at.parent / "remote"):
        wait_until(lambda: one.events("a disk or mount does not answer"), "the log says so")
        told = json.loads(command("status", "--config", one.config_file, "--format", "json").stdout)["waiting_for"]
        assert (told["waiting_for"], told["source"]) == (f"{at}/inbox", "nas")
        assert "which does not answer" in command("status", "--config", one.config_file).stdout
        one.process.send_signal(signal.SIGTERM)
        wait_until(lambda: one.events("stopped without waiting any longer"), "the stop signal is heard")
    # What a FUSE program has been asked for the kernel waits out, even after a SIGKILL: now it answers.
    assert one.process.wait(60) == os.EX_TEMPFAIL
    one.start()
    assert one.stop() == 0


def test_a_slow_mount_with_many_folders_holds_up_no_other_source(mounted, ingest, tmp_path):
    """Hundreds of folders, each of which takes a while to watch and to walk: images elsewhere are filed meanwhile."""
    at = mounted("slow")
    (at.parent / "remote" / "inbox").mkdir()
    for number in range(300):
        (at.parent / "remote" / "inbox" / f"day-{number}").mkdir()
    there = {"inbox": str(at / "inbox")} | {p: str(tmp_path / "root" / f"nas-{p}") for p in ("accepted", "quarantine")}
    one = ingest(sources=[{"name": "nas"} | there, {"name": "here"}])
    one.start()
    told = "its folders are many or slow: until all are watched, the inbox is only walked"
    wait_until(lambda: one.events(told), "the log says so")
    one.put("cat/1.jpg", jpeg(photo()))
    one.wait_for_decisions(1)
    assert not one.events("a disk or mount does not answer")
    (at.parent / "remote" / "inbox" / "day-7" / "2.jpg").write_bytes(jpeg(photo(seed=2)))
    one.wait_for_decisions(2)
    assert one.stop() == 0
