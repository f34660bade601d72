"""Judged images read from results and from an audit log; those whose files are as they were judged."""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from imageguard_daemon.batch.export import CHANGED, GONE, UNREADABLE, Entry, entries_of_log, entries_of_results, vouched
from imageguard_daemon.batch.judging import Rules, judge, row_of
from imageguard_daemon.core.errors import NoInputError
from imageguard_daemon.core.model import FileIdentity, Measurement
from imageguard_daemon.quality.policy import PRESETS
from imageguard_daemon.review.acting import reject, release
from tests.helpers.pipeline_bench import GOOD
from tests.helpers.rejections import Rejections


@pytest.mark.parametrize(
    "changes", [{}, {"verdict": "good"}, {"verdict": "quarantined"}, {"reason": "blurry"}], ids=str
)
def test_lines_whose_verdict_means_nothing_are_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    """An image whose verdict is none would be left out of any manifest, and nobody told."""
    measurement = Measurement("ab" * 32, GOOD, identity=FileIdentity(1, 2, 3, 4, 5))
    row = row_of(judge("data/1.jpg", "1.jpg", measurement, Rules("general", PRESETS["general"])))
    (tmp_path / "results").write_text(json.dumps({**row, **changes}) + "\n")
    if not changes:
        assert [one.verdict for one in entries_of_results(tmp_path / "results")] == ["accepted"]
        return
    with pytest.raises(NoInputError, match="line 1: this was not written by scan --jsonl"):
        list(entries_of_results(tmp_path / "results"))


def test_brackets_without_an_end_are_refused(tmp_path: Path) -> None:
    """A hostile line ends with a sentence and no traceback."""
    (tmp_path / "results").write_text("[" * 200_000)
    with pytest.raises(NoInputError, match="line 1: this was not written by scan --jsonl"):
        list(entries_of_results(tmp_path / "results"))


def test_an_image_is_what_a_person_made_of_it(tmp_path: Path) -> None:
    """Released is accepted, rejected by a person is rejected with a reason of its own; the others are as judged."""
    rejections = Rejections(tmp_path / "root")
    ids = [rejections.file(f"cat/{number}.jpg", ok=number > 1) for number in range(4)]
    rejections.do(release, ids[0])
    rejections.do(reject, ids[2])
    found = {one.relative_path: one for one in entries_of_log(rejections.root / "audit.db", rejections.settings)}
    assert {name: (one.verdict, one.reason, one.issues) for name, one in found.items()} == {
        "cat/0.jpg": ("accepted", "blurry", ("blurry",)),
        "cat/1.jpg": ("quarantined", "blurry", ("blurry",)),
        "cat/2.jpg": ("quarantined", "rejected_by_review", ()),
        "cat/3.jpg": ("accepted", "", ()),
    }
    assert all(Path(one.path).exists() for one in found.values())
    rejections.close()


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
    left = Counter[str]()
    passed = list(vouched([entry], left, by_content=by_content))
    assert len(passed) + left.total() == 1
    return list(left)


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
