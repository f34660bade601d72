"""SIGKILL: at each system call of one filing, and at random moments under load."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import tracing
from tests.faults.figures import Figures
from tests.faults.launching import Launcher
from tests.faults.oracle import Offered
from tests.faults.site import Site
from tests.faults.uploading import put, unique

EFFECTS = (
    *("renameat2", "rename", "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "openat", "close", "fcntl"),
    *("fsync", "fdatasync", "pwrite64", "write", "ftruncate", "fchown", "fchmod", "utimensat", "fsetxattr"),
)
"""System calls that change something; a kill at a call that only looks is one at the next that changes."""

Points = Callable[[list[tuple[str, int]]], list[tuple[str, int]]]


def some(count: int) -> Points:
    """Take so many points at random."""
    return lambda points: random.sample(points, min(count, len(points)))


def where(elsewhere: Path | None, accounts: int) -> str:
    """Say for a title on how many devices, and under how many accounts."""
    return f"{'across devices' if elsewhere else 'one device'}{', two accounts' if accounts > 1 else ''}"


def kill_at_system_calls(
    launcher: Launcher, home: Path, elsewhere: Path | None, points: Points | None, accounts: int = 1
) -> Figures:
    """Kill a daemon at the chosen system calls of filing three files; `elsewhere` has the destinations, if anything."""
    site = Site(home, destinations=elsewhere, accounts=accounts, intake={"sidecars": True})
    figures = Figures(f"SIGKILL at system calls, {where(elsewhere, accounts)}")
    everything = _calls_of_one_filing(launcher, site)
    figures.counts["system calls of one filing"] = len(everything)
    for call, number in points(everything) if points else everything:
        _kill_once(launcher, site, figures, call, number)
    return figures


def _calls_of_one_filing(launcher: Launcher, site: Site) -> list[tuple[str, int]]:
    _offer_three(site)
    daemon = launcher.start(site, once=True, held=True)
    output = site.home / "trace"
    tracer = tracing.trace_from_start(daemon, "-e", f"trace={','.join(EFFECTS)}", output=output)
    assert daemon.wait() == 0, site.last_words()
    tracer.wait(60)
    counts = tracing.count_calls(output)
    return [(call, number) for call in EFFECTS for number in range(1, counts[call] + 1)]


def _offer_three(site: Site) -> list[Offered]:
    site.clear()
    files = {"cat/a.jpg": unique("good"), "cat/b.jpg": unique("blurry"), "cat/a.txt": b"label" + os.urandom(8)}
    return [put(site.inbox, name, data) for name, data in files.items()]


def _kill_once(launcher: Launcher, site: Site, figures: Figures, call: str, number: int) -> None:
    files = _offer_three(site)
    daemon = launcher.start(site, once=True, held=True)
    tracer = tracing.trace_from_start(
        daemon, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"
    )
    code = daemon.wait()
    tracer.wait(60)
    daemon.kill()
    figures.rounds += 1
    figures.files += len(files)
    figures.counts["kills"] += code == -signal.SIGKILL
    recover(launcher, site, files, figures, f"killed at {call} number {number}")


def recover(launcher: Launcher, site: Site, files: list[Offered], figures: Figures, name: str) -> None:
    """Let the next start finish what a kill has left, and ask the oracle."""
    try:
        launcher.recover(site)
    except AssertionError as error:
        figures.note(f"{name}: {error}")
    figures.judge(name, site, files)


def kill_under_load(launcher: Launcher, home: Path, elsewhere: Path | None, rounds: int, accounts: int = 1) -> Figures:
    """Kill a daemon at random moments while two uploaders send files, equal names and labels among them."""
    figures = Figures(f"SIGKILL at random under load, {where(elsewhere, accounts)}")
    intake = {"sidecars": True, "settle_seconds": 0.05, "settle_unknown_seconds": 0.3}
    site = Site(home, destinations=elsewhere, accounts=accounts, intake=intake)
    files: list[Offered] = []
    for number in range(rounds):
        if number % 20 == 0:  # else reading everything again takes longer and longer
            site.clear()
            files = []
        sent = kill_while_uploading(launcher, site)
        files += sent
        figures.rounds += 1
        figures.files += len(sent)
        recover(launcher, site, files, figures, f"kill {number}")
    return figures


def kill_while_uploading(
    launcher: Launcher, site: Site, within_seconds: tuple[float, float] = (0.15, 0.9)
) -> list[Offered]:
    """Start a daemon, kill it at a moment between the two, and give what two uploaders have sent meanwhile."""
    sent: list[list[Offered]] = [[], []]
    enough = threading.Event()
    uploaders = [threading.Thread(target=_upload, args=(site, into, enough)) for into in sent]
    for uploader in uploaders:
        uploader.start()
    daemon = launcher.start(site)
    time.sleep(random.uniform(*within_seconds))
    daemon.kill()
    enough.set()
    for uploader in uploaders:
        uploader.join()
    return [one for into in sent for one in into]


def _upload(site: Site, into: list[Offered], enough: threading.Event) -> None:
    """Send files whose names repeat from round to round, but never replace one that still waits."""
    place = threading.get_ident()
    while not enough.wait(random.uniform(0, 0.03)):
        name = f"class{random.randrange(4)}/{place % 97}-{random.randrange(10)}.jpg"
        path = site.inbox / name
        label = path.with_suffix(".txt")
        if path.exists() or label.exists():
            continue
        if random.random() < 0.3:
            into.append(put(site.inbox, str(Path(name).with_suffix(".txt")), b"label" + os.urandom(8)))
        into.append(put(site.inbox, name, unique(random.choice(["good", "blurry", "tiny", "cut"]))))
