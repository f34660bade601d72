"""Uploaders with bad intent or bad habits: each goes on, below a folder of its own, until it is told to end.

They do what the permissions of an inbox grant to an account of its group, at a pace that leaves the machine to others.
"""

import fcntl
import hashlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from tests.faults.accounts import GROUP_ID, UPLOADER_ID
from tests.faults.uploading import unique
from tests.helpers import bombs

_TERABYTE = 1 << 40
_F_SETSIG = 10
ROOM = 500
"""`intake.backlog_limit` of the daemons that are attacked."""
_MORE_THAN_THERE_IS_ROOM_FOR = 600


@dataclass(frozen=True)
class Attack:
    """What is done, and in which inboxes the others' files count: who floods an inbox has made its queue long."""

    run: Callable[[Path, Event], None]
    others: tuple[int, ...] = (0, 1)


def delete_hidden(folder: Path, over: Event) -> None:
    """Delete whatever the daemon has in the inbox, as `rsync --delete` does; send files that have to be copied."""
    for number in itertools.count():
        image = folder / f"{number}.jpg"
        image.write_bytes(unique("good"))
        with suppress(OSError):
            os.link(image, folder / f"{number}.second-name")
        for _ in range(10):
            if over.wait(0.05):
                return
            for base, _folders, names in os.walk(folder.parent):
                for name in names:
                    if name.startswith(".imageguard"):
                        with suppress(OSError):
                            os.unlink(os.path.join(base, name))


def remove_folders(folder: Path, over: Event) -> None:
    """Remove folders with all that is in them while it is being filed."""
    for number in itertools.count():
        place = folder / str(number % 20)
        with suppress(OSError):
            place.mkdir(exist_ok=True)
            for name in "abc":
                (place / f"{number}{name}.jpg").write_bytes(unique("good"))
        if over.wait(random.uniform(1.5, 3)):
            return
        shutil.rmtree(place, ignore_errors=True)


def close_folders(folder: Path, over: Event) -> None:
    """Send images in folders that nobody else may empty, list or enter."""
    for number, mode in enumerate(itertools.cycle((0o555, 0o1777, 0o755, 0o333, 0o000))):
        place = folder / str(number)
        with suppress(OSError):
            place.mkdir()
            (place / "1.jpg").write_bytes(unique("good"))
            place.chmod(mode)
        if over.wait(0.5):
            return


def hide_contents(folder: Path, over: Event) -> None:
    """Send more files than are held in memory, none of which may be read; then others."""
    for number in itertools.count():
        image = folder / f"{number}.jpg"
        image.write_bytes(unique("tiny"))
        image.chmod(0)
        if number > _MORE_THAN_THERE_IS_ROOM_FOR and over.wait(0.2):
            return


def send_terabytes(folder: Path, over: Event) -> None:
    """Send images, labels and checksums of 8 TB each that cost nothing."""
    for number in itertools.count():
        for ending in (".jpg", ".txt", ".jpg.sha256"):
            with (folder / f"{number}{ending}").open("wb") as file:
                file.write(unique("good"))
                file.truncate(8 * _TERABYTE)
        with (folder / "SHA256SUMS").open("wb") as file:
            file.truncate(8 * _TERABYTE)
        if over.wait(1):
            return


def go_on_writing(folder: Path, over: Event) -> None:
    """Write on to files that were whole and have been filed."""
    writing = []
    for number in itertools.count():
        path = folder / f"{number}.jpg"
        path.write_bytes(unique("good"))
        writing.append(path.open("ab", buffering=0))
        if len(writing) > 100:
            writing.pop(0).close()
        for file in writing[number % 7 :: 7]:
            file.write(bytes(100))
        if over.wait(1):
            return


def touch_what_was_filed(folder: Path, over: Event) -> None:
    """Set the time of large files that have been filed, again and again: whether they are as they were is in doubt."""
    touched = []
    for number in range(20):
        file = (folder / f"{number}.jpg").open("xb", buffering=0)
        file.write(unique("good"))
        file.truncate(30 << 20)
        touched.append(file)
        if over.wait(2):
            break
    while not over.wait(0.5):
        for file in touched:
            os.utime(file.fileno())
    for file in touched:
        file.close()


def rename_all_the_time(folder: Path, over: Event) -> None:
    """Rename, link and exchange files all the time."""
    for number in itertools.count():
        if number % 40 == 0:
            (folder / f"{number}.jpg").write_bytes(unique("good"))
        for path in random.sample(images := sorted(folder.glob("*.jpg")), min(20, len(images))):
            with suppress(OSError):
                other = folder / f"{random.randrange(1000)}.jpg"
                os.link(path, other) if random.random() < 0.1 else path.rename(other)
        if over.wait(0.05):
            return


def make_and_remove(folder: Path, over: Event) -> None:
    """Make and remove files and folders by the thousand."""
    while not over.wait(0.3):
        for number in range(200):
            with suppress(OSError):
                (folder / f"{number}.jpg").write_bytes(b"x")
        for number in range(50):
            with suppress(OSError):
                (folder / f"d{number}").mkdir()
        for name in os.listdir(folder):
            with suppress(OSError):
                (os.rmdir if name.startswith("d") else os.unlink)(folder / name)


def grow_trees(folder: Path, over: Event) -> None:
    """Make folders by the ten thousand, deep ones among them, and rename them as a whole."""
    for number in itertools.count():
        with suppress(OSError):
            top = folder / f"t{number}"
            if number < 400:
                os.makedirs(top / "/".join("d" * 50))
            top.rename(folder / f"r{number}")
            (folder / f"r{number - 1}").rename(folder / f"again{number - 1}")
        if over.wait(0.5):
            return


