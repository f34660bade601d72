"""Three real daemons that forward to one PostgreSQL, which hangs, dies and comes back while they work.

Their clocks are years apart; daemons are killed, and one host is put back from a backup and goes on. Afterwards the
database must hold each log exactly once, and of the host that was put back both histories.
"""

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.faults.disks import small_memory
from tests.faults.figures import Figures
from tests.faults.launching import Daemon, Launcher
from tests.faults.oracle import Offered
from tests.faults.site import Site, wait_until
from tests.faults.uploading import put, unique
from tests.helpers.fleets import asked, differences
from tests.helpers.postgres import Server

DAYS_OFF = {"on-time": 0, "ahead": 3650, "behind": -3650}
KINDS = ("good", "blurry", "tiny", "good")
RESTORED = "ahead"


@dataclass
class Host:
    """One server of the fleet."""

    name: str
    site: Site
    daemon: Daemon
    sent: list[Offered] = field(default_factory=list)
    expected: int = 0


def outages(launcher: Launcher, home: Path, rounds: int, seed: int = 1) -> Figures:
    """Let images arrive everywhere, round after round, each with an accident; then compare every record."""
    figures = Figures(
        "fleet: database stopped and killed, daemons killed, clocks apart, a host put back", rounds=rounds
    )
    chance = random.Random(seed)
    with Server() as server:
        url = server.new_database()
        hosts = [_host(launcher, home / name, url, days) for name, days in DAYS_OFF.items()]
        _arrivals(hosts, "before", figures)
        for host in hosts:  # before that, tables are made, which may take long
            wait_until(
                lambda h=host: _forwarding(h)["state"] == "up to date", f"{host.name} has sent its first records"
            )
        for number in range(rounds):
            _arrivals(hosts, f"r{number}", figures)
            accident = ACCIDENTS[number % len(ACCIDENTS)] if number < len(ACCIDENTS) else chance.choice(ACCIDENTS)
            figures.counts[accident.__name__.replace("_", " ")] += 1
            with accident(launcher, server, hosts, chance):
                _arrivals(hosts, f"r{number}-meanwhile", figures)
        _put_back(launcher, hosts, url, figures)
        _settle(hosts, url, figures)
        _compare(hosts, url, figures)
    return figures


def full_disk(launcher: Launcher, home: Path) -> Figures:
    """Let the database's disk fill up while images arrive, and give it room again."""
    figures = Figures("fleet: the database's disk is full", rounds=1)
    home.chmod(0o711)  # the server's account passes through
    with small_memory(home / "disk", "size=120m,mode=711") as disk, Server(disk) as server:
        url = server.new_database()
        hosts = [_host(launcher, home / name, url, days) for name, days in DAYS_OFF.items()]
        _arrivals(hosts, "before", figures)
        filler = disk / "filler"
        _fill(filler)
        for number in range(60):
            _arrivals(hosts, f"full-{number}", figures)
            if all("o space left" in _forwarding(host)["last_error"] for host in hosts):
                break
        for host in hosts:
            if not _forwarding(host)["last_error"]:
                figures.note(f"{host.name} did not notice that the database's disk is full")
        filler.unlink()
        if not server.is_running:
            figures.counts["server ended by it"] += 1
            server.start()
        _settle(hosts, url, figures)
        _compare(hosts, url, figures, put_back=None)
    return figures


