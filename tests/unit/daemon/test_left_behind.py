"""Folders and files that the daemon may not move, as accounts, sticky bits, attributes and mounts really forbid it."""

import array
import fcntl
import os
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from imageguard_daemon.core.model import Candidate
from imageguard_daemon.daemon.left_behind import PAUSES, Refusals
from imageguard_daemon.filing import refusals as refusing_folders
from imageguard_daemon.filing import renaming
from tests.helpers.moving import refusing
from tests.helpers.pipeline_bench import Bench

NOBODY = 65534
OTHERS = {f"accepted/dog/{number}.jpg": b"%d" % number for number in range(20)}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several accounts")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every account can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def account(place: Path) -> Iterator[Callable[[], Bench]]:
    """Begin a bench as an account without any right; `arrive` of files that belong to others comes before."""
    with ExitStack() as ended:

        def begin() -> Bench:
            of_root = set(place.iterdir())
            bench = Bench(place)  # now, since the account may read no package
            ended.callback(bench.audit.close)
            for path in {place, *place.iterdir()} - of_root:
                os.chown(path, NOBODY, NOBODY)
            os.setegid(NOBODY)
            ended.callback(os.setegid, 0)
            os.seteuid(NOBODY)
            ended.callback(os.seteuid, 0)
            return bench

        yield begin


def of_others(place: Path, *names: str, mode: int = 0o755) -> Path:
    """Put files of root into a folder of root."""
    (place / "inbox").mkdir(exist_ok=True)
    folder = place / "inbox" / "cat"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode())
        (folder / name).chmod(0o644)
    folder.chmod(mode)
    os.chown(place / "inbox", NOBODY, NOBODY)
    return folder


def judge_all(bench: Bench, *names: str) -> None:
    """Have twenty images of another class judged with those that cannot move."""
    for name in names:
        bench.backlog.offer(Candidate("default", name))
    for number in range(20):
        bench.arrive(f"dog/{number}.jpg", b"%d" % number)
    bench.step()


def try_again(bench: Bench, now: float) -> None:
    """Have what waits judged again, as intake would."""
    for candidate in bench.backlog.take_retries(now):
        bench.backlog.offer(candidate)
    bench.step(now)


def abandoned(place: Path) -> int:
    """Count the attempts that the log has of moves that did not happen."""
    connection = sqlite3.connect(place / "audit.db")
    try:
        return connection.execute("SELECT count(*) FROM outcomes WHERE outcome = 'abandoned'").fetchone()[0]
    finally:
        connection.close()


def filed(bench: Bench) -> dict[str, bytes]:
    return {name: data for name, data in bench.files().items() if not name.startswith("inbox/")}


