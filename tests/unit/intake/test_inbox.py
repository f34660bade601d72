"""From files on disk to candidates, with the clock in hand and walks alone: no event is needed for any of this."""

import errno
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from imageguard_daemon.config import Intake, Source
from imageguard_daemon.core import file_systems
from imageguard_daemon.core.file_systems import FileSystem, Reach
from imageguard_daemon.core.model import Candidate
from imageguard_daemon.core.regular_files import Answer, Writers, ask
from imageguard_daemon.intake import inbox as inbox_module
from imageguard_daemon.intake import scan
from imageguard_daemon.intake import scan as inbox_scan
from imageguard_daemon.intake.inbox import Inbox
from imageguard_daemon.intake.rules.backlog import Backlog
from imageguard_daemon.intake.rules.selection import COMPANIONS

NOW = 1000.0
SETTLE, RESCAN = 2.0, 60.0
FAR = 1e9


class SilentWatcher:
    """A watcher from which no event ever comes."""

    def __init__(self, inbox: str, hints: object, canary_seconds: float) -> None:
        self.started = 0
        self.watched_folder = inbox

    def start(self) -> None:
        self.started += 1

    def stop(self) -> None:
        pass

    def step(self, now: float) -> None:
        pass

    def next_step(self) -> float:
        return FAR

    def compare_with_walk(self, folders: int, reach: Reach) -> None:
        pass


Opened = Callable[..., Inbox]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The inbox's folder."""
    path = tmp_path / "inbox"
    path.mkdir()
    return path


@pytest.fixture
def opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opened]:
    """Open that inbox with settings of one's own."""
    monkeypatch.setattr(inbox_module, "InboxWatcher", SilentWatcher)
    monkeypatch.setattr(inbox_module, "SECONDS_PER_STEP", math.inf)  # a busy machine must not end a step early

    def open_inbox(**settings: object) -> Inbox:
        intake = Intake(**{"settle_seconds": SETTLE, "rescan_seconds": RESCAN} | settings)  # type: ignore[arg-type]
        backlog = Backlog(intake.backlog_limit, max_attempts=3)
        return Inbox(Source(inbox=folder), intake, backlog, wake=lambda: None)

    return open_inbox


def paths(candidates: list[Candidate]) -> list[str]:
    """Give where candidates are."""
    return sorted(candidate.relative_path for candidate in candidates)


def settled(inbox: Inbox, now: float = NOW) -> list[str]:
    """Look twice, one settle time apart, after a walk."""
    inbox.walk_soon()
    early = inbox.step(now, 100)
    return paths(early + inbox.step(now + SETTLE, 100))


def test_a_file_is_given_once_it_was_still_for_long_enough(folder: Path, opened: Opened) -> None:
    """A file that was here before the daemon is a candidate after the settle time, not before, and only once."""
    (folder / "1.jpg").write_bytes(b"content")
    inbox = opened()
    assert inbox.step(NOW, 10) == []
    assert inbox.next_step(NOW, 10) == NOW + SETTLE
    assert inbox.step(NOW + SETTLE - 0.01, 10) == []
    assert inbox.step(NOW + SETTLE, 10) == [Candidate("default", "1.jpg")]
    assert inbox.step(NOW + SETTLE + 0.1, 10) == []


def test_a_file_that_changes_begins_its_wait_anew(folder: Path, opened: Opened) -> None:
    """A slow upload is not taken while it grows, however long it takes."""
    file = folder / "1.jpg"
    inbox = opened()
    for second in range(5):
        file.write_bytes(b"x" * second)
        assert inbox.step(NOW + SETTLE * second, 10) == []
    assert paths(inbox.step(NOW + SETTLE * 5, 10)) == ["1.jpg"]


def test_a_file_open_for_writing_is_never_taken(folder: Path, opened: Opened) -> None:
    """A writer that pauses longer than the settle time still has its file for itself until it closes it."""
    file = folder / "1.jpg"
    file.touch()
    if ask(str(file)).writers is Writers.unknown:
        pytest.skip("the file system of the temporary folder grants no leases")
    inbox = opened()
    with file.open("ab"):
        for second in range(0, 100, 5):
            assert inbox.step(NOW + second, 10) == []
    assert paths(inbox.step(NOW + 200, 10)) == ["1.jpg"]


