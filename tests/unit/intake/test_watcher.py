"""Events as hints, from real inotify where it counts."""

import errno
import logging
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from watchdog.events import FileSystemEventHandler
from watchdog.observers.inotify import InotifyEmitter, InotifyObserver

from imageguard_daemon.core.file_systems import Reach
from imageguard_daemon.intake import watcher as watcher_module
from imageguard_daemon.intake.watcher import (
    CANARY_NAME,
    CANARY_PATIENCE_SECONDS,
    InboxWatcher,
    PendingPaths,
)

NOW = 1000.0


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Poll until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def hints() -> PendingPaths:
    """Hints that wake nobody."""
    return PendingPaths(lambda: None)


@pytest.fixture
def watcher(tmp_path: Path, hints: PendingPaths, monkeypatch: pytest.MonkeyPatch) -> Iterator[InboxWatcher]:
    """A started watcher of the temporary folder, which watches however busy the machine is."""
    monkeypatch.setattr("imageguard_daemon.intake.watcher.START_SECONDS", 30.0)
    watcher = InboxWatcher(str(tmp_path), hints, canary_seconds=30.0)
    watcher.start()
    yield watcher
    watcher.stop()


def hinted(hints: PendingPaths, path: Path) -> None:
    """Wait for a hint at a path."""
    seen: set[str] = set()

    def arrived() -> bool:
        seen.update(hints.drain()[0])
        return str(path) in seen

    wait_until(arrived)


def test_hints_keep_order_and_name_each_path_once(hints: PendingPaths) -> None:
    """Many events about one file are one hint, and hints are handed out once."""
    for path in ("b", "a", "b"):
        hints.add(path)
    assert hints.drain() == (["b", "a"], False)
    assert hints.drain() == ([], False)


def test_hints_beyond_the_limit_are_lost_and_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded; that something was lost is told once, and every loss wakes the loop."""
    monkeypatch.setattr(watcher_module, "MAX_PENDING_PATHS", 2)
    woken: list[None] = []
    hints = PendingPaths(lambda: woken.append(None))
    for path in ("a", "b", "c"):
        hints.add(path)
    assert hints.drain() == (["a", "b"], True)
    hints.lose()
    assert hints.drain() == ([], True)
    assert hints.drain() == ([], False)
    assert len(woken) == 4


@pytest.mark.parametrize("name", ["1.jpg", os.fsdecode(b"caf\xe9\n.jpg")])
def test_written_renamed_and_linked_files_are_hinted_at(
    tmp_path: Path, watcher: InboxWatcher, hints: PendingPaths, name: str
) -> None:
    """A file that is written, renamed from a temporary name, or linked into place has a hint at its final name."""
    assert watcher.alive
    (tmp_path / name).write_bytes(b"content")
    hinted(hints, tmp_path / name)
    (tmp_path / name).rename(tmp_path / f"renamed {name}")
    hinted(hints, tmp_path / f"renamed {name}")
    os.link(tmp_path / f"renamed {name}", tmp_path / f"linked {name}")
    hinted(hints, tmp_path / f"linked {name}")


def test_a_folder_moved_in_is_hinted_at(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, watcher: InboxWatcher, hints: PendingPaths
) -> None:
    """A folder that arrives whole gives at least a hint at itself, from which its files are found."""
    outside = tmp_path_factory.mktemp("outside") / "cat"
    outside.mkdir()
    (outside / "1.jpg").touch()
    outside.rename(tmp_path / "cat")
    hinted(hints, tmp_path / "cat")


def test_an_answered_canary_changes_nothing(tmp_path: Path, watcher: InboxWatcher, hints: PendingPaths) -> None:
    """While events arrive nothing is reported as lost, the canary is no hint, and no file of it stays."""
    watcher.step(NOW)
    assert watcher.next_step() == NOW + CANARY_PATIENCE_SECONDS
    wait_until(watcher._canary_seen.is_set)
    watcher.step(NOW + CANARY_PATIENCE_SECONDS)
    assert watcher.next_step() == NOW + 30
    assert hints.drain() == ([], False)
    assert not (tmp_path / CANARY_NAME).exists()


def test_a_missed_canary_starts_watching_anew(tmp_path: Path, watcher: InboxWatcher, hints: PendingPaths) -> None:
    """When events silently stop, that is noticed within the canary's patience, and events come again."""
    assert watcher._observer
    watcher._observer.unschedule_all()
    watcher.step(NOW)
    watcher.step(NOW + CANARY_PATIENCE_SECONDS - 0.1)
    assert hints.drain() == ([], False)
    watcher.step(NOW + CANARY_PATIENCE_SECONDS)
    assert hints.drain() == ([], True)
    (tmp_path / "1.jpg").touch()
    hinted(hints, tmp_path / "1.jpg")