def _fill(path: Path) -> None:
    """Leave no block free."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


@contextmanager
def database_hangs(_launcher: Launcher, server: Server, hosts: list[Host], _chance: random.Random) -> Iterator[None]:
    """The server takes connections and answers nothing, for longer than anybody waits."""
    server.freeze()
    try:
        yield
        _wait_for_failure(hosts)
    finally:
        server.resume()


@contextmanager
def database_killed(_launcher: Launcher, server: Server, hosts: list[Host], _chance: random.Random) -> Iterator[None]:
    """The server dies in the middle of what it does, and is started again."""
    server.kill()
    try:
        yield
        _wait_for_failure(hosts)
    finally:
        server.start()


@contextmanager
def database_blinks(_launcher: Launcher, server: Server, _hosts: list[Host], _chance: random.Random) -> Iterator[None]:
    """The server dies while batches are on their way, and is back at once."""
    yield
    server.kill()
    server.start()


@contextmanager
def daemon_killed(launcher: Launcher, _server: Server, hosts: list[Host], chance: random.Random) -> Iterator[None]:
    """A daemon dies, and its forwarder with it."""
    host = chance.choice(hosts)
    yield
    host.daemon.kill()
    host.daemon = launcher.start_and_wait(host.site, faults=["movable_clock"])


ACCIDENTS: tuple[Callable, ...] = (database_hangs, database_killed, daemon_killed, database_blinks)


def _host(launcher: Launcher, home: Path, url: str, days: int) -> Host:
    home.mkdir(parents=True)
    (home / "clock").write_text(f"{days}\n")
    forward = {"url": url, "host": home.name, "timeout_seconds": 1.0, "retry_seconds": 0.3, "batch_records": 20}
    site = Site(home, forward=forward)
    return Host(home.name, site, launcher.start_and_wait(site, faults=["movable_clock"]))


def _arrivals(hosts: list[Host], name: str, figures: Figures) -> None:
    """Let images arrive, and see that they are judged at once whatever the database does."""
    for host in hosts:
        for number, kind in enumerate(KINDS):
            host.sent.append(put(host.site.inbox, f"cat/{name}-{number}.jpg", unique(kind)))
        host.expected += len(KINDS)
    figures.files += len(hosts) * len(KINDS)
    for host in hosts:
        wait_until(lambda h=host: len(h.site.decisions()) >= h.expected, f"decisions of {host.name}")


def _wait_for_failure(hosts: list[Host]) -> None:
    for host in hosts:
        before = len(host.site.events("not forwarded; what is recorded meanwhile waits in the log"))
        wait_until(
            lambda h=host: _forwarding(h)["last_error"], f"{host.name} notices that the database is away ({before})", 20
        )


def _forwarding(host: Host) -> dict:
    from imageguard_daemon.daemon.forwarder import read

    return read(host.site.root / ".imageguard") or {"last_error": "", "records_behind": -1, "state": ""}


def _put_back(launcher: Launcher, hosts: list[Host], url: str, figures: Figures) -> None:
    """Put a host's log back from a backup that lacks its last decisions, with everything they were about."""
    host = next(one for one in hosts if one.name == RESTORED)
    host.daemon.stop()
    backup = host.site.home / "backup.db"
    shutil.copy(host.site.database, backup)
    host.daemon = launcher.start_and_wait(host.site, faults=["movable_clock"])
    _arrivals([host], "lost", figures)
    host.daemon.stop()
    wait_until(lambda: _reaches(host, url), f"{host.name} is there before it is put back")
    lost = host.site.home / "lost.db"
    for one in (host.site.database, f"{host.site.database}-wal", f"{host.site.database}-shm"):
        Path(one).replace(lost) if one == host.site.database else Path(one).unlink(missing_ok=True)
    shutil.copy(backup, host.site.database)
    for folder in (host.site.accepted, host.site.quarantine):
        for path in folder.rglob("*lost*"):
            path.unlink()
    accepting = launcher.start(host.site, arguments=["audit", "accept", "--config", str(host.site.config_file)])
    if accepting.wait() != 0:
        figures.note(f"the older log was not accepted: {host.site.last_words()}")
    host.sent = host.sent[: -len(KINDS)]
    host.expected -= len(KINDS)
    host.daemon = launcher.start_and_wait(host.site, faults=["movable_clock"])
    _arrivals([host], "after", figures)
    figures.counts["host put back"] += 1


def _reaches(host: Host, url: str) -> bool:
    """Tell whether the last link of a log is in the database."""
    connection = sqlite3.connect(host.site.database)
    try:
        sequence, digest = connection.execute("SELECT sequence, hash FROM chain ORDER BY 1 DESC LIMIT 1").fetchone()
    finally:
        connection.close()
    with psycopg.connect(url) as there:
        query = "SELECT 1 FROM chain WHERE sequence = %s AND hash = %s"
        return there.execute(query, (sequence, digest)).fetchone() is not None


def _settle(hosts: list[Host], url: str, figures: Figures) -> None:
    for host in hosts:
        if host.daemon.stop() != 0:
            figures.note(f"{host.name} did not stop well: {host.site.last_words()}")
        try:
            wait_until(lambda h=host: _reaches(h, url), f"{host.name} is there as a whole")
        except AssertionError as error:
            figures.note(f"{error}: {_forwarding(host)}")


def _compare(hosts: list[Host], url: str, figures: Figures, put_back: str | None = RESTORED) -> None:
    numbers = {
        name: number for number, name, parent in asked(url, "SELECT number, host, parent FROM logs") if not parent
    }
    for host in hosts:
        figures.judge(host.name, host.site, host.sent)
        database = host.site.home / "lost.db" if host.name == put_back else host.site.database
        for difference in differences(database, url, numbers[host.name]):
            figures.note(f"{host.name}: {difference}")
    figures.counts["records"] = asked(url, "SELECT count(*) FROM chain")[0][0]
    decided = sum(host.expected for host in hosts) + len(KINDS) * (put_back is not None)
    there = asked(url, "SELECT (SELECT count(*) FROM decisions), (SELECT count(*) FROM rollup_images)")
    if there != [(decided, decided)]:
        figures.note(f"{decided} decisions were made, there are {there}")
    branches = asked(url, "SELECT host, count(*) FROM logs GROUP BY 1 ORDER BY 1")
    if branches != sorted((host.name, 1 + (host.name == put_back)) for host in hosts):
        figures.note(f"logs: {branches}")
    years = asked(url, "SELECT host, min(left(decided_at, 4)) FROM decisions GROUP BY 1")
    if len({year for _, year in years}) != len(hosts):
        figures.note(f"the clocks were not apart: {years}")
    if put_back is None:
        return
    after = f"SELECT count(*) FROM decisions WHERE relative_path LIKE '%after%' AND id >> 40 <> {numbers[put_back]}"
    if asked(url, after) != [(len(KINDS),)]:
        figures.note("what came after the backup was put back is not in a branch")
