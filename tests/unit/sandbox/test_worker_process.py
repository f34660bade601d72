"""What senders say of a file's bytes, against the bytes."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from imageguard_daemon.core.model import Measurement
from imageguard_daemon.sandbox import worker_process
from imageguard_daemon.sandbox.worker_process import LIST_BYTES, compared, said_of
from tests.helpers.moving import refusing
from tests.helpers.pipeline_bench import GOOD

DATA = b"what was sent"
SHA = hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()  # noqa: S324 - what people use
MEASURED = Measurement(SHA, GOOD)


def judged(path: Path) -> Measurement:
    """Measure as a worker would that has read DATA."""
    return compared(MEASURED, DATA, said_of(str(path)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("1.jpg.sha256", SHA), ("1.jpg.md5", f"{MD5} *1.jpg"), ("1.jpg.MD5", MD5), ("1.jpg.sha256", MD5)),
        *(("SHA256SUMS", f"{SHA}  1.jpg"), ("md5sum.txt", f"{MD5}  1.jpg"), ("MD5SUMS", f"MD5 (1.jpg) = {MD5}")),
    ],
)
def test_what_matches_changes_nothing_and_what_differs_is_corrupt(tmp_path: Path, name: str, text: str) -> None:
    """Beside the image and in lists of its folder, SHA-256 and MD5; the file that says so is named."""
    (tmp_path / name).write_text(text)
    assert judged(tmp_path / "1.jpg") is MEASURED
    wrong = text.replace(SHA, SHA[::-1]).replace(MD5, MD5[::-1])
    (tmp_path / name).write_text(wrong + "\n")
    found = judged(tmp_path / "1.jpg")
    algorithm = "MD5" if MD5[::-1] in wrong else "SHA-256"
    assert (found.issue, found.measures) == ("corrupt", None)
    assert found.detail == f"its {algorithm} is not the one in {name}"
    assert judged(tmp_path / "2.jpg") is (MEASURED if name.startswith("1.jpg") else judged(tmp_path / "2.jpg"))


def test_what_decoding_found_stays_in_the_detail(tmp_path: Path) -> None:
    """Cut off on its way: both say so."""
    (tmp_path / "1.jpg.md5").write_text(MD5[::-1])
    torn = Measurement(SHA, issue="unsupported", detail="half a header")
    found = compared(torn, DATA, said_of(str(tmp_path / "1.jpg")))
    assert (found.issue, found.detail) == ("corrupt", "its MD5 is not the one in 1.jpg.md5; half a header")


def test_hostile_lists_are_ignored_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Links, pipes, folders, terabytes and junk in a list's place say nothing of any file, and stop nobody."""
    (tmp_path / "secret").write_text(f"{SHA[::-1]}  1.jpg")
    (tmp_path / "SHA256SUMS").symlink_to("secret")
    os.mkfifo(tmp_path / "MD5SUMS")
    (tmp_path / "sha256sum.txt").mkdir()
    with (tmp_path / "md5sum.txt").open("wb") as file:
        file.truncate(LIST_BYTES + 1)
    (tmp_path / "md5sums.txt").write_bytes(b"\0junk\n" * 1000)
    for _ in range(3):
        assert judged(tmp_path / "1.jpg") is MEASURED
    assert [record.message.partition(": ")[0] for record in caplog.records].count(f"{tmp_path}/md5sums.txt") == 1
    assert f"{tmp_path}/md5sum.txt is too large for checksums and is ignored" in caplog.text
    assert caplog.text.count("too large") == 1
    for name in ("SHA256SUMS", "MD5SUMS", "sha256sum.txt"):
        assert caplog.text.count(f"{tmp_path}/{name} is not a regular file and is ignored") == 1


@pytest.mark.parametrize("name", ["SHA256SUMS", "1.jpg.md5"])
@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_checksums_that_cannot_be_read_say_neither_yes_nor_no(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """The image is not judged without them: it waits, and it is said for which file."""
    (tmp_path / name).write_text(f"{SHA}  1.jpg")
    monkeypatch.setattr(worker_process.os, "open", refusing(number))
    with pytest.raises(OSError, match=rf"its checksums in {name}: {os.strerror(number)}") as told:
        judged(tmp_path / "1.jpg")
    assert told.value.errno == number


def test_a_list_that_is_renewed_is_read_again(tmp_path: Path) -> None:
    """It is parsed once for all files of a folder, and anew when it has changed."""
    sums = tmp_path / "SHA256SUMS"
    sums.write_text(f"{SHA[::-1]}  1.jpg")
    assert judged(tmp_path / "1.jpg").issue == "corrupt"
    sums.write_text(f"{SHA}  1.jpg\n{SHA}  2.jpg")
    assert judged(tmp_path / "1.jpg") is MEASURED
    for number in range(100):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "SHA256SUMS").write_text(f"{SHA}  1.jpg")
        assert judged(tmp_path / str(number) / "1.jpg") is MEASURED
    assert len(worker_process._lists) <= 32