@pytest.mark.parametrize("ending", COMPANIONS)
def test_a_download_that_says_it_is_unfinished_waits(folder: Path, opened: Opened, ending: str) -> None:
    """It lies still for hours beside what its program keeps; when that goes it is taken, and others never wait."""
    for name in ("1.jpg", f"1.jpg{ending}", "2.jpg"):
        (folder / name).write_bytes(name.encode())
    inbox = opened()
    backlog = inbox._backlog
    assert settled(inbox) == ["2.jpg"]
    for hour in range(1, 20):
        now = NOW + hour * 3600.0
        assert [candidate.relative_path for candidate in backlog.take_retries(now)] == ["1.jpg"]
        assert settled(inbox, now) == (["2.jpg"])
    (failure,) = backlog.failures
    assert (failure.attempts, failure.error) == (0, f"not complete: 1.jpg{ending} is beside it")
    (folder / f"1.jpg{ending}").unlink()
    list(backlog.take_retries(NOW + 90_000))
    assert settled(inbox, NOW + 90_000) == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize("most_names", [0, 2_000], ids=["large folder", "folder that is listed"])
def test_among_many_files_each_unfinished_download_waits(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, most_names: int
) -> None:
    """Whether their folder is listed or each name is asked for, those wait that have a companion, and no others."""
    monkeypatch.setattr(scan.ListedCompanions, "MOST_NAMES", most_names)
    for number, ending in enumerate(COMPANIONS):
        for name in (f"{number}.jpg", f"{number}.jpg{ending}", f"{number}-whole.jpg", f"\xfc{number}.jpg"):
            (folder / name).touch()
    whole = {name for number in range(len(COMPANIONS)) for name in (f"{number}-whole.jpg", f"\xfc{number}.jpg")}
    inbox = opened()
    assert set(settled(inbox)) == whole
    (folder / "1-whole.jpg.part").touch()
    assert set(settled(inbox, NOW + 100)) == whole - {"1-whole.jpg"}  # the listing was good for one step


def test_for_many_files_a_folder_is_listed_once(folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen names are asked for beside the first few files, not beside each."""
    asked: list[str] = []
    access = os.access

    def noted(path: str, mode: int, **how: bool) -> bool:
        asked.append(path)
        return access(path, mode, **how)

    monkeypatch.setattr(scan.os, "access", noted)
    for number in range(100):
        (folder / f"{number}.jpg").touch()
    assert len(settled(opened())) == 100
    companions = [path for path in asked if path.endswith(COMPANIONS)]
    assert len(companions) <= scan.ListedCompanions.ASKED_FIRST * len(COMPANIONS)


def test_a_download_given_up_a_day_ago_is_judged_and_told(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What its program left behind says nothing any more when neither of the two has changed for a day."""
    (folder / "1.jpg.part").touch()
    (folder / "1.jpg").touch()
    inbox = opened()
    assert settled(inbox) == []
    at = time.time() + 86_500
    monkeypatch.setattr(inbox_module.time, "time", lambda: at)
    list(inbox._backlog.take_retries(NOW + 100))
    assert settled(inbox, NOW + 100) == ["1.jpg"]
    assert "leftover=1.jpg.part" in capsys.readouterr().out


@pytest.mark.parametrize("magic", [0x6969, 0xFF534D42, 0xFE534D42])
def test_where_a_lease_means_something_else_a_still_file_is_taken(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, magic: int
) -> None:
    """NFS and SMB refuse leases as if somebody wrote, for ever: there stillness decides, and that is told."""
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: magic)
    file = folder / "1.jpg"
    file.touch()
    inbox = opened()
    with file.open("ab"):  # as far as a lease can tell, this is how every file there looks
        assert settled(inbox) == ["1.jpg"]
    assert len(inbox.writers_unknown) == 1
    assert inbox.writers_unknown[0].startswith(("files on NFS", "files on SMB"))