def send_oddities(folder: Path, over: Event) -> None:
    """Send pipes, sockets, links in circles and to secrets, folders called like images, and names of all kinds."""
    for number in itertools.count():
        with suppress(OSError):
            os.mkfifo(folder / f"pipe{number}.jpg")
            socket.socket(socket.AF_UNIX).bind(str(folder / f"s{number}.jpg"))
        for name, to in ((f"a{number}.jpg", f"b{number}.jpg"), (f"b{number}.jpg", f"a{number}.jpg")):
            with suppress(OSError):
                (folder / name).symlink_to(to)
        with suppress(OSError):
            (folder / f"secret{number}.jpg").symlink_to("/etc/shadow")
            (folder / f"up{number}").symlink_to("..")
            (folder / f"folder{number}.jpg").mkdir()
        for name in (b"\xff%d.jpg", b"\n%d\x1b[2J.jpg", b"=%d.jpg", b"%d" + b"x" * 240 + b".jpg"):
            path = os.path.join(os.fsencode(folder), name % number)
            with suppress(OSError):
                Path(os.fsdecode(path)).write_bytes(unique("good"))
                os.utime(path, (-(1 << 31), (1 << 33) * (number % 2)))
        if over.wait(1):
            return


def send_bombs(folder: Path, over: Event) -> None:
    """Send small files that claim to be huge, of every format, and halves of images."""
    for number, data in enumerate(itertools.cycle([*bombs.bombs().values(), None])):
        (folder / f"{number}.jpg").write_bytes(unique("cut") if data is None else data)
        if over.wait(1):
            return


def hold_locks(folder: Path, over: Event) -> None:
    """Hold files open for writing, or under leases, and lock files and folders, the inbox itself among them."""
    held = []
    for number in range(300):
        path = folder / f"{number}.jpg"
        path.write_bytes(unique("good"))
        descriptor = os.open(path, os.O_RDONLY if number < 50 else os.O_WRONLY)
        held.append(descriptor)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if number < 50:
                fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK if number % 2 else fcntl.F_WRLCK)
    account = ["setpriv", "--clear-groups", f"--reuid={UPLOADER_ID}", f"--regid={GROUP_ID}"]
    command = [*account, "flock", "-F", folder.parent, "sleep", "1000000"]
    with subprocess.Popen(command) as waiting:  # for the daemon to end
        over.wait()
        waiting.kill()
    for descriptor in held:
        os.close(descriptor)


def abuse_checksums(folder: Path, over: Event) -> None:
    """Send lists of checksums that are long, wrong, for nobody to read, or never the same."""
    line = f"{hashlib.sha256(b'').hexdigest()}  {'x' * 90}.jpg\n"
    for number in itertools.count():
        (folder / f"{number}.jpg").write_bytes(unique("good"))
        (folder / f"{number}.jpg.md5").write_text("0" * 32)
        sums = folder / "SHA256SUMS"
        with suppress(OSError):
            sums.unlink(missing_ok=True)
            sums.write_text(line * random.randrange(25_000))
            sums.chmod(random.choice((0o644, 0o000)))
        if over.wait(1):
            return


def never_finish(folder: Path, over: Event) -> None:
    """Leave beside thousands of images what a download program has there, and labels that no image has."""
    for number in range(_MORE_THAN_THERE_IS_ROOM_FOR // 2):
        (folder / f"{number}.jpg").write_bytes(unique("tiny"))
        (folder / f"{number}.jpg.part").touch()
        (folder / f"lone{number}.txt").touch()
    while not over.wait(2):
        for number in range(_MORE_THAN_THERE_IS_ROOM_FOR // 2):
            with suppress(OSError):
                os.utime(folder / f"{number}.jpg.part")


def never_rest(folder: Path, over: Event) -> None:
    """Touch more files than are held in memory, each more often than files have to rest."""
    places = [folder / f"{number}.jpg" for number in range(_MORE_THAN_THERE_IS_ROOM_FOR)]
    for place in places:
        place.write_bytes(b"x")
    while not over.wait(0.5):
        for place in places:
            with suppress(OSError):
                os.utime(place)


def flood(folder: Path, over: Event) -> None:
    """Send 2,000 images at once, and again whenever they have been filed."""
    while not over.wait(1):
        if not any(folder.glob("*.jpg")):
            for number in range(2_000):
                (folder / f"{number}.jpg").write_bytes(unique("tiny"))


ATTACKS: dict[str, Attack] = {
    "hidden names are deleted": Attack(delete_hidden),
    "folders are removed": Attack(remove_folders),
    "folders are closed": Attack(close_folders),
    "files may not be read": Attack(hide_contents),
    "files of 8 TB": Attack(send_terabytes),
    "filed files are written to": Attack(go_on_writing),
    "filed files are touched": Attack(touch_what_was_filed),
    "files are renamed all the time": Attack(rename_all_the_time),
    "files come and go": Attack(make_and_remove),
    "trees of folders": Attack(grow_trees),
    "oddities": Attack(send_oddities),
    "bombs": Attack(send_bombs),
    "locks and leases": Attack(hold_locks),
    "checksums": Attack(abuse_checksums),
    "downloads that never end": Attack(never_finish),
    "files that never rest": Attack(never_rest),
    "a flood of images": Attack(flood, others=(1,)),
}
