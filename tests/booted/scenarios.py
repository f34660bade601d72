"""What happens to a service on a real server, each with what people see and how it ends. One system for all of them.

Each takes a system whose service is installed and stopped, and leaves it so. docs/operations.md has a row for each.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.booted.booting import Booted, wait_until
from tests.helpers.images import blurred, jpeg, photo

TEMPORARY, NO_PERMISSION, WRONG_CONFIGURATION = os.EX_TEMPFAIL, os.EX_NOPERM, os.EX_CONFIG
_BIG = "[Unit]\nRequiresMountsFor=/data/big\n[Service]\nReadWritePaths=/data/big\n"
_ON_BIG = "sources: [{name: default, accepted: /data/big/accepted}]\n"

_PROCESSES = "/sys/fs/cgroup/system.slice/imageguard-daemon.service/cgroup.procs"
_FIND_PACKAGE = "find /opt/imageguard-daemon -maxdepth 5 -name imageguard_daemon -type d"

Scenario = Callable[[Booted], None]


def starts_judges_and_stops(system: Booted) -> None:
    """Ready, judging, told how many workers; writes nowhere else; STATUS says stopped after a stop."""
    system.start()
    system.judge("first")
    assert '"event": "workers"' in system.journal()
    inside = ["nsenter", "--target", system.value_of("MainPID"), "--mount"]
    for folder in ("/etc", "/usr", "/var", "/opt/imageguard-daemon", "/srv"):
        assert "Read-only" in system.run(*inside, "sh", "-c", f"touch {folder}/written 2>&1", check=False), folder
    system.run(*inside, "touch", "/srv/ingest/written")
    assert "not fully confined" not in system.journal()
    system.run("systemctl", "stop", "imageguard-daemon")
    assert system.value_of("Result") == "success"
    assert system.value_of("TasksCurrent") in {"", "0", "[not set]"}
    assert system.value_of("StatusText") in {"stopped", ""}


def exposes_little(system: Booted) -> None:
    """This systemd's own analysis finds an exposure of at most 1.0 for each unit."""
    for unit in ("imageguard-daemon", "imageguard-forward"):
        path = f"/root/checkout/systemd/{unit}.service"
        system.run("systemd-analyze", "security", "--offline=true", "--threshold=10", path)


def hangs(system: Booted) -> None:
    """The watchdog ends it, the journal has the stack of every thread, and it is back by itself."""
    with _running(system):
        hung, restarts = system.value_of("MainPID"), int(system.value_of("NRestarts"))
        system.run("systemctl", "kill", "--kill-who=main", "--signal=SIGSTOP", "imageguard-daemon")
        wait_until(lambda: int(system.value_of("NRestarts")) > restarts and system.is_ready, "it comes back")
        assert system.value_of("MainPID") != hung
        assert "Fatal Python error: Aborted" in system.journal()
        system.judge("after-hanging")


def is_reviewed_from_a_shell(system: Booted) -> None:
    """`quarantine release` beside the unit, and `run --once` without it, see the same disks as the unit does."""
    with _running(system):
        system.send("soft", jpeg(blurred(photo(640, 480), 6.0), 95))
        wait_until((system.ingest / "quarantine/soft.jpg").exists, "it is rejected")
        system.as_account("quarantine", "release", "/srv/ingest", "--path", "soft.jpg", "--yes")
        assert (system.ingest / "accepted/soft.jpg").exists()
    system.send("by-hand")
    system.as_account("run", "--config", "/etc/imageguard-daemon/config.yaml", "--once")
    assert (system.ingest / "accepted/by-hand.jpg").exists()
    with _running(system):
        system.judge("by-unit")


def root_is_refused(system: Booted) -> None:
    """What root would leave behind the service could not use; the message has the command as it should be."""
    for command in (["run", "/srv/ingest", "--once"], ["web", "/srv/ingest", "--new-token", "anna"]):
        done = system.ended("/opt/imageguard-daemon/bin/imageguard-daemon", *command)
        assert (done.returncode, "sudo -u imageguard" in done.stderr) == (NO_PERMISSION, True), done.stderr
    with _running(system):
        pass


