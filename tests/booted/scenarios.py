"""What happens to a service on a real server, each with what people see and how it ends. One system for all of them.

Each takes a system whose service is installed and stopped, and leaves it so. docs/operations.md has a row for each.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.booted.booting import FORWARDER, REPOSITORY, SHIPPED, Booted
from tests.faults.site import wait_until
from tests.helpers.images import blurred, jpeg, large_png, photo
from tests.helpers.postgres import Server

TEMPORARY, NO_PERMISSION, WRONG_CONFIGURATION = os.EX_TEMPFAIL, os.EX_NOPERM, os.EX_CONFIG
_BIG = "[Unit]\nRequiresMountsFor=/data/big\n[Service]\nReadWritePaths=/data/big\n"
_ON_BIG = "sources: [{name: default, accepted: /data/big/accepted}]\n"

_GROUP = "/sys/fs/cgroup/system.slice/imageguard-daemon.service"
_PROCESSES = f"{_GROUP}/cgroup.procs"
_FIND_PACKAGE = "find /opt/imageguard-daemon -maxdepth 5 -name imageguard_daemon -type d"

_TOO_LITTLE, _HUGE_SIDE = 330, 11_000
"""Megabytes with room for daemon, worker and decoder, and for no image of so many pixels a side."""
_PASSWORD = 'a "password" of $pecial characters \\ #1'  # noqa: S105 - of a database that is gone with the scenario

Scenario = Callable[[Booted], None]


def starts_judges_and_stops(system: Booted) -> None:
    """Ready, judging, told how many workers; writes nowhere else; STATUS says stopped after a stop."""
    system.start()
    system.judge("first")
    assert '"event": "workers"' in system.journal()
    inside = ["nsenter", "--target", system.value_of("MainPID"), "--mount", "--root"]
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
        system.run("systemd-analyze", "security", "--offline=true", "--threshold=10", f"{SHIPPED}/{unit}.service")


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


def limits_decide_how_many_workers(system: Booted) -> None:
    """`MemoryMax=` and `CPUQuota=` of the unit bound number and size of the workers; the journal says which did."""
    system.need_controllers("cpu", "memory")
    with _running(system, drop_in="[Service]\nMemoryMax=600M\nCPUQuota=100%\n"):
        told = system.told("workers")
        assert (told["number"], told["megabytes_each"]) == (1, 600)
        assert "the memory limit of 600 MB" in told["limited_by"]
        system.judge("within-limits")
    if int(system.run("nproc")) > 1:
        with _running(system, drop_in="[Service]\nCPUQuota=100%\n"):
            told = system.told("workers")
            assert (told["number"], told["limited_by"]) == (1, "the limit of 1 processors")


def memory_runs_out(system: Booted) -> None:
    """The kernel ends a decoder for want of memory: the service lives, no image is judged by that, and it is later."""
    system.need_controllers("memory")
    with _running(system, "scoring: {workers: 1}\nfiling: {max_attempts: 1}\n"):
        system.judge("fits")
        main = system.value_of("MainPID")
        system.run("systemctl", "set-property", "--runtime", "imageguard-daemon", f"MemoryMax={_TOO_LITTLE}M")
        system.send("huge", large_png(_HUGE_SIDE))
        wait_until(lambda: system.status()["failures"], "it is given up")
        assert "perhaps for want of memory" in system.status()["failures"][0]["error"]
        assert "oom_kill 0" not in system.run("cat", f"{_GROUP}/memory.events")
        system.judge("fits-again")
        assert (system.value_of("MainPID"), system.value_of("SubState")) == (main, "running")
        assert (system.ingest / "inbox/huge.jpg").exists()
        assert "huge.jpg" not in system.as_account("report", "/srv/ingest", "--by", "reason")
        system.run("systemctl", "set-property", "--runtime", "imageguard-daemon", "MemoryMax=infinity")
        system.run("systemctl", "reload", "imageguard-daemon")
        wait_until(lambda: not (system.ingest / "inbox/huge.jpg").exists(), "it is judged with the memory it takes")
    system.run("systemctl", "revert", "imageguard-daemon", check=False)


def log_is_forwarded(system: Booted) -> None:
    """The forwarder's unit has its password as a credential; what is wrong, or a database that is away, it outlives."""
    with _fleet(system) as server:
        url = server.url("imageguard", "imageguard_forwarder")
        forward = f"forward: {{url: '{url}', with_daemon: false, retry_seconds: 1}}\n"

        def received() -> int:
            return int(server.sql("SELECT count(*) FROM decisions", "imageguard")[0][0])

        with _running(system, forward):
            system.judge("sent")
            system.install_forwarder("not the password")
            wait_until(lambda: "password authentication failed" in _warnings(system, FORWARDER), "it is told")
            system.install_forwarder(_PASSWORD)
            wait_until(received, "it is sent")
            wait_until(lambda: "up to date" in system.as_account("status", "/srv/ingest"), "`status` says so")
            main = system.value_of("MainPID", FORWARDER)
            assert _PASSWORD not in system.run("cat", f"/proc/{main}/environ", f"/proc/{main}/cmdline")
            before = received()
            server.kill()
            system.judge("meanwhile")
            wait_until(lambda: "waiting" in system.as_account("status", "/srv/ingest"), "it is told to wait")
            server.start()
            wait_until(lambda: received() > before, "it goes on by itself")
            assert system.value_of("MainPID", FORWARDER) == main
            system.run("systemctl", "disable", "--now", FORWARDER)
            assert system.value_of("Result", FORWARDER) == "success"


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
    assert system.upgrade() in system.as_account("--version")
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
    limits_decide_how_many_workers,
    memory_runs_out,
    log_is_forwarded,
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
def _fleet(system: Booted) -> Iterator[Server]:
    """A PostgreSQL on loopback with tables and roles as in docs/fleet.md, which lets the forwarder in by password."""
    with Server() as server:
        server.sql("CREATE ROLE imageguard_owner LOGIN")
        server.sql("CREATE ROLE imageguard_reader LOGIN")
        server.sql(f"CREATE ROLE imageguard_forwarder LOGIN PASSWORD '{_PASSWORD}'")
        server.sql("CREATE DATABASE imageguard OWNER imageguard_owner")
        system.as_account("fleet", "prepare", "--db", server.url("imageguard", "imageguard_owner"))
        grants = (REPOSITORY / "contrib/container/grants.sql").read_text()
        server.sql(grants, "imageguard", "imageguard_owner")
        rules = "host all owner 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (server.data / "pg_hba.conf").write_text(rules)
        server.sql("SELECT pg_reload_conf()")
        yield server


def _warnings(system: Booted, unit: str) -> str:
    return system.journal("--priority=warning", unit=unit)


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
