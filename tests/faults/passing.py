"""Faults that pass: nothing of them ends in quarantine, and work goes on by itself when their cause ends."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from tests.faults import tracing
from tests.faults.disks import bind, bound, remount, small_memory, unbind
from tests.faults.figures import Figures
from tests.faults.launching import Daemon, Launcher
from tests.faults.site import Site, wait_until
from tests.faults.uploading import put, unique

RESUME_SECONDS = 60.0


@contextmanager
def no_blocks(site: Site, _daemon: Daemon) -> Iterator[None]:
    """Fill the disk of the destinations."""
    ballast = site.accepted.parent / "ballast"
    with ballast.open("wb", buffering=0) as file:
        _write_until_full(file.write)
    yield
    ballast.unlink()


def _write_until_full(write: Callable[[bytes], int | None]) -> None:
    for size in (1 << 16, 1 << 10, 1):
        try:
            while True:
                write(b"x" * size)
        except OSError:
            continue


@contextmanager
def no_inodes(site: Site, _daemon: Daemon) -> Iterator[None]:
    """Use up all names that the disk of the destinations can hold."""
    ballast = site.accepted.parent / "names"
    ballast.mkdir()
    try:
        for number in range(1000):
            (ballast / str(number)).touch()
    except OSError:
        pass
    yield
    for path in ballast.iterdir():
        path.unlink()


@contextmanager
def read_only(site: Site, _daemon: Daemon) -> Iterator[None]:
    """Remount the disk of the destinations read-only."""
    remount(site.accepted.parent, "ro")
    yield
    remount(site.accepted.parent, "rw")


@contextmanager
def lost_mount(site: Site, _daemon: Daemon) -> Iterator[None]:
    """Take the disk of the destinations away; an empty mount point is left, which is no place for images."""
    mount_point = site.accepted.parent
    unbind(mount_point)
    yield
    bind(site.home / "backing", mount_point)


@contextmanager
def no_permission(site: Site, _daemon: Daemon) -> Iterator[None]:
    """Forbid writing to the accepted folder."""
    for folder in (site.accepted, site.accepted / "cat"):
        folder.chmod(0o500)
    yield
    for folder in (site.accepted, site.accepted / "cat"):
        folder.chmod(0o700)


@contextmanager
def locked_log(site: Site, _daemon: Daemon) -> Iterator[None]:
    """Hold the database as an endless transaction of somebody else does."""
    blocker = sqlite3.connect(site.database, isolation_level=None, timeout=60)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()


@contextmanager
def input_output_errors(_site: Site, daemon: Daemon) -> Iterator[None]:
    """Let every rename and every link fail with EIO."""
    calls = "renameat2,linkat"
    tracer = tracing.trace(daemon, "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO")
    try:
        yield
    finally:
        tracing.detach(tracer)


@contextmanager
def killed_workers(_site: Site, daemon: Daemon) -> Iterator[None]:
    """Stop the workers, give them work, and kill them."""
    workers = daemon.members()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    yield
    for worker in workers:
        os.kill(worker, signal.SIGKILL)


CAUSES: dict[str, Callable[[Site, Daemon], AbstractContextManager[None]]] = {
    "no space: blocks": no_blocks,
    "no space: inodes": no_inodes,
    "read-only destination": read_only,
    "lost mount of the destinations": lost_mount,
    "no permission": no_permission,
    "locked audit database": locked_log,
    "EIO from every rename": input_output_errors,
    "killed workers": killed_workers,
}
DISKS: dict[str, Callable[[Path], AbstractContextManager[Path]]] = {
    "no space: blocks": lambda home: small_memory(home / "disk", "size=256k"),
    "no space: inodes": lambda home: small_memory(home / "disk", "size=4m,nr_inodes=40"),
    "read-only destination": lambda home: small_memory(home / "disk", "size=4m"),
    "lost mount of the destinations": lambda home: bound(home / "backing", home / "disk"),
}
"""Causes that need a disk of their own for the destinations, and root to mount it."""
QUIET = {"killed workers"}
"""Causes that are over before anybody could be told of a pause."""


def pass_by(launcher: Launcher, home: Path, cause: str) -> Figures:
    """Bring a cause about, let good images arrive, end the cause, and see them filed as good images."""
    figures = Figures(f"passing fault: {cause}", rounds=1)
    with DISKS.get(cause, lambda _home: nullcontext(None))(home) as destinations:
        return _pass_by(launcher, Site(home, destinations=destinations), cause, figures)


def _pass_by(launcher: Launcher, site: Site, cause: str, figures: Figures) -> Figures:
    daemon = launcher.start_and_wait(site, faults=["bound_by_permissions"] if os.geteuid() == 0 else [])
    sent = [put(site.inbox, "cat/before.jpg", unique("good"))]
    wait_until(site.decisions, "the first file is filed")
    with CAUSES[cause](site, daemon):
        sent += [put(site.inbox, f"cat/{number}.jpg", unique("good")) for number in range(3)]
        if cause not in QUIET:
            wait_until(lambda: _told(site), f"the log tells of {cause}")
        if len(site.decisions()) > 1:
            figures.note("filed in spite of the fault")
    try:
        seconds = wait_until(lambda: len(site.decisions()) == 4, f"work goes on after {cause}", RESUME_SECONDS)
        figures.counts["seconds until all was filed"] = round(seconds)
    except AssertionError as error:
        figures.note(f"{error}; {site.last_words()}")
    if daemon.stop() != 0:
        figures.note(f"did not stop well: {site.last_words()}")
    figures.files = len(sent)
    figures.judge(cause, site, sent)
    for name, verdict, reason in site.decisions():
        if verdict != "accepted":
            figures.note(f"{name} is a good image, but was {verdict}: {reason}")
    return figures


def _told(site: Site) -> bool:
    return bool(site.events("source paused") or site.events("left in the inbox"))


def failed_fsync(launcher: Launcher, home: Path) -> Figures:
    """Fail one fsync of the daemon with EIO: it must stop taking files, loudly, and a later start goes on."""
    figures = Figures("a failed fsync stops the daemon", rounds=1)
    site = Site(home)
    daemon = launcher.start_and_wait(site)
    sent = [put(site.inbox, "cat/before.jpg", unique("good"))]
    wait_until(site.decisions, "the first file is filed")
    tracer = tracing.trace(daemon, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO:when=1")
    sent.append(put(site.inbox, "cat/after.jpg", unique("good")))
    code = daemon.wait(60)
    tracer.wait(60)
    if code != os.EX_IOERR:
        figures.note(f"ended with {code} instead of {os.EX_IOERR}: {site.last_words()}")
    if "nothing more is moved" not in site.last_words():
        figures.note(f"the log does not say so: {site.last_words()}")
    launcher.recover(site)
    figures.files = len(sent)
    figures.judge("after the restart", site, sent)
    return figures


def doubtful_rename(launcher: Launcher, home: Path) -> Figures:
    """Let a rename answer EIO although it took place: what became of the file is for the next start to find out."""
    figures = Figures("a rename that happened answers EIO", rounds=1)
    site = Site(home)
    daemon = launcher.start_and_wait(site, faults=["rename_fails_after_it_happened"])
    sent = [put(site.inbox, "cat/before.jpg", unique("good"))]
    wait_until(site.decisions, "the first file is filed")
    sent.append(put(site.inbox, "cat/doubtful.jpg", unique("good")))
    wait_until(lambda: not site.waiting(), "the second file has moved")
    wait_until(lambda: not daemon.running or site.events("source paused"), "it is told")
    daemon.stop()
    launcher.recover(site)
    figures.files = len(sent)
    figures.judge("after the restart", site, sent)
    return figures
