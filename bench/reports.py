"""How long reports take on a log of ten million decisions, and whether ingest feels them.

    python -m bench.big_log fill BIG; python -m bench.big_log index BIG; python -m bench.big_log upgrade BIG
    python -m bench.reports BIG [--repeat 3]
    python -m bench.reports BIG --stalls 20

Each report is the real command in a process of its own, timed with its start-up; memory is the most it
had resident. On a machine that others use as well, the processor's time says more than the clock.

`--stalls` records images with the daemon's writer for so many seconds without, then with reports over the whole log
made one after the other, and gives how long a group of 16 took to be recorded.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.big_log import database_in
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import (
    SCORE_NAMES,
    Candidate,
    Decision,
    FileIdentity,
    Intent,
    JudgedFile,
    Measurement,
    Outcome,
)

MONTH = ("--since", "2025-12-02", "--until", "2025-12-31")
GROUPINGS = ("class", "reason", "source", "camera", "host", "preset", "hour", "day", "week", "class,reason")
CROSSED = ("source,camera", "class,camera", "source,day", "class,week", "source,hour")
_ROOT = Path("/srv/ingest")
_GROUP = 16


def reports() -> list[tuple[str, tuple[str, ...]]]:
    """Give a name and arguments for each command that is timed."""
    timed = []
    for period, arguments in (("30 days", MONTH), ("year", ())):
        timed += [(f"report --by {by}, {period}", ("report", "--by", by, *arguments)) for by in (*GROUPINGS, *CROSSED)]
        timed.append((f"report --format html, {period}", ("report", "-f", "html", *arguments)))
        timed.append((f"report --class lynx, {period}", ("report", "--by", "day", "--class", "lynx", *arguments)))
        simulated = ("simulate", "--set", "blur_score=60", "--set", "noise_score=45", *arguments)
        timed.append((f"simulate two thresholds, {period}", simulated))
        timed.append((f"simulate another preset, {period}", ("simulate", "--preset", "fine_grained", *arguments)))
    return timed


def measured(database: Path, arguments: Sequence[str]) -> tuple[float, float, float]:
    """Give the seconds a command took, those the processor worked for it, and the most memory it had, in MB."""
    command = [sys.executable, "-m", "imageguard_daemon", *arguments, "--db", str(database)]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output)  # noqa: S603 - our own command
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def time_reports(database: Path, repeat: int, period: str) -> None:
    """Print a table: the median of some runs, after one that is not counted."""
    nothing = ("a report on nothing: start-up alone", ("report", "--since", "2030-01-01"))
    measured(database, nothing[1])
    print(f"{'command':44} {'took':>8} {'processor':>9} {'memory':>9}")
    for name, arguments in (nothing, *(one for one in reports() if one[0].endswith(period))):
        took, worked, megabytes = np.median([measured(database, arguments) for _ in range(repeat)], axis=0)
        print(f"{name:44} {took:6.2f} s {worked:7.2f} s {megabytes:6.0f} MB", flush=True)


def measure_stalls(database: Path, seconds: float) -> None:
    """Print how long groups take to be recorded, without and with reports running."""
    writer = AuditWriter(database, _ROOT)
    try:
        _told("without a report", _record(writer, seconds))
        beside = _Reports(database)
        beside.start()
        taken = _record(writer, seconds)
        beside.stop.set()
        beside.join()
        _told(f"while {beside.made} reports were made", taken)
    finally:
        writer.close()


def _told(what: str, taken: Sequence[float]) -> None:
    middle, most = np.percentile(taken, [50, 99])
    groups = f"{len(taken)} groups of {_GROUP}"
    print(f"{what}: {groups}, median {middle:.1f} ms, 99 % {most:.1f} ms, worst {max(taken):.1f} ms")


class _Reports(threading.Thread):
    """Makes one report after the other until it is told to stop."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database
        self.stop = threading.Event()
        self.made = 0

    def run(self) -> None:
        """Make reports, each in a process of its own."""
        while not self.stop.is_set():
            measured(self._database, ("report", "--by", "class"))
            self.made += 1


def _record(writer: AuditWriter, seconds: float) -> list[float]:
    taken, until, number = [], time.perf_counter() + seconds, time.time_ns()
    while time.perf_counter() < until:
        started = time.perf_counter()
        recorded = writer.record_intents([_judged(number + place) for place in range(_GROUP)])
        writer.record_outcomes([Outcome(image.intent_id, "moved") for image, *_ in recorded])
        taken.append((time.perf_counter() - started) * 1000)
        number += _GROUP
    return taken


def _judged(number: int) -> JudgedFile:
    name, sha256 = f"cat/{number}.jpg", f"{number:064x}"
    decision = Decision(0.9, (), dict.fromkeys(SCORE_NAMES, 80.0), {}, "general", {}, "bench")
    place = str(_ROOT / "accepted" / name)
    intent = Intent("image", str(_ROOT / "inbox" / name), place, sha256, FileIdentity(1, number % 2**40, 1000, 1, 1))
    return JudgedFile(Candidate("studio", name), "cat", Measurement(sha256, issue="corrupt"), decision, (intent,))


def main() -> None:
    """Time reports, or the writer beside them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--period", choices=("", "30 days", "year"), default="", help="only the reports on this period")
    parser.add_argument("--stalls", type=float, metavar="SECONDS")
    asked = parser.parse_args()
    if asked.stalls:
        measure_stalls(database_in(asked.folder), asked.stalls)
    else:
        time_reports(database_in(asked.folder), asked.repeat, asked.period)


if __name__ == "__main__":
    main()