@needs_root
def test_a_folder_that_may_not_be_emptied_waits_alone(place, account, capsys):
    """Another account's folder pauses nobody, is named itself, costs one intent, and goes on once it may."""
    names = [f"{number}.jpg" for number in range(20)]
    cat = of_others(place, *names)
    bench = account()
    judge_all(bench, *(f"cat/{name}" for name in names))
    assert filed(bench) == OTHERS
    assert bench.served.paused_because == ""
    assert {failure.error for failure in bench.backlog.failures} == {
        f"files cannot be moved out of {cat}: this account has no write permission there"
    }
    assert len(bench.backlog.failures) == 20
    assert capsys.readouterr().out.count("left in the inbox") == 1
    for now in range(10, 86_400, 10):
        try_again(bench, float(now))
    assert abandoned(place) == 1
    os.seteuid(0)
    os.chown(cat, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try_again(bench, 86_440.0)
    for candidate in [f.candidate for f in bench.backlog.failures]:
        bench.backlog.offer(candidate)
    assert len(filed(bench)) == len(OTHERS) + 1
    assert len(list(bench.backlog.take_retries(86_440.0))) == 19  # looked at again at once, not after a pause


@needs_root
def test_files_of_others_in_a_sticky_folder_wait_without_an_attempt(place, account):
    """A file of the daemon's own goes from the same folder; those of others leave no intent."""
    of_others(place, "theirs.jpg", mode=0o1777)
    bench = account()
    bench.arrive("cat/mine.jpg", b"mine")
    judge_all(bench, "cat/theirs.jpg")
    assert filed(bench) == OTHERS | {"accepted/cat/mine.jpg": b"mine"}
    (failure,) = bench.backlog.failures
    assert failure.candidate.relative_path == "cat/theirs.jpg"
    assert failure.error.endswith(f"moved out of {place}/inbox/cat: it has the sticky bit")
    assert abandoned(place) == 0


@needs_root
def test_a_destination_that_refuses_one_class_holds_up_no_other(place, account):
    """The folder of one class in accepted/ that cannot be written to is named; the others are filed."""
    of_others(place)
    (place / "accepted").mkdir()
    (place / "accepted/cat").mkdir()
    os.chown(place / "accepted", NOBODY, NOBODY)
    os.chown(place / "inbox/cat", NOBODY, NOBODY)
    bench = account()
    for number in range(5):
        bench.arrive(f"cat/{number}.jpg", b"cat")
    judge_all(bench)
    assert filed(bench).keys() == OTHERS.keys()
    assert {failure.error for failure in bench.backlog.failures} == {
        f"files cannot be moved into {place}/accepted/cat: this account has no write permission there"
    }
    assert bench.served.paused_because == ""
    assert abandoned(place) == 1


@needs_root
def test_a_destination_that_refuses_all_pauses_its_source(place, account):
    """When nothing can be filed at all, that is told of the source, as for a full disk."""
    of_others(place)
    (place / "accepted").mkdir()
    bench = account()
    bench.arrive("dog/1.jpg", b"1")
    bench.step()
    assert bench.served.paused_because == f"cannot move to {place}/accepted/dog: Permission denied"


@contextmanager
def immutable(path: Path) -> Iterator[None]:
    """Set the attribute of `chattr +i` for a while."""
    descriptor = os.open(path, os.O_RDONLY)
    flags = array.array("L", [0])
    try:
        fcntl.ioctl(descriptor, 0x80086601, flags)
        fcntl.ioctl(descriptor, 0x40086602, array.array("L", [flags[0] | 0x10]))
    except OSError as error:
        os.close(descriptor)
        pytest.skip(f"attributes cannot be set here: {error.strerror}")
    try:
        yield
    finally:
        fcntl.ioctl(descriptor, 0x40086602, flags)
        os.close(descriptor)


@pytest.mark.parametrize("locked", ["cat/1.jpg", "cat"])
def test_what_is_immutable_waits_without_an_attempt(place, locked):
    """`chattr +i` on a file or a folder holds up that alone, even for root, and ends with `chattr -i`."""
    bench = Bench(place)
    try:
        bench.arrive("cat/1.jpg", b"1")
        with immutable(bench.inbox / locked):
            judge_all(bench)
            assert filed(bench) == OTHERS
            (failure,) = bench.backlog.failures
            assert f"{bench.inbox / locked}" in failure.error
            assert "chattr" in failure.error
            try_again(bench, 40.0)
            assert bench.backlog.failures
        try_again(bench, 80.0)
        assert filed(bench).keys() - OTHERS.keys() == {"accepted/cat/1.jpg"}
        assert abandoned(place) == 0
    finally:
        bench.audit.close()


def test_a_folder_that_begins_to_refuse_is_found_out_by_one_attempt(place):
    """A folder is looked at once a second; what it forbids in between costs one intent, and no file its place."""
    bench = Bench(place)
    try:
        bench.arrive("cat/1.jpg", b"1")
        bench.step(now=0.0)
        bench.arrive("cat/2.jpg", b"2")
        with immutable(bench.inbox / "cat"):
            bench.step(now=0.5)
            assert abandoned(place) == 1
            (failure,) = bench.backlog.failures
            assert failure.error.startswith(f"files cannot be moved out of {bench.inbox}/cat: it is immutable")
            bench.arrive("dog/3.jpg", b"3")
            bench.step(now=0.6)
        try_again(bench, 80.0)
        assert filed(bench) == {"accepted/cat/1.jpg": b"1", "accepted/cat/2.jpg": b"2", "accepted/dog/3.jpg": b"3"}
        assert abandoned(place) == 1
    finally:
        bench.audit.close()


@needs_root
def test_a_read_only_card_in_the_inbox_waits_alone(place):
    """What cannot be taken off a card is not copied again and again, and others go on."""
    bench = Bench(place)
    card = bench.inbox / "card"
    card.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", card], check=False).returncode:
        pytest.skip("mounts cannot be made here")
    try:
        bench.arrive("card/1.jpg", b"1")
        subprocess.run(["mount", "-o", "remount,ro", card], check=True)
        judge_all(bench)
        assert filed(bench) == OTHERS
        (failure,) = bench.backlog.failures
        assert failure.error == f"files cannot be moved out of {card}: it is on a read-only file system"
        assert abandoned(place) == 0
    finally:
        subprocess.run(["umount", "-l", card], check=True)
        bench.audit.close()


def test_a_refusal_that_nothing_explains_is_tried_ever_more_rarely(place, monkeypatch):
    """A day of it leaves few intents, the file is never given up, and nobody else waits."""
    bench = Bench(place)
    try:
        bench.arrive("cat/1.jpg", b"1")
        with monkeypatch.context() as refused:
            refused.setattr(renaming, "rename", refusing(13))
            bench.step()
            for now in range(10, 86_400, 10):
                try_again(bench, float(now))
        assert abandoned(place) <= 86_400 / PAUSES.longest_seconds + 6
        judge_all(bench)
        assert filed(bench) == OTHERS
        (failure,) = bench.backlog.failures
        assert failure.attempts == 0
        assert failure.error == f"cannot be moved from {bench.inbox}/cat: Permission denied"
        try_again(bench, 100_000.0)
        assert "accepted/cat/1.jpg" in bench.files()
        assert not bench.backlog.failures
    finally:
        bench.audit.close()


def test_a_refusing_folder_above_a_missing_one_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """`accepted/a` refuses and `accepted/a/b` is not there yet: one file finds out, and the others wait."""
    refusal = refusing_folders.Refusal("/accepted/a", "no", is_certain=False)
    monkeypatch.setattr(refusing_folders, "of_destination", lambda *_: refusal)
    known = Refusals()

    def tried(now: float) -> list[int]:
        names = range(5)
        return [n for n in names if not known.of_move(f"/inbox/{n}.jpg", f"/accepted/a/b/{n}.jpg", "/accepted", now)]

    attempts = []
    for now in range(0, 400, 5):
        for number in tried(float(now)):
            known.refused("/accepted/a", "no", float(now))
            attempts.append((now, number))
    assert attempts == [(0, 0)]
    monkeypatch.setattr(refusing_folders, "of_destination", lambda *_: None)
    assert tried(460.0) == [0]
    known.moved("/inbox/0.jpg", "/accepted/a/b/0.jpg")
    assert tried(461.0) == [0, 1, 2, 3, 4]


def test_an_attempt_after_the_pause_is_counted_though_nobody_probed() -> None:
    """A place that only attempts know of never says "again at once"."""
    known = Refusals()
    assert known.refused("/accepted/a", "no", 0.0).until == 30.0
    assert known.refused("/accepted/a", "no", 1.0).until == 30.0
    assert known.refused("/accepted/a", "no", 31.0).until == 91.0
