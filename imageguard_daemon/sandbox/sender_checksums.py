"""What senders say of a file's content, looked up beside it by a worker and checked against the bytes it has read.

What is there and cannot be read says neither yes nor no: the image waits for it. What is not a file of checksums at all
(a link, a folder, megabytes too many) is ignored, and told.
"""

import hashlib
import logging
import os
import stat
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace

from imageguard_daemon.core import checksums
from imageguard_daemon.core.checksums import Digest, Listed
from imageguard_daemon.core.model import FileIdentity, Measurement
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.regular_files import regular_file

LIST_BYTES = 4 << 20
"""A list of some 50,000 files. What is larger is ignored, and told."""
_OF_ONE_IMAGE_BYTES = 16 << 10
_LISTS_REMEMBERED = 32
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """A digest, and the name of the file it was found in."""

    digest: Digest
    by: str


_lists: OrderedDict[str, tuple[FileIdentity, Listed]] = OrderedDict()


def said_of(path: str) -> list[Said]:
    """Give what is said of a file: beside it under its own name, and in the lists of its folder.

    Raises:
        OSError: something is, and cannot be read.
    """
    folder, name = os.path.split(path)
    said = []
    for ending in (*checksums.ENDINGS, *(ending.upper() for ending in checksums.ENDINGS)):
        contents = _contents(path + ending, _OF_ONE_IMAGE_BYTES)
        digest = checksums.first_digest(contents[1]) if contents else None
        if digest is not None:
            said.append(Said(digest, name + ending))
    for list_name in checksums.LISTS:
        listed = _list(os.path.join(folder, list_name))
        if listed is not None:
            said += [Said(digest, list_name) for digest in listed.of_names.get(os.fsencode(name), ())]
    return said


def compared(found: Measurement, data: bytes, said: list[Said]) -> Measurement:
    """Call an image `corrupt` whose bytes are not those that its sender had."""
    for one in said:
        algorithm, digits = one.digest.algorithm, one.digest.digits
        has = found.sha256 if algorithm == "sha256" else hashlib.md5(data, usedforsecurity=False).hexdigest()
        if has != digits:
            told = f"its {checksums.SHOWN[algorithm]} is not the one in {printable(one.by)}"
            detail = f"{told}; {found.detail}" if found.detail else told
            return replace(found, measures=None, issue="corrupt", detail=detail)
    return found


def _list(path: str) -> Listed | None:
    if not os.access(path, os.F_OK):  # the rule, and asked of every image: cheaper than an error
        return None
    known = _lists.get(path)
    if known is not None:
        with suppress(OSError):
            if known[0] == FileIdentity.from_stat(os.lstat(path)):
                return known[1]
    contents = _contents(path, LIST_BYTES)
    if contents is None:
        return None
    listed = checksums.listed(contents[1])
    if listed.bad_lines:
        _LOG.warning("%s: %d lines are not checksums and are ignored", printable(path), listed.bad_lines)
    _lists[path] = contents[0], listed
    _lists.move_to_end(path)
    while len(_lists) > _LISTS_REMEMBERED:
        _lists.popitem(last=False)
    return listed


def _contents(path: str, most_bytes: int) -> tuple[FileIdentity, bytes] | None:
    if not os.access(path, os.F_OK):
        return None
    try:
        status = os.lstat(path)
        hindrance = _why_no_checksums(status, most_bytes)
        if hindrance:
            _LOG.warning("%s %s and is ignored", printable(path), hindrance)
            return FileIdentity.from_stat(status), b""
        with regular_file(path) as file:
            return file.identity, file.read(most_bytes)
    except FileNotFoundError:  # it has just gone
        return None
    except OSError as error:
        raise _unread(path, error) from error


def _why_no_checksums(status: os.stat_result, most_bytes: int) -> str:
    """Say why a file has none; empty when it may have."""
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    return "is too large for checksums" if status.st_size > most_bytes else ""


def _unread(path: str, error: OSError) -> OSError:
    """Give the same error for the image, which is handled as if its own bytes could not be read."""
    return OSError(error.errno, f"its checksums in {printable(os.path.basename(path))}: {error.strerror}")
