"""Start, stop, reload: the daemon as its operator and systemd meet it."""

import json
import os
import pty
import select
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.daemon_process import COMMAND, Ingest, command, wait_until
from tests.helpers.images import jpeg, photo

SPAWNED = True

GOOD = jpeg(photo(320, 240))


def _worker_processes(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                status = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                arguments = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if int(status[1]) == parent and b"sandbox.worker_process" in arguments:
                found.append(int(folder.name))
    return found


def _leave_an_image_with_stopped_workers(one: Ingest) -> list[int]:
    """Have one image filed, stop the workers as a hang would, and give them another one."""
    one.put("cat/0.jpg", GOOD)
    one.wait_for_decisions(1)
    wait_until(lambda: one.status()["in_work"] == 0, "the status knows it")
    workers = _worker_processes(one.process.pid)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    one.put("cat/1.jpg", GOOD)
    wait_until(lambda: one.status()["in_work"] == 1, "a worker has it")
    return workers


def test_once_handles_what_is_there_and_exits_0(ingest):
    """`run --once` ends by itself with code 0 when the inbox is empty."""
    one = ingest()
    for number in range(5):
        one.put(f"cat/{number}.jpg", GOOD)
    assert one.start("--once").wait(60) == 0
    assert len(one.decisions()) == 5
    assert len(one.events("stopped")) == 1


def test_once_does_not_wait_for_an_upload_that_goes_on(ingest):
    """A file still being written is left for the next run, which exit code 75 and the log say."""
    one = ingest()
    one.put("cat/done.jpg", GOOD)
    with (one.inbox / "open.jpg").open("wb") as stream:
        stream.write(GOOD)
        stream.flush()
        assert one.start("--once").wait(60) == os.EX_TEMPFAIL
    assert [row["relative_path"] for row in one.decisions()] == ["cat/done.jpg"]
    assert (one.inbox / "open.jpg").exists()
    [stopped] = one.events("stopped")
    assert [stopped[name] for name in ("accepted", "waiting", "settling", "failed")] == [1, 0, 1, 0]
    [left] = one.events("not all is done")
    assert (left["what"], left["how"]) == ("still changing", "1 files are being written, changed or have just come")


def test_one_daemon_per_root(ingest):
    """A second daemon on the same root ends at once with code 75 and names the first."""
    one = ingest()
    process = one.start()
    second = command("run", "--config", one.config_file)
    assert second.returncode == os.EX_TEMPFAIL
    assert f"process {process.pid}" in second.stderr
    assert process.poll() is None


def test_sigterm_finishes_what_is_in_work(ingest):
    """A stop signal lets images in work be filed, and nothing new be begun."""
    one = ingest()
    for number in range(60):
        one.put(f"cat/{number}.jpg", GOOD)
    one.start()
    one.wait_for_decisions(1)
    assert one.stop() == 0
    one.check_books()
    left = [path for path in one.inbox.rglob("*") if path.is_file()]
    assert len(one.decisions()) + len(left) == 60
    assert _worker_processes(one.process.pid) == []


def test_a_second_stop_signal_stops_at_once(ingest):
    """With workers that don't answer, the first signal waits and the second ends the daemon; the file stays."""
    one = ingest(service={"drain_seconds": 600})
    process = one.start()
    _leave_an_image_with_stopped_workers(one)
    process.send_signal(signal.SIGTERM)
    time.sleep(1.0)
    assert process.poll() is None, "the first signal must drain"
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert (one.inbox / "cat" / "1.jpg").exists()


def test_draining_is_bounded(ingest):
    """With workers that don't answer, a single stop signal ends the daemon after `drain_seconds`."""
    one = ingest(service={"drain_seconds": 1.0})
    one.start()
    _leave_an_image_with_stopped_workers(one)
    assert one.stop() == 0
    assert (one.inbox / "cat" / "1.jpg").exists()


def test_sighup_applies_new_thresholds(ingest):
    """After SIGHUP the next image is judged by the thresholds of the changed file; a wrong file changes nothing."""
    one = ingest()
    process = one.start()
    one.put("cat/0.jpg", GOOD)
    one.wait_for_decisions(1)
    moved = {"name": "default", "thresholds": {"resolution_score": 99}, "accepted": str(one.root / "elsewhere")}
    one.configure(sources=[moved])
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: one.events("configuration reloaded"), "reload")
    one.put("cat/1.jpg", GOOD)
    one.wait_for_decisions(2)
    one.config_file.write_text("intake: {settle: 1}")
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: one.events("configuration not reloaded"), "refusal")
    wait_until(lambda: "intake.settle" in one.status()["configuration_refused"], "it is kept in the status")
    one.put("cat/2.jpg", GOOD)
    one.wait_for_decisions(3)
    one.configure(sources=[moved])
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: not one.status()["configuration_refused"], "it is forgotten once it is corrected")
    first, second, third = one.decisions()
    assert (first["verdict"], second["verdict"], third["verdict"]) == ("accepted", "quarantined", "quarantined")
    assert json.loads(second["profile"])["resolution_score"] == 99
    assert [event["settings"] for event in one.events("some changes need a restart")] == ["sources (default)"] * 2