def test_a_candidate_of_an_unknown_writer_says_since_when_it_lies_still(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server only what this machine saw counts; where writers are known there is nothing to say."""
    (folder / "1.jpg").touch()
    inbox = opened()
    inbox.step(NOW, 10)
    with monkeypatch.context() as there:
        there.setattr(file_systems, "magic_of", lambda _descriptor: 0x6969)
        [candidate] = inbox.step(NOW + SETTLE, 10)
    assert candidate.still_since == NOW
    if ask(str(folder / "1.jpg")).writers is Writers.unknown:
        pytest.skip("the file system of the temporary folder grants no leases")
    known = opened()
    known.step(NOW, 10)
    assert known.step(NOW + SETTLE, 10)[0].still_since is None


def test_an_old_file_of_another_account_has_lain_still_for_long(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk of this machine its own clock counts: a start does not make an old file new."""
    (folder / "1.jpg").touch()
    hour = 3600.0
    monkeypatch.setattr(inbox_module.time, "time", lambda: (folder / "1.jpg").stat().st_ctime + hour)
    answer = Answer(Writers.unknown, FileSystem("ext4", Reach.local), 1234567)
    monkeypatch.setattr(scan, "ask", lambda _path: answer)
    inbox = opened()
    inbox.step(NOW, 10)
    [candidate] = inbox.step(NOW + SETTLE, 10)
    assert candidate.still_since == pytest.approx(NOW + SETTLE - hour)
    assert inbox.writers_unknown == ("files of account 1234567",)


@pytest.mark.parametrize(("number", "is_known"), [(errno.EIO, False), (errno.ESTALE, False), (errno.EACCES, True)])
def test_a_disk_that_fails_when_it_is_asked_has_not_said_that_nobody_writes(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, number: int, *, is_known: bool
) -> None:
    """Such a file is treated as one of an unknown writer; one that may not be read is for the worker to tell."""
    (folder / "1.jpg").touch()

    def failing(_path: str) -> Answer:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(scan, "ask", failing)
    inbox = opened()
    inbox.step(NOW, 10)
    [candidate] = inbox.step(NOW + SETTLE, 10)
    assert (candidate.still_since is None) == is_known


def test_where_writers_are_known_nothing_is_told_of_them(folder: Path, opened: Opened) -> None:
    """A local file system and files of one's own: the kernel knows all writers."""
    file = folder / "1.jpg"
    file.touch()
    if ask(str(file)).writers is Writers.unknown:
        pytest.skip("the file system of the temporary folder grants no leases")
    inbox = opened()
    assert settled(inbox) == ["1.jpg"]
    assert inbox.writers_unknown == ()


@pytest.mark.parametrize(
    "name", [".1.jpg.Xa3f9Q", "1.jpg.part", "notes.md", "1.txt", ".~tmp~/1.jpg", "trash.bak/deep/1.jpg"]
)
def test_what_is_no_image_stays(folder: Path, opened: Opened, name: str) -> None:
    """Temporaries, hidden folders and other files are no candidates, met by a walk or named by an event."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    inbox = opened()
    inbox.step(NOW, 10)
    for path in (folder / name, folder / name.partition("/")[0]):
        inbox._hints.add(str(path))
    assert settled(inbox) == []


def test_links_pipes_and_folders_named_like_images_stay(folder: Path, opened: Opened, tmp_path: Path) -> None:
    """Only regular files are candidates, even when an event names something else."""
    (tmp_path / "secret.jpg").touch()
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (folder / "links.jpg").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    inbox = opened()
    inbox.step(NOW, 10)
    for path in folder.iterdir():
        inbox._hints.add(str(path))
    assert settled(inbox) == []


def test_a_folder_moved_in_gives_its_files(folder: Path, opened: Opened) -> None:
    """An event about a new folder is enough to find all files in it, long before the next walk."""
    inbox = opened()
    inbox.step(NOW, 10)
    (folder / "cat/tabby").mkdir(parents=True)
    (folder / "cat/tabby/1.jpg").touch()
    inbox._hints.add(str(folder / "cat"))
    inbox.step(NOW + 1, 10)
    assert paths(inbox.step(NOW + 1 + SETTLE, 10)) == ["cat/tabby/1.jpg"]


def test_a_file_without_any_event_is_found_by_the_next_walk(folder: Path, opened: Opened) -> None:
    """On network mounts and after lost events a file waits at most for the next walk; a known loss walks at once."""
    inbox = opened()
    inbox.step(NOW, 10)
    (folder / "1.jpg").touch()
    assert inbox.step(NOW + 10, 10) == []
    assert inbox.next_step(NOW + 10, 10) == NOW + RESCAN
    inbox._hints.lose()
    inbox.step(NOW + 11, 10)
    assert paths(inbox.step(NOW + 11 + SETTLE, 10)) == ["1.jpg"]


def test_an_image_waits_until_its_sidecars_are_still(folder: Path, opened: Opened) -> None:
    """A label file that comes or changes beside an image begins the image's wait anew."""
    (folder / "1.jpg").touch()
    inbox = opened(sidecars=True)
    inbox.step(NOW, 10)
    (folder / "1.txt").write_text("cat", encoding="utf-8")
    assert inbox.step(NOW + SETTLE, 10) == []
    (folder / "1.txt").write_text("cat 0.5 0.5", encoding="utf-8")
    assert inbox.step(NOW + 2 * SETTLE, 10) == []
    assert inbox.step(NOW + 3 * SETTLE, 10) == [Candidate("default", "1.jpg")]


def test_a_sidecar_is_a_candidate_only_without_its_image(folder: Path, opened: Opened) -> None:
    """A label file whose image is here goes with it; one that is alone is offered to follow its image."""
    (folder / "1.txt").touch()
    (folder / "1.jpg").touch()
    (folder / "2.txt").touch()
    inbox = opened(sidecars=True)
    inbox.step(NOW, 10)
    assert set(inbox.step(NOW + SETTLE, 10)) == {
        Candidate("default", "1.jpg"),
        Candidate("default", "2.txt", "sidecar"),
    }


def test_labels_beside_images_that_stay_take_no_place_from_new_files(folder: Path, opened: Opened) -> None:
    """However many images are left in the inbox with their labels, each walk has room for what is new."""
    for number in range(8):
        (folder / f"{number}.jpg").touch()
        (folder / f"{number}.txt").touch()
    inbox = opened(sidecars=True, backlog_limit=8)
    assert settled(inbox) == [f"{number}.jpg" for number in range(8)]
    for number in range(8):
        inbox._backlog.failed(Candidate("default", f"{number}.jpg"), "too large", NOW)
    assert inbox.step(NOW + 2 * SETTLE, 100) == []  # the first walk ends
    (folder / "z").mkdir()
    (folder / "z" / "new.jpg").touch()
    assert settled(inbox, NOW + RESCAN) == ["z/new.jpg"]


@pytest.mark.parametrize("replacement", ["recreated", "replaced"])
def test_a_new_folder_under_the_inboxs_name_is_served(folder: Path, opened: Opened, replacement: str) -> None:
    """An inbox that is deleted and made again, or replaced by another folder, is watched and walked anew."""
    inbox = opened()
    assert settled(inbox) == []
    if replacement == "recreated":
        shutil.rmtree(folder)
        assert inbox.step(NOW + 3, 10) == []
        assert not inbox.present
        assert inbox.next_step(NOW + 3, 10) <= NOW + 4
        folder.mkdir()
    else:
        folder.rename(folder.with_name("old"))
        folder.mkdir()
    (folder / "1.jpg").touch()
    inbox.step(NOW + 5, 10)
    assert paths(inbox.step(NOW + 5 + SETTLE, 10)) == ["1.jpg"]
    assert inbox.present
    assert inbox._watcher.started == 2  # type: ignore[attr-defined]


def test_an_inbox_larger_than_memory_is_served_in_portions(folder: Path, opened: Opened) -> None:
    """With room for three files all ten come through, and never more than asked for."""
    for number in range(10):
        (folder / f"{number}.jpg").touch()
    inbox = opened(backlog_limit=3)
    given: list[str] = []
    for step in range(40):
        portion = inbox.step(NOW + step * SETTLE / 2, 2)
        assert len(portion) <= 2
        assert inbox.settling <= 3
        for candidate in portion:
            (folder / candidate.relative_path).unlink()
        given += paths(portion)
    assert sorted(given) == [f"{number}.jpg" for number in range(10)]
    assert inbox.exhausted


def test_files_that_never_rest_keep_no_others_out(folder: Path, opened: Opened) -> None:
    """More files than there is room for are touched all the time: one that came to rest is given as always."""
    inbox = opened(backlog_limit=3)
    restless = [folder / f"{number}.jpg" for number in range(8)]
    given: list[str] = []
    for step in range(19):
        if step == 16:
            (folder / "other.jpg").touch()
            inbox._hints.add(str(folder / "other.jpg"))
        for file in restless:
            file.write_bytes(b"x" * step)
        given += paths(inbox.step(NOW + step * SETTLE / 2, 10))
    assert given == ["other.jpg"]


def test_waiting_for_room_costs_no_time(folder: Path, opened: Opened) -> None:
    """While nothing more can be taken, the loop sleeps instead of asking over and over."""
    for number in range(10):
        (folder / f"{number}.jpg").touch()
    inbox = opened(backlog_limit=3)
    inbox.step(NOW, 3)
    assert inbox.next_step(NOW, 3) == NOW + SETTLE
    inbox.step(NOW + SETTLE, 0)
    assert inbox.next_step(NOW + SETTLE, 0) > NOW + SETTLE
    assert not inbox.exhausted


def test_a_file_in_the_backlog_is_not_given_again(folder: Path, opened: Opened) -> None:
    """What waits, is in work or was set aside is not found a second time by a walk."""
    (folder / "1.jpg").touch()
    inbox = opened()
    inbox.step(NOW, 10)
    [candidate] = inbox.step(NOW + SETTLE, 10)
    inbox._backlog.offer(candidate)
    assert settled(inbox, NOW + RESCAN) == []
    inbox._backlog.failed(candidate, "no", NOW)
    assert settled(inbox, NOW + 2 * RESCAN) == []
    inbox._hints.add(str(folder / "1.jpg"))  # it was written again
    inbox.step(NOW + 300, 10)
    assert inbox.step(NOW + 300 + SETTLE, 10) == [candidate]


def test_a_file_that_failed_and_then_went_is_no_longer_listed(folder: Path, opened: Opened) -> None:
    """When somebody takes away a file that could not be handled, its failure goes with it."""
    file = folder / "1.jpg"
    file.touch()
    inbox = opened()
    inbox.step(NOW, 10)
    [candidate] = inbox.step(NOW + SETTLE, 10)
    inbox._backlog.offer(candidate)
    inbox._backlog.failed(candidate, "no", NOW)
    file.unlink()
    for retried in inbox._backlog.take_retries(NOW + 1000):
        inbox.look_again_at(retried, NOW + 1000)
    assert inbox._backlog.failures == ()


@pytest.mark.parametrize("what", ["gone", "changed", "same"])
def test_files_left_behind_are_reviewed(folder: Path, opened: Opened, what: str) -> None:
    """One that was given up and went is no longer listed; one whose permissions changed gets another chance."""
    file = folder / "1.jpg"
    file.touch()
    inbox = opened()
    inbox.step(NOW, 10)
    [candidate] = inbox.step(NOW + SETTLE, 10)
    inbox._backlog.offer(candidate)
    for _ in range(3):
        inbox._backlog.failed(candidate, "no", NOW)
    if what == "gone":
        file.unlink()
    elif what == "changed":
        file.chmod(0o600)
    [failure] = inbox._backlog.failures
    inbox.review(failure.candidate)
    assert (inbox._backlog.failures == ()) == (what != "same")


@pytest.fixture
def blind(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Files, by name, of which the disk does not say what they are: the errors it answers."""
    errors: dict[str, int] = {}
    lstat = os.lstat

    def look(path: str) -> os.stat_result:
        if number := errors.get(os.path.basename(path)):
            raise OSError(number, os.strerror(number), path)
        return lstat(path)

    monkeypatch.setattr(inbox_module.os, "lstat", look)
    return errors


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EUCLEAN, errno.ENAMETOOLONG])
@pytest.mark.parametrize("when", ["found", "settled"])
def test_a_file_that_cannot_be_looked_at_is_not_taken_for_gone(
    folder: Path, opened: Opened, blind: dict[str, int], number: int, when: str
) -> None:
    """A folder that may be listed but not entered, a bad sector: it is told once, listed, and taken when it can be."""
    for name in ("1.jpg", "2.jpg"):
        (folder / name).touch()
    inbox = opened()
    if when == "settled":
        inbox.step(NOW, 10)
    blind |= {"1.jpg": number, "2.jpg": number}
    with capture_logs() as told:
        assert settled(inbox) == []
        for _ in inbox._backlog.take_retries(NOW + 100):
            inbox.look_again_at(_, NOW + 100)
    assert [failure.error for failure in inbox._backlog.failures] == [f"cannot be looked at: {os.strerror(number)}"] * 2
    assert [line["event"] for line in told] == ["left in the inbox"]
    for failure in inbox._backlog.failures:
        inbox.review(failure.candidate)
    assert len(inbox._backlog.failures) == 2
    blind.clear()
    for candidate in inbox._backlog.take_retries(NOW + 200):
        inbox.look_again_at(candidate, NOW + 200)
    assert settled(inbox, NOW + 200) == ["1.jpg", "2.jpg"]


def test_a_failed_file_that_cannot_be_looked_at_stays_listed(
    folder: Path, opened: Opened, blind: dict[str, int]
) -> None:
    """Whatever it failed for: that it has gone is known when the disk says so."""
    (folder / "1.jpg").touch()
    inbox = opened()
    inbox.step(NOW, 10)
    [candidate] = inbox.step(NOW + SETTLE, 10)
    inbox._backlog.offer(candidate)
    failure = inbox._backlog.failed(candidate, "no", NOW)
    blind["1.jpg"] = errno.EIO
    inbox.review(candidate)
    assert inbox._backlog.failures == (failure,)


def test_folders_that_the_last_walk_could_not_read_are_counted(
    folder: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may say that all is done while images may lie there; when they can be read that is over."""
    (folder / "closed").mkdir()
    inbox, scan = opened(), os.scandir

    def refuse(path: str) -> object:
        if path.endswith("closed"):
            raise PermissionError(errno.EACCES, "no", path)
        return scan(path)

    with monkeypatch.context() as closed:
        closed.setattr(inbox_scan.os, "scandir", refuse)
        settled(inbox)
        assert inbox.unreadable == 1
    settled(inbox, NOW + RESCAN)
    assert inbox.unreadable == 0


def test_once_is_done_when_the_first_walk_is_handed_out(folder: Path, opened: Opened) -> None:
    """The inbox is exhausted after all that was here at the start, not before the walk and not in between."""
    (folder / "1.jpg").touch()
    inbox = opened()
    assert not inbox.exhausted
    inbox.step(NOW, 10)
    assert not inbox.exhausted
    inbox.step(NOW + SETTLE, 10)
    assert inbox.exhausted


def test_an_inbox_that_is_gone_before_the_first_look_is_told(folder: Path, opened: Opened) -> None:
    """As one that vanishes later: once, and not as a new folder when it is there for the first time."""
    folder.rmdir()
    inbox = opened()
    with capture_logs() as told:
        for now in (NOW, NOW + 1):
            assert inbox.step(now, 1) == []
    assert [one["event"] for one in told] == ["the inbox is gone; waiting for it to come back"]
    assert not inbox.present
    folder.mkdir()
    with capture_logs() as told:
        inbox.step(NOW + 2, 1)
    assert inbox.present
    assert told == []


def test_a_slow_disk_lets_others_have_their_turn(folder, opened, monkeypatch):
    """A look at a file that takes long ends the step soon after, at every stage; the next steps go on from there."""
    names = [f"{number}.jpg" for number in range(30)]
    for name in names:
        (folder / name).write_bytes(b"x")
    inbox = opened()
    clock, looks = slowed(monkeypatch, inbox)
    found, most_looks = walked_slowly(inbox, clock, looks, len(names))
    assert found == sorted(names)
    assert most_looks <= 18  # in both stages, with what belongs to the file that was begun last; without an end, 90


def slowed(monkeypatch: pytest.MonkeyPatch, inbox: Inbox) -> tuple[list[float], list[str]]:
    """Have each look at a file or folder take a quarter of a step's time; give the clock, and the looks of a step."""
    clock, looks = [NOW], []
    monkeypatch.setattr(inbox_module, "SECONDS_PER_STEP", 0.2)
    monkeypatch.setattr(inbox_module.time, "monotonic", lambda: clock[0])
    fast, scan = inbox._files.state_if_known, os.scandir

    def took(path: str) -> None:
        clock[0] += inbox_module.SECONDS_PER_STEP / 4
        looks.append(path)

    monkeypatch.setattr(inbox._files, "state_if_known", lambda path: (took(path), fast(path))[1])
    monkeypatch.setattr(inbox_scan.os, "scandir", lambda path: (took(path), scan(path))[1])
    return clock, looks


def walked_slowly(inbox: Inbox, clock: list[float], looks: list[str], wanted: int) -> tuple[list[str], int]:
    """Turn the loop until so many are found; give them, and the most looks that one step took."""
    found: list[Candidate] = []
    most_looks = 0
    while len(found) < wanted:
        looks.clear()
        found += inbox.step(clock[0], wanted)
        most_looks = max(most_looks, len(looks))
        assert clock[0] < NOW + 120, "some are never handed out"
        clock[0] = max(clock[0], min(inbox.next_step(clock[0], wanted), clock[0] + 1.0))
    return paths(found), most_looks


def test_many_empty_folders_on_a_slow_disk_let_others_have_their_turn(folder, opened, monkeypatch):
    """What uploads leave behind: a walk that finds no file at all ends its step all the same, and comes to its end."""
    for number in range(50):
        (folder / f"day-{number}").mkdir()
    (folder / "1.jpg").touch()
    inbox = opened()
    clock, looks = slowed(monkeypatch, inbox)
    assert walked_slowly(inbox, clock, looks, 1)[0] == ["1.jpg"]
    looks.clear()
    inbox.walk_soon()
    most_looks = 0
    while inbox._walk is not None or inbox._next_walk_at == 0.0:
        looks.clear()
        inbox.step(clock[0], 1)
        most_looks = max(most_looks, len(looks))
        assert clock[0] < NOW + 120, "the walk never ends"
    assert most_looks <= 16
    assert inbox._folders_walked == 51


def test_a_burst_of_events_from_a_slow_disk_lets_others_have_their_turn(folder, opened, monkeypatch):
    """Each event takes looks of its own: a step follows a few, and the loop comes back at once for the rest."""
    inbox = opened()
    inbox.step(NOW, 1)
    names = [f"{number}.jpg" for number in range(30)]
    for name in names:
        (folder / name).touch()
        inbox._hints.add(str(folder / name))
    clock, looks = slowed(monkeypatch, inbox)
    inbox.step(clock[0], 1)
    assert inbox.next_step(clock[0], 1) == clock[0]
    found, most_looks = walked_slowly(inbox, clock, looks, len(names))
    assert found == sorted(names)
    assert most_looks <= 20


def test_a_large_folder_moved_in_on_a_slow_disk_lets_others_have_their_turn(folder, opened, monkeypatch):
    """One event stands for all its files: what there is no time for, a walk finds at once."""
    inbox = opened()
    inbox.step(NOW, 1)
    names = [f"cat/{number}.jpg" for number in range(30)]
    (folder / "cat").mkdir()
    for name in names:
        (folder / name).touch()
    inbox._hints.add(str(folder / "cat"))
    clock, looks = slowed(monkeypatch, inbox)
    found, most_looks = walked_slowly(inbox, clock, looks, len(names))
    assert found == sorted(names)
    assert most_looks <= 24
