"""Never blind: whatever happens to the kernel's events, each resting file is decided within two reconciliations."""

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.disks import small_memory
from tests.faults.figures import Figures
from tests.faults.launching import Daemon, Launcher
from tests.faults.oracle import Offered
from tests.faults.site import Site, wait_until
from tests.faults.uploading import put, unique

RESCAN_SECONDS = 2.0
SETTLE_SECONDS = 0.1
GRACE_SECONDS = 1.5
"""For judging and filing, and for a machine that is busy with other things."""
BOUND_SECONDS = 2 * RESCAN_SECONDS + SETTLE_SECONDS + GRACE_SECONDS


def _site(home: Path, **intake) -> Site:
    return Site(home, intake={"settle_seconds": SETTLE_SECONDS, "rescan_seconds": RESCAN_SECONDS} | intake)


def _finish(figures: Figures, daemon: Daemon, site: Site, files: list[Offered]) -> Figures:
    figures.rounds += 1
    figures.files += len(files)
    if daemon.stop() != 0:
        figures.note(f"did not stop well: {site.last_words()}")
    figures.judge(figures.title, site, files)
    return figures


def _expect_decided(figures: Figures, site: Site, what: str, bound: float = BOUND_SECONDS) -> None:
    try:
        seconds = wait_until(lambda: not site.waiting(), what, bound)
    except AssertionError as error:
        figures.note(f"{what}: {error}; {len(site.waiting())} files wait")
    else:
        figures.counts["seconds at most"] = max(figures.counts["seconds at most"], round(seconds))


def _expect_told(figures: Figures, site: Site, words: str) -> None:
    def told() -> list[str]:
        return [event["event"] for event in site.events(level="warning") + site.events(level="error")]

    try:
        wait_until(lambda: any(words in event for event in told()), "it is told", BOUND_SECONDS)
    except AssertionError:
        figures.note(f"the log does not say {words!r}, only {told()}")


@contextmanager
def _short_event_queue(events: int) -> Iterator[None]:
    """Let inotify instances made meanwhile hold so few events; always put back."""
    setting = Path("/proc/sys/fs/inotify/max_queued_events")
    before = setting.read_text()
    try:
        setting.write_text(str(events))
        yield
    finally:
        setting.write_text(before)


def queue_overflow(launcher: Launcher, home: Path, files: int) -> Figures:
    """Drop a burst of files on a daemon that is stopped and whose event queue holds 64."""
    interval = max(RESCAN_SECONDS, files / 80)  # judging takes its time too
    site = _site(home, rescan_seconds=interval)
    figures = Figures("event queue of 64 overflows")
    for number in range(4):
        (site.inbox / f"class{number}").mkdir()  # in a new folder nothing would be watched, and nothing overflow
    with _short_event_queue(64):
        daemon = launcher.start_and_wait(site)
        sent = [put(site.inbox, "class0/before.png", unique("tiny"))]
        wait_until(site.decisions, "the daemon watches and works")
    daemon.send(signal.SIGSTOP)
    sent += [put(site.inbox, f"class{number % 4}/{number}.png", unique("tiny")) for number in range(files)]
    daemon.send(signal.SIGCONT)
    _expect_decided(figures, site, "the burst is decided", 2 * interval + SETTLE_SECONDS + GRACE_SECONDS)
    _expect_told(figures, site, "events were lost")
    return _finish(figures, daemon, site, sent)


def watch_limit(launcher: Launcher, home: Path) -> Figures:
    """Allow 20 watches and use 30 folders."""
    site = _site(home)
    figures = Figures("20 inotify watches for 30 folders")
    daemon = launcher.start_and_wait(site, faults=["few_watches"])
    sent = [put(site.inbox, f"class{number}/{number}.png", unique("tiny")) for number in range(30)]
    _expect_decided(figures, site, "files in unwatched folders are decided")
    _expect_told(figures, site, "not all folders are watched")
    return _finish(figures, daemon, site, sent)


def dead_thread(launcher: Launcher, home: Path) -> Figures:
    """Let watchdog's reading thread die; the canary is what notices."""
    site = _site(home, canary_seconds=1.0)
    figures = Figures("the inotify thread dies")
    daemon = launcher.start_and_wait(site, faults=["mortal_inotify_thread"])
    sent = [put(site.inbox, "cat/0.png", unique("tiny"))]
    wait_until(site.decisions, "the daemon watches and works")
    (site.inbox / ".poison").touch()
    wait_until(lambda: "the inotify thread dies" in site.log_file.read_text(), "the thread dies")
    sent.append(put(site.inbox, "cat/1.png", unique("tiny")))
    _expect_decided(figures, site, "a file after the thread's death is decided")
    wait_until(lambda: site.events("kernel events stopped arriving; watching and walking again"), "it is told")
    return _finish(figures, daemon, site, sent)


def _recreated(site: Site, act: Callable[[], None]) -> None:
    shutil.rmtree(site.inbox)
    act()
    site.inbox.mkdir()


def _renamed(site: Site, act: Callable[[], None]) -> None:
    site.inbox.rename(site.root / "inbox.old")
    act()
    site.inbox.mkdir()


def _replaced_at_once(site: Site, _act: Callable[[], None]) -> None:
    site.inbox.rename(site.root / "inbox.old")
    site.inbox.mkdir()


ROOT_CHANGES = {"deleted and recreated": _recreated, "renamed": _renamed, "replaced at once": _replaced_at_once}


def root_changes(launcher: Launcher, home: Path, how: str) -> Figures:
    """Change the inbox folder itself under the daemon, then let files arrive in the new one."""
    site = _site(home)
    figures = Figures(f"the inbox is {how}")
    daemon = launcher.start_and_wait(site)
    sent = [put(site.inbox, "cat/before.png", unique("tiny"))]
    _expect_decided(figures, site, "a file before is decided")
    ROOT_CHANGES[how](site, lambda: wait_until(lambda: _told_gone(site), "the loss is told", BOUND_SECONDS))
    sent += [put(site.inbox, f"cat/{number}.png", unique("tiny")) for number in range(3)]
    _expect_decided(figures, site, "files in the new inbox are decided")
    _expect_told(figures, site, "the inbox is")
    return _finish(figures, daemon, site, sent)


def _told_gone(site: Site) -> bool:
    return bool(site.events("the inbox is gone; waiting for it to come back"))


def mounted_over(launcher: Launcher, home: Path) -> Figures:
    """Mount another file system over the inbox, and take it away again."""
    site = _site(home)
    figures = Figures("the inbox is mounted over")
    daemon = launcher.start_and_wait(site)
    with small_memory(site.inbox, "size=4m"):
        sent = [put(site.inbox, "cat/over.png", unique("tiny"))]
        _expect_decided(figures, site, "a file in the mount is decided")
    sent.append(put(site.inbox, "cat/under.png", unique("tiny")))
    _expect_decided(figures, site, "a file below the mount is decided")
    _expect_told(figures, site, "the inbox is a new folder")
    return _finish(figures, daemon, site, sent)


def unshare_works() -> bool:
    """Tell whether this user may have a user namespace."""
    return subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True).returncode == 0