def disk_of_accepted_is_missing(system: Booted) -> None:
    """The start is refused, with the folder, as often as it takes; mounted again, it goes on by itself."""
    system.run("mkdir", "-p", "/data/big")
    with _mounted(system, "/data/big"):
        system.run("install", "-d", "-o", "imageguard", "-g", "imageguard", "/data/big/accepted")
        with _running(system, _ON_BIG, _BIG):
            system.send("on-big")
            wait_until((system.root / "data/big/accepted/on-big.jpg").exists, "it is accepted on that disk")
        system.run("umount", "/data/big")
        system.run("install", "-d", "-o", "imageguard", "-g", "imageguard", "/data/big/accepted")
        system.configure(_ON_BIG, _BIG)
        system.send("waits")
        system.run("systemctl", "start", "--no-block", "imageguard-daemon")
        wait_until(lambda: int(system.value_of("NRestarts")) > 0, "it is tried again")
        assert "/data/big/accepted was on /data/big" in system.journal()
        assert system.value_of("ExecMainStatus") in {str(TEMPORARY), "0"}
        assert list((system.root / "data/big/accepted").iterdir()) == []
        system.run("mount", "-t", "tmpfs", "tmpfs", "/data/big")
        system.run("install", "-d", "-o", "imageguard", "-g", "imageguard", "/data/big/accepted")
        wait_until((system.root / "data/big/accepted/waits.jpg").exists, "it goes on by itself")
        system.stop()
    system.configure()
    system.run("rm", "/srv/ingest/.imageguard/disks.json")  # as the message says, where it is meant


def destination_is_closed(system: Booted) -> None:
    """A folder outside of ReadWritePaths= is told before the service is ready, with that word."""
    system.run("install", "-d", "-o", "imageguard", "-g", "imageguard", "/data/closed")
    system.configure("sources: [{name: default, accepted: /data/closed}]\n")
    system.run("systemctl", "start", "--no-block", "imageguard-daemon")
    wait_until(lambda: "cannot write to /data/closed: Read-only file system" in system.journal(), "it is told")
    assert "ReadWritePaths=" in system.journal()
    assert not system.is_ready
    system.stop()
    system.configure()


def disk_is_full_at_the_start(system: Booted) -> None:
    """Tried again until there is room; the journal names the disk and what it lacks."""
    with _mounted(system, "/srv/ingest", "-o", "size=2m"):
        system.run("systemd-tmpfiles", "--create", "imageguard-daemon.conf")
        system.run("sh", "-c", "head -c 4m /dev/zero >/srv/ingest/others 2>/dev/null || true")
        system.run("systemctl", "start", "--no-block", "imageguard-daemon")
        wait_until(lambda: int(system.value_of("NRestarts")) > 0, "it is tried again")
        assert "no space left on device" in system.journal().lower()
        system.run("rm", "/srv/ingest/others")
        wait_until(lambda: system.is_ready, "it starts by itself")
        system.stop()


def shared_memory_is_full(system: Booted) -> None:
    """Another account fills /dev/shm: the service has its own."""
    with _mounted(system, "/dev/shm", "-o", "size=64k,mode=1777"):  # noqa: S108 - that is what others do
        system.run("sh", "-c", "head -c 128k /dev/zero >/dev/shm/others 2>/dev/null || true")
        with _running(system):
            system.judge("beside-full-shm")


def reload_is_refused(system: Booted) -> None:
    """`systemctl reload` fails, STATUS and `status` keep why; corrected, it goes through and they forget it."""
    with _running(system):
        (system.root / "etc/imageguard-daemon/config.yaml").write_text("root: /srv/ingest\nintake: {settle: 1}\n")
        assert system.ended("systemctl", "reload", "imageguard-daemon").returncode != 0
        wait_until(lambda: "intake.settle" in system.value_of("StatusText"), "STATUS says so")
        assert "intake.settle" in system.status()["configuration_refused"]
        assert system.is_ready
        system.judge("by-old-rules")
        system.configure()
        system.run("systemctl", "reload", "imageguard-daemon")
        wait_until(lambda: not system.status()["configuration_refused"], "it is forgotten")


def configuration_is_wrong(system: Booted) -> None:
    """It ends with 78 and is not tried again: a person is needed, and the journal says what for."""
    system.configure("scoring: {worker: 1}\n")
    _ends_for_good(system, WRONG_CONFIGURATION, "scoring.worker: unknown setting")
    system.configure()


def permission_is_missing(system: Booted) -> None:
    """It ends with 77, the path, and is not tried again."""
    with _running(system):
        pass
    system.run("chown", "root:root", "/srv/ingest/audit.db")
    try:
        _ends_for_good(system, NO_PERMISSION, "/srv/ingest/audit.db")
    finally:
        system.run("chown", "imageguard:imageguard", "/srv/ingest/audit.db")
    with _running(system):
        pass


