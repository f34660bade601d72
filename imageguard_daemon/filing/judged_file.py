"""Whether a file is the one that was judged: by its inode number, or by its bytes where that may be another each time.

Programs behind FUSE number files by their names (mergerfs with `inodecalc=path-hash`), or again when they have
forgotten them (sshfs): there another number proves nothing.
"""

import hashlib
import os
from collections.abc import Generator

from imageguard_daemon.core.file_systems import file_system_of
from imageguard_daemon.core.model import FileIdentity, Intent
from imageguard_daemon.core.regular_files import opened, sha256_of
from imageguard_daemon.filing.renaming import Name

_PIECE_BYTES = 1 << 20


def is_judged(file: int, intent: Intent) -> bool:
    """Tell whether an open file is the one that was judged, with the bytes that it had."""
    found = FileIdentity.from_stat(os.fstat(file))
    return found.same_content_as(intent.identity) or (_may_be(found, intent, file) and sha256_of(file) == intent.sha256)


def is_as_it_was(file: int, intent: Intent) -> bool:
    """Tell whether no byte and no name of an open file has changed since it was judged.

    Behind FUSE the time of an earlier change of name may be told late (bindfs): there its bytes say so.
    """
    found = FileIdentity.from_stat(os.fstat(file))
    return found == intent.identity or (_may_be(found, intent, file) and sha256_of(file) == intent.sha256)


def bears_judged(name: Name, status: os.stat_result, intent: Intent) -> bool:
    """Tell whether what bears a name, with this status, is what was judged; OSError when that cannot be looked at."""
    found = FileIdentity.from_stat(status)
    if found.same_content_as(intent.identity):
        return True
    if not _may_be(found, intent, name[0]):
        return False
    with opened(name[1], name[0]) as descriptor:
        identity = FileIdentity.from_stat(os.fstat(descriptor))
        return identity.looks_like(found) and sha256_of(descriptor) == intent.sha256


def is_copied_or_numbered_anew(name: Name, status: os.stat_result, intent: Intent) -> bool:
    """Tell whether what bears a name has the judged bytes, on a file system where its number says nothing of that.

    Raises OSError when that cannot be looked at.
    """
    if status.st_size != intent.identity.size_bytes or file_system_of(name[0]).keeps_numbers:
        return False
    with opened(name[1], name[0]) as descriptor:
        return sha256_of(descriptor) == intent.sha256


def compare_bytes(path: str, intent: Intent) -> Generator[None, None, bool]:
    """Find out, a piece at each step, whether a file has the judged bytes, as after `cp -p` or `touch`.

    Raises OSError when it cannot be read.
    """
    with opened(path) as descriptor:
        digest, left = hashlib.sha256(), intent.identity.size_bytes
        while data := os.read(descriptor, _PIECE_BYTES):
            digest.update(data)
            left -= len(data)
            if left < 0:
                return False
            yield
        return digest.hexdigest() == intent.sha256


def _may_be(found: FileIdentity, intent: Intent, on: int) -> bool:
    return found.looks_like(intent.identity) and not file_system_of(on).keeps_numbers