def test_a_daemon_that_the_watchdog_ends_says_where_it_was(ingest):
    """SIGABRT leaves the stack of every thread, as of the loop that hangs somewhere."""
    one = ingest()
    one.start()
    wait_until((one.root / ".imageguard" / "status.json").exists, "it watches")
    assert one.stop(signal.SIGABRT) == -signal.SIGABRT
    text = one.log_file.read_text()
    assert "Fatal Python error: Aborted" in text
    assert "main_loop.py" in text


def test_systemd_is_told_how_it_ended(ingest, tmp_path):
    """STATUS= says stopped after a stop, and why after an end; one line each, whatever a message has in it."""
    one = ingest()
    told = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(str(tmp_path / "notify"))
        ours.settimeout(0.2)

        def hear():
            while True:
                try:
                    told.extend(ours.recv(65_536).decode().splitlines())
                except TimeoutError:
                    return told

        one.start(env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        wait_until(lambda: "READY=1" in hear(), "it is ready")
        one.config_file.write_text("intake:\n  settle: 1\n  rescan: 2\n")
        one.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("configuration not reloaded" in line and "rescan" in line for line in hear()), "refusal")
        one.stop()
        assert [line for line in hear() if line.startswith("STATUS=")][-1] == "STATUS=stopped"
        one.configure()
        (one.root / "audit.db").write_bytes(b"no database" * 100)
        one.start(env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        one.process.wait(60)
        assert [line for line in hear() if line.startswith("STATUS=")][-1].startswith("STATUS=ended: audit database")


def test_a_killed_worker_costs_no_file(ingest):
    """An image whose worker is killed is tried again and filed as usual."""
    one = ingest()
    one.start()
    for worker in _leave_an_image_with_stopped_workers(one):
        os.kill(worker, signal.SIGKILL)
    one.wait_for_decisions(2)
    assert [row["verdict"] for row in one.decisions()] == ["accepted", "accepted"]


def test_workers_end_with_a_daemon_that_is_killed(ingest):
    """SIGKILL leaves no worker process behind."""
    one = ingest()
    process = one.start()
    one.put("cat/0.jpg", GOOD)
    one.wait_for_decisions(1)
    workers = _worker_processes(process.pid)
    assert workers
    process.kill()
    process.wait()
    wait_until(lambda: not any(Path(f"/proc/{worker}/exe").exists() for worker in workers), "workers end")


def test_systemd_hears_ready_status_watchdog_and_stopping(ingest, tmp_path):
    """The notify socket gets READY after the start, WATCHDOG while things go well, STOPPING at the end."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(address)
        server.settimeout(60)
        one = ingest()
        one.start(env={"NOTIFY_SOCKET": address})
        heard = ""
        while "READY=1" not in heard or "WATCHDOG=1" not in heard:
            heard += server.recv(4096).decode() + "\n"
        assert "STATUS=" in heard
        one.stop()
        while "STOPPING=1" not in heard:
            heard += server.recv(4096).decode() + "\n"


def test_a_log_removed_under_the_daemon_stops_it(ingest):
    """Nothing more moves, the daemon ends with 69, starts refuse to begin a new log, and a person may say to do so."""
    one = ingest(spawned=False)
    process = one.start()
    one.put("cat/0.jpg", GOOD)
    one.wait_for_decisions(1)
    for path in one.root.glob("audit.db*"):
        path.unlink()
    one.put("cat/1.jpg", GOOD)
    assert process.wait(60) == os.EX_UNAVAILABLE
    assert (one.inbox / "cat" / "1.jpg").exists()
    assert "removed or replaced" in one.log_file.read_text()
    assert one.start("--once").wait(60) == os.EX_DATAERR
    ends = one.events("ended")
    assert [(end["level"], end["exit_code"]) for end in ends] == [("critical", 69), ("critical", 65)]
    assert "audit.db is gone" in ends[1]["why"]
    assert "exit code 65: the audit database" in " ".join(command("status", one.root).stdout.split())
    assert all(line.startswith("{") for line in one.log_file.read_text().splitlines())
    assert (one.inbox / "cat" / "1.jpg").exists()
    accepted = command("audit", "accept", one.root, "--why", "deleted by mistake")
    assert accepted.returncode == 0
    assert accepted.stdout.endswith("accepted and recorded\n")
    assert one.start("--once").wait(60) == 0
    assert len(one.decisions()) == 1
    assert "lacks nothing" in command("audit", "accept", one.root).stdout


def test_closed_output_hinders_nothing(tmp_path):
    """Started with closed standard streams, as some schedulers do, it works as usual."""
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "1.jpg").write_bytes(GOOD)
    shell = f"exec {' '.join(COMMAND)} run --once {tmp_path} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", shell], timeout=60, check=False).returncode == 0
    assert (tmp_path / "accepted" / "1.jpg").exists()


def test_an_inbox_reached_through_a_link_is_watched(ingest, tmp_path):
    """A symbolic link as inbox is followed, and events arrive from where it leads."""
    one = ingest(spawned=False, intake={"canary_seconds": 0.5, "rescan_seconds": 3600})
    (tmp_path / "elsewhere").mkdir()
    one.inbox.rmdir()
    one.inbox.symlink_to(tmp_path / "elsewhere")
    one.start()
    time.sleep(1.0)  # the first walk is over
    one.put("cat/0.jpg", GOOD)
    one.wait_for_decisions(1)
    time.sleep(6.0)  # longer than the patience for a canary
    assert one.events("kernel events stopped arriving; watching and walking again") == []


def test_a_locked_database_is_waited_for(ingest):
    """While somebody holds the database nothing moves; afterwards everything is filed."""
    import sqlite3

    one = ingest(spawned=False)
    one.start()
    one.put("cat/0.jpg", GOOD)
    one.wait_for_decisions(1)
    blocker = sqlite3.connect(one.root / "audit.db", isolation_level=None, timeout=60)
    blocker.execute("BEGIN EXCLUSIVE")
    one.put("cat/1.jpg", GOOD)
    wait_until(lambda: one.events("source paused"), "the pause is told")
    assert (one.inbox / "cat" / "1.jpg").exists()
    status = json.loads(command("status", "--config", one.config_file, "--format", "json").stdout)
    assert "locked" in status["daemon"]["sources"][0]["paused_because"]
    blocker.execute("ROLLBACK")
    blocker.close()
    one.wait_for_decisions(2)
    wait_until(lambda: one.events("source resumed"), "the resumption is told")
    one.check_books()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_pauses_and_resumes_by_itself(ingest, tmp_path):
    """A destination on a full disk of its own leaves files in the inbox until there is room again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        (disk / "accepted").mkdir()
        (disk / "ballast").write_bytes(b"x" * 60_000)
        one = ingest(spawned=False, sources=[{"accepted": str(disk / "accepted")}])
        one.accepted = disk / "accepted"
        one.start()
        one.put("cat/0.jpg", GOOD)
        wait_until(lambda: one.events("source paused"), "the pause is told")
        assert (one.inbox / "cat" / "0.jpg").exists()
        assert list(disk.rglob("*.part")) == []
        (disk / "ballast").unlink()
        (row,) = one.wait_for_decisions(1)
        assert Path(row["destination"]).read_bytes() == GOOD
        assert not (one.inbox / "cat" / "0.jpg").exists()
        assert one.stop() == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_terminal_shows_a_live_status_line(tmp_path):
    """On a terminal the daemon shows what it does in one line, and leaves the terminal as it was."""
    (tmp_path / "inbox" / "cat").mkdir(parents=True)
    (tmp_path / "inbox" / "cat" / "1.jpg").write_bytes(GOOD)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", str(tmp_path)], stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    )
    os.close(theirs)
    seen = b""
    try:
        deadline = time.monotonic() + 60
        while b"1 accepted" not in seen and time.monotonic() < deadline:
            if select.select([ours], [], [], 0.5)[0]:
                seen += os.read(ours, 65536)
    finally:
        process.terminate()
        while True:
            try:
                seen += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        assert process.wait(60) == 0
        os.close(ours)
    assert b"1 accepted" in seen
    assert seen.rstrip().endswith(b"\x1b[?25h") or seen.rfind(b"\x1b[?25h") > seen.rfind(b"\x1b[?25l")