def inbox_is_missing(system: Booted) -> None:
    """It is made with the group, the mode and the setgid bit that it had, though the unit may set none, and told."""
    with _running(system):
        pass
    before = (system.ingest / "inbox").stat()
    assert before.st_mode & 0o7777 == 0o2770
    system.run("rm", "-r", "/srv/ingest/inbox")
    with _running(system):
        now = (system.ingest / "inbox").stat()
        assert (now.st_mode, now.st_uid, now.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
        assert "recreated, with group and mode as before" in system.journal()


def journal_knows_what_matters(system: Booted) -> None:
    """`journalctl -p warning` has warnings and errors; images can be left out of the journal."""
    with _running(system, "logging: {images: false}\n"):
        system.judge("unmentioned")
        assert '"path": "unmentioned.jpg"' not in system.journal()
        mark = system.run("date", "+%s")
        system.run("mv", "/srv/ingest/inbox", "/srv/ingest/elsewhere")
        wait_until(lambda: "the inbox is gone" in system.journal("--priority=warning", f"--since=@{mark}"), "told")
        assert '"event": "started"' not in system.journal("--priority=warning")
        system.run("mv", "/srv/ingest/elsewhere", "/srv/ingest/inbox")


def workers_go_first(system: Booted) -> None:
    """Out of memory, decoders go before workers and these before the daemon."""
    with _running(system):
        system.judge("scored")
        main = system.value_of("MainPID")
        script = f"for one in $(cat {_PROCESSES}); do echo $one $(cat /proc/$one/oom_score_adj); done"
        scores = dict(line.split() for line in system.run("sh", "-c", script).splitlines())
        assert int(scores.pop(main)) == 0
        assert {int(score) for score in scores.values()} >= {400, 600}


def upgrade_in_place(system: Booted) -> None:
    """Files replaced under a running service: the next lost worker ends it for a new start, and nothing is lost."""
    with _running(system):
        system.judge("of-the-old-version")
        restarts = int(system.value_of("NRestarts"))
        (package,) = system.run("sh", "-c", _FIND_PACKAGE).split()
        system.run("touch", f"{package}/model.py")
        main = system.value_of("MainPID")
        system.run("sh", "-c", f"for one in $(cat {_PROCESSES}); do [ $one = {main} ] || kill -9 $one; done")
        system.send("of-the-new-version")
        wait_until((system.ingest / "accepted/of-the-new-version.jpg").exists, "it is judged after the new start")
        assert int(system.value_of("NRestarts")) > restarts
        assert "replaced while it was running" in system.journal()


def stop_install_start(system: Booted) -> None:
    """The documented upgrade: nothing is lost, and what arrived meanwhile is judged."""
    with _running(system):
        system.judge("before-upgrade")
    system.send("meanwhile")
    with _running(system):
        wait_until((system.ingest / "accepted/meanwhile.jpg").exists, "it is judged after the start")
    assert (system.ingest / "accepted/before-upgrade.jpg").exists()


ALL: tuple[Scenario, ...] = (
    starts_judges_and_stops,
    exposes_little,
    is_reviewed_from_a_shell,
    root_is_refused,
    hangs,
    disk_of_accepted_is_missing,
    destination_is_closed,
    disk_is_full_at_the_start,
    shared_memory_is_full,
    reload_is_refused,
    configuration_is_wrong,
    permission_is_missing,
    inbox_is_missing,
    journal_knows_what_matters,
    workers_go_first,
    upgrade_in_place,
    stop_install_start,
)
QUICK: tuple[Scenario, ...] = (
    starts_judges_and_stops,
    is_reviewed_from_a_shell,
    hangs,
    disk_of_accepted_is_missing,
    reload_is_refused,
)
"""What one boot has time for in a normal run."""


@contextmanager
def _running(system: Booted, more: str = "", drop_in: str = "") -> Iterator[None]:
    system.configure(more, drop_in)
    system.start()
    try:
        yield
    finally:
        system.stop()
        system.configure()


@contextmanager
def _mounted(system: Booted, folder: str, *options: str) -> Iterator[None]:
    system.run("mount", "-t", "tmpfs", *options, "tmpfs", folder)
    try:
        yield
    finally:
        system.run("umount", "-l", folder)


def _ends_for_good(system: Booted, code: int, told: str) -> None:
    restarts = system.value_of("NRestarts")
    assert system.ended("systemctl", "start", "imageguard-daemon").returncode != 0
    assert (system.value_of("ExecMainStatus"), system.value_of("ActiveState")) == (str(code), "failed")
    assert system.value_of("NRestarts") == restarts
    assert told in system.journal()
    system.stop()