@pytest.mark.parametrize("trap", ["pipe", "link", "folder"])
def test_a_trap_under_the_canarys_name_stops_nothing(
    tmp_path: Path, watcher: InboxWatcher, hints: PendingPaths, trap: str
) -> None:
    """Whatever a sender puts under the canary's name, the daemon neither hangs nor writes elsewhere."""
    canary, elsewhere = tmp_path / CANARY_NAME, tmp_path / "elsewhere"
    {"pipe": os.mkfifo, "link": lambda path: path.symlink_to(elsewhere), "folder": os.mkdir}[trap](canary)
    watcher.step(NOW)
    assert watcher.next_step() == NOW + 30
    assert not elsewhere.exists()


def test_a_refusal_of_the_kernel_leaves_nothing_behind(tmp_path: Path, hints: PendingPaths) -> None:
    """An inbox that cannot be watched is tried again at the canary's time, without piling up threads."""
    watcher = InboxWatcher(str(tmp_path / "inbox"), hints, canary_seconds=30.0)
    watcher.start()
    assert not watcher.alive
    watcher.step(NOW)
    assert hints.drain() == ([], True)  # whoever walks has to walk meanwhile
    (tmp_path / "inbox").mkdir()
    watcher.step(NOW + 30)
    assert watcher.alive
    watcher.stop()


