"""Whether a file is still what was judged."""

import hashlib
import os
from collections import Counter
from pathlib import Path

import pytest

from imageguard_daemon.batch.entries import CHANGED, GONE, UNREADABLE, vouched
from imageguard_daemon.batch.manifests import Entry, LeftOut

JUDGED = b"judged"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A file as it was judged."""
    (tmp_path / "1.jpg").write_bytes(JUDGED)
    return tmp_path / "1.jpg"


def _entry(path: Path, **facts: object) -> Entry:
    now = path.stat()
    known = {"size_bytes": now.st_size, "mtime_ns": now.st_mtime_ns, "sha256": hashlib.sha256(JUDGED).hexdigest()}
    return Entry(str(path), path.name, "", "accepted", "", (), 1.0, {}, **(known | facts))


def _why_left(entry: Entry, *, by_content: bool = False) -> list[str]:
    left = LeftOut(Counter())
    passed = list(vouched([entry], left, by_content=by_content))
    assert len(passed) + left.total == 1
    return list(left.reasons)


def test_a_file_as_it_was_is_vouched_for(photo: Path) -> None:
    """By size and time, by content, and by a record that knows less, as those of earlier versions."""
    assert _why_left(_entry(photo)) == []
    assert _why_left(_entry(photo), by_content=True) == []
    assert _why_left(_entry(photo, size_bytes=None, mtime_ns=None, sha256=""), by_content=True) == []


def test_what_changed_is_not_vouched_for(photo: Path) -> None:
    """Another size, or the same size at another time with another content."""
    entry = _entry(photo)
    photo.write_bytes(b"longer than before")
    assert _why_left(entry) == [CHANGED]
    photo.write_bytes(b"forged")
    os.utime(photo, ns=(1, 1))
    assert _why_left(entry) == [CHANGED]


def test_a_file_that_was_only_touched_is_still_what_it_was(photo: Path) -> None:
    """A copy or a restored backup has other times; its content decides."""
    entry = _entry(photo)
    os.utime(photo, ns=(1, 1))
    assert _why_left(entry) == []


def test_on_request_the_content_decides_whatever_the_times_say(photo: Path) -> None:
    """Bytes that rot, or a tool that puts times back, are found out by reading."""
    entry = _entry(photo)
    photo.write_bytes(b"forged")
    os.utime(photo, ns=(1, entry.mtime_ns or 0))
    assert _why_left(entry) == []
    assert _why_left(entry, by_content=True) == [CHANGED]


def test_what_is_gone_or_no_file_is_told(photo: Path) -> None:
    """A missing file, a folder, a pipe, and a name that no file can have."""
    entry = _entry(photo)
    photo.unlink()
    assert _why_left(entry) == [GONE]
    os.mkfifo(photo)
    assert _why_left(entry, by_content=True) == [GONE]
    assert _why_left(Entry("a\0b", "", "", "accepted", "", (), 1.0, {})) == [GONE]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_not_vouched_for(photo: Path) -> None:
    """Whoever asks for the content gets no guess."""
    entry = _entry(photo)
    photo.chmod(0)
    assert _why_left(entry, by_content=True) == [UNREADABLE]
