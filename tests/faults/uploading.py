"""Files for tests, each with a content of its own, and ways to let them arrive."""

import ctypes
import errno
import functools
import hashlib
import itertools
import os
from pathlib import Path

from tests.faults.accounts import UPLOADER_ID, uploading_into
from tests.faults.oracle import Offered
from tests.helpers.images import blurred, jpeg, photo, png

_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


@functools.cache
def picture(kind: str) -> bytes:
    """Give the bytes of a picture: `good`, `blurry`, `tiny`, or one that is `cut` off."""
    if kind == "good":
        return jpeg(photo(320, 240, seed=1), 95)
    if kind == "blurry":
        return jpeg(blurred(photo(200, 150, seed=2), 6), 90)
    if kind == "tiny":
        return png(photo(24, 24, seed=3))
    return jpeg(photo(320, 240, seed=4))[:4000]


def unique(kind: str) -> bytes:
    """Give a picture that differs from all others in bytes behind its end, which no decoder minds."""
    return picture(kind) + b"#%d-%d#" % (os.getpid(), next(_numbers)) + os.urandom(8)


def offered(name: str, data: bytes, *, complete: bool = True) -> Offered:
    """Describe a content for the oracle."""
    return Offered(name, hashlib.sha256(data).hexdigest(), complete)


def put(inbox: Path | str, name: str, data: bytes, account: int = UPLOADER_ID) -> Offered:
    """Let a file arrive by rename, complete at once."""
    path = os.path.join(inbox, name)
    folder, base = os.path.split(path)
    temporary = os.path.join(folder, f".{base}.upload")
    with uploading_into(inbox, account):
        os.makedirs(folder, exist_ok=True)
        Path(temporary).write_bytes(data)
        os.rename(temporary, path)
    return offered(name, data)


def publish_new(temporary: str, path: str) -> bool:
    """Rename without replacing; False when the name is taken."""
    if _libc.renameat2(-100, os.fsencode(temporary), -100, os.fsencode(path), 1) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        return False
    raise OSError(number, os.strerror(number), path)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