def test_running_out_of_inotify_instances_is_survived(
    tmp_path: Path, hints: PendingPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the kernel grants no instance at all, the inbox is still served by walks."""

    def no_instance() -> None:
        raise OSError(errno.EMFILE, "inotify instance limit reached")

    monkeypatch.setattr(watcher_module, "InotifyObserver", no_instance)
    watcher = InboxWatcher(str(tmp_path), hints, canary_seconds=30.0)
    watcher.start()
    assert not watcher.alive


@pytest.mark.parametrize("level", [logging.INFO, logging.ERROR])
def test_an_overflow_of_the_kernels_queue_is_heard(
    watcher: InboxWatcher, hints: PendingPaths, caplog: pytest.LogCaptureFixture, level: int
) -> None:
    """The warning of watchdog that events were lost is heard at whatever level our own log is set to."""
    caplog.set_level(level)
    logging.getLogger("watchdog.observers.inotify_c").warning("Inotify queue overflowed")
    assert hints.drain() == ([], True)


def test_after_stop_nothing_is_heard(tmp_path: Path, watcher: InboxWatcher, hints: PendingPaths) -> None:
    """A stopped watcher gives no hints; stopping twice is stopping once."""
    watcher.stop()
    watcher.stop()
    (tmp_path / "1.jpg").touch()
    logging.getLogger("watchdog.observers.inotify_c").warning("of another observer")
    assert hints.drain() == ([], False)


def test_folders_beyond_the_kernels_limit_are_told_of_once(
    tmp_path: Path, hints: PendingPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """When a walk finds more folders than are watched that is said once, and again only after it was mended.

    Those that are watched in another inbox do not count.
    """
    other = tmp_path_factory.mktemp("other")
    for folder in (tmp_path / "cat", other / "cat", other / "dog"):
        folder.mkdir()
    watcher, of_other = (InboxWatcher(str(folder), hints, canary_seconds=30.0) for folder in (tmp_path, other))
    for one in (watcher, of_other):
        one.start()
    with capture_logs() as told:
        watcher.compare_with_walk(2, Reach.local)
        assert told == []
        for folders in (3, 3, 2, 3):
            watcher.compare_with_walk(folders, Reach.local)
    for one in (watcher, of_other):
        one.stop()
    assert [(line["watched"], line["folders"]) for line in told] == [(2, 3)] * 2


@pytest.mark.parametrize("reach", [Reach.network, Reach.relayed])
def test_folders_made_behind_a_mount_are_no_reason_to_warn(tmp_path: Path, watcher: InboxWatcher, reach: Reach) -> None:
    """No event tells of what others make on a server: it is said that the walk finds it, and no limit is blamed."""
    with capture_logs() as told:
        watcher.compare_with_walk(9_999_999, reach)
    assert [(line["log_level"], "sysctl" in line["remedy"]) for line in told] == [("info", False)]


@pytest.mark.skipif(
    not os.access("/proc/sys/fs/inotify/max_user_watches", os.W_OK), reason="setting a limit needs root"
)
def test_a_real_watch_limit_is_noticed(
    tmp_path: Path, hints: PendingPaths, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """With room for two more watches and forty folders the watcher lives on, and says what is not watched."""
    for number in range(40):
        (tmp_path / str(number)).mkdir()
    limit = Path("/proc/sys/fs/inotify/max_user_watches")
    before = limit.read_text()
    watcher = InboxWatcher(str(tmp_path), hints, canary_seconds=30.0)
    limit.write_text("12")
    try:
        watcher.start()
        watcher.compare_with_walk(41, Reach.local)
    finally:
        limit.write_text(before)
        watcher.stop()
    said = capsys.readouterr().out + caplog.text  # whichever way an earlier test has set up logging
    assert "not all folders are watched" in said or "no kernel events" in said


def test_a_warning_of_watchdog_does_not_name_all_folders(tmp_path: Path) -> None:
    """For each folder that is closed, or renamed at a bad moment, it told of every other one: gigabytes of log."""
    for number in range(50):
        (tmp_path / f"class-{number}").mkdir()
    observer = InotifyObserver()
    observer.schedule(FileSystemEventHandler(), str(tmp_path), recursive=True)
    observer.start()
    [emitter] = observer.emitters
    assert isinstance(emitter, InotifyEmitter)
    told, kind = repr(emitter._inotify), type(emitter._inotify).__name__
    observer.stop()
    observer.join()
    assert kind in told
    assert "class-" not in told


class SlowObserver(InotifyObserver):
    """Goes through its tree, or ends, only when it is let."""

    let_start, let_stop = threading.Event(), threading.Event()

    def start(self) -> None:
        self.let_start.wait()
        super().start()

    def stop(self) -> None:
        self.let_stop.wait()
        super().stop()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[SlowObserver]]:
    """Watching that begins slowly; its end is let, unless a test says otherwise."""
    monkeypatch.setattr(watcher_module, "InotifyObserver", SlowObserver)
    monkeypatch.setattr(watcher_module, "START_SECONDS", 0.01)
    monkeypatch.setattr(watcher_module, "STOP_SECONDS", 0.01)
    SlowObserver.let_start.clear()
    SlowObserver.let_stop.set()
    before = set(threading.enumerate())
    yield SlowObserver
    SlowObserver.let_start.set()
    SlowObserver.let_stop.set()
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_a_tree_that_takes_long_to_watch_holds_up_nobody(
    tmp_path: Path, hints: PendingPaths, slow: type[SlowObserver]
) -> None:
    """Folders by the thousand on a slow disk: the loop goes on, and when all are watched it is told to walk once."""
    watcher = InboxWatcher(str(tmp_path), hints, canary_seconds=30.0)
    watcher.start()
    assert not watcher.alive
    assert not watcher.step(NOW)
    assert watcher.next_step() == math.inf
    assert watcher.canary_seen_at is None
    slow.let_start.set()
    wait_until(lambda: watcher.step(NOW + 100))
    assert watcher.alive
    assert not watcher.step(NOW + 100)
    (tmp_path / "1.jpg").touch()
    hinted(hints, tmp_path / "1.jpg")
    watcher.stop()


def test_watching_that_is_given_up_before_it_has_begun_ends_by_itself(
    tmp_path: Path, hints: PendingPaths, slow: type[SlowObserver]
) -> None:
    """An inbox that is replaced meanwhile, or a daemon that is stopped, waits for no end of a walk."""
    watcher = InboxWatcher(str(tmp_path), hints, canary_seconds=30.0)
    watcher.start()
    watcher.stop()
    slow.let_start.set()
    assert not watcher.alive


def test_watching_that_does_not_end_does_not_hold_up_the_end(
    tmp_path: Path, hints: PendingPaths, slow: type[SlowObserver]
) -> None:
    """What is stuck in a call to a dead mount is waited for a while, then left behind."""
    slow.let_start.set()
    watcher = InboxWatcher(str(tmp_path), hints, canary_seconds=30.0)
    watcher.start()
    wait_until(lambda: watcher.alive or watcher.step(NOW))
    slow.let_stop.clear()
    with capture_logs() as told:
        watcher.stop()
    assert not watcher.alive
    assert [line["event"] for line in told] == ["the watching thread does not end; it is left behind"]


def test_a_canary_goes_with_the_folder_that_it_was_put_into(tmp_path: Path, monkeypatch) -> None:
    """Something mounted over the inbox, or put in its place, in the very moment keeps none from being removed."""
    inbox, other = tmp_path / "inbox", tmp_path / "other"
    inbox.mkdir()
    real = os.close

    def replace_inbox(descriptor: int) -> None:
        real(descriptor)
        if not other.exists():
            inbox.rename(other)
            inbox.mkdir()

    monkeypatch.setattr(os, "close", replace_inbox)
    watcher_module._make_and_remove(str(inbox))
    assert list(other.iterdir()) == list(inbox.iterdir()) == []
