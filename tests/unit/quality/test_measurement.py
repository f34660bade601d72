"""One file, read once, measured once."""

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from imageguard_daemon.core.errors import ChangedError
from imageguard_daemon.core.model import FileIdentity, Limits
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decode import decoder
from imageguard_daemon.quality.measurement import fingerprint_file, measure_bytes, measure_file
from tests.helpers.corpus import WHY_SKIPPED, corpus
from tests.helpers.images import encoded, jpeg, photo, png

LIMITS = Limits()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.jpg"
    path.write_bytes(jpeg(photo(160, 120)))
    return path


def test_what_was_measured_is_what_is_recorded(good: Path):
    """The hash is that of the bytes judged and the identity that of the file they came from."""
    result = measure_file(str(good), LIMITS)
    assert result.sha256 == hashlib.sha256(good.read_bytes()).hexdigest()
    assert result.identity == FileIdentity.from_stat(good.stat())
    assert result.measures is not None
    assert result.measures.width == 160
    assert (result.issue, result.image_format) == ("", "JPEG")
    assert result.duration_ms > 0


def test_a_bad_image_is_a_result(tmp_path: Path):
    """A file that cannot be decoded has an issue, a hash and an identity."""
    path = tmp_path / "bad.jpg"
    path.write_bytes(b"not an image")
    result = measure_file(str(path), LIMITS)
    assert (result.issue, result.measures) == ("corrupt", None)
    assert result.sha256 == hashlib.sha256(b"not an image").hexdigest()
    assert result.identity is not None


def test_links_are_not_followed(good: Path, tmp_path: Path):
    """A symbolic link is not the file that arrived."""
    link = tmp_path / "link.jpg"
    link.symlink_to(good)
    with pytest.raises(OSError, match="symbolic links"):
        measure_file(str(link), LIMITS)


def test_a_fifo_does_not_hang(tmp_path: Path):
    """Something that is no regular file is refused at once."""
    fifo = tmp_path / "fifo.jpg"
    os.mkfifo(fifo)
    with pytest.raises(ChangedError, match="regular"):
        measure_file(str(fifo), LIMITS)


def test_a_folder_is_refused(tmp_path: Path):
    """A folder under an image's name is refused."""
    with pytest.raises(ChangedError, match="regular"):
        measure_file(str(tmp_path), LIMITS)


def test_a_missing_file_is_an_os_error(tmp_path: Path):
    """What the system says about a path is passed on."""
    with pytest.raises(FileNotFoundError):
        measure_file(str(tmp_path / "none"), LIMITS)


def test_a_change_while_reading_is_noticed(good: Path, monkeypatch: pytest.MonkeyPatch):
    """A file written to while it is measured is not judged."""
    decode = decoder.decode

    def decode_while_someone_writes(data, limits):
        with good.open("ab") as file:
            file.write(b"more")
        return decode(data, limits)

    monkeypatch.setattr(measurement.decoder, "decode", decode_while_someone_writes)
    with pytest.raises(ChangedError, match="changed"):
        measure_file(str(good), LIMITS)


def test_too_many_bytes_still_have_a_hash(good: Path):
    """A file too large to be read is recorded with its hash."""
    result = measure_file(str(good), Limits(max_bytes=100))
    assert result.issue == "too_large"
    assert result.sha256 == hashlib.sha256(good.read_bytes()).hexdigest()


def sparse(path: Path, size_bytes: int) -> Path:
    """Make a file that claims a size and has next to nothing on the disk."""
    with path.open("wb") as file:
        file.write(b"\xff\xd8\xff\xe0")
        try:
            file.truncate(size_bytes)
        except OSError as error:
            pytest.skip(f"no such files here: {error.strerror}")
    return path


@pytest.mark.parametrize("size_bytes", [8 << 40, 600 << 20])
def test_a_sparse_file_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int):
    """Holes cost the sender nothing: they are neither read nor hashed, and the detail says how much is there."""
    path = sparse(tmp_path / "1.jpg", size_bytes)
    monkeypatch.setattr(measurement.hashlib, "sha256", None)
    result = measure_file(str(path), LIMITS)
    assert (result.issue, result.sha256) == ("too_large", "")
    assert result.detail.endswith(" MB (limit 537 MB), of which 0 MB are on the disk")
    assert result.identity == FileIdentity.from_stat(path.stat())


def test_what_takes_too_long_to_hash_is_given_up(good: Path):
    """A real file too large for its disk holds nobody up for longer than half of what one image may take."""
    result = measure_file(str(good), Limits(max_bytes=100, cpu_seconds=0))
    assert (result.issue, result.sha256) == ("too_large", "")


def test_a_file_that_is_not_to_be_decoded_is_only_hashed(good: Path, monkeypatch: pytest.MonkeyPatch):
    """The fingerprint needs no decoder and no limit of memory."""
    monkeypatch.setattr(measurement, "measure_bytes", None)
    result = fingerprint_file(str(good))
    assert result.sha256 == hashlib.sha256(good.read_bytes()).hexdigest()
    assert result.identity == FileIdentity.from_stat(good.stat())


def test_a_decoders_bug_costs_one_image(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    """An unexpected exception is recorded by its name, and its traceback logged."""

    def broken(data, limits):
        raise RuntimeError("bug")

    monkeypatch.setattr(measurement.decoder, "decode", broken)
    result = measure_bytes(b"x", LIMITS)
    assert (result.issue, result.detail) == ("corrupt", "could not be measured: RuntimeError")
    assert "Traceback" in caplog.text


def test_an_image_that_takes_too_much_memory_is_too_large(monkeypatch: pytest.MonkeyPatch):
    """A memory limit that is hit says something of the size, not that the file is broken."""

    def greedy(data, limits):
        raise MemoryError

    monkeypatch.setattr(measurement.decoder, "decode", greedy)
    assert measure_bytes(b"x", LIMITS).issue == "too_large"


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 500), (7, 9), (16, 16), (31, 33), (500, 3)])
def test_tiny_images_are_measured(size: tuple[int, int]):
    """However small, an image is an image, if it has more than one colour."""
    result = measure_bytes(png(photo(64, 64)[: size[1], : size[0]].repeat(8, 1)[:, : size[0]]), LIMITS)
    assert (result.measures is not None) == (result.issue != "blank")
    assert result.issue == ("blank" if size in {(1, 1), (2, 1)} else "")


def test_the_same_bytes_give_the_same_measures():
    """Measuring is deterministic."""
    data = jpeg(photo(320, 240))
    assert measure_bytes(data, LIMITS).measures == measure_bytes(data, LIMITS).measures


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_random_damage_is_survived(image_format: str):
    """Whatever bytes are changed, the result is measures or an issue."""
    data = encoded(Image.fromarray(photo(80, 60)), image_format)
    rng = random.Random(1)  # noqa: S311 - damage, not a secret
    for _ in range(40):
        damaged = bytearray(data)
        for _ in range(rng.randint(1, 12)):
            damaged[rng.randrange(len(data))] = rng.randrange(256)
        result = measure_bytes(bytes(damaged), LIMITS)
        assert (result.measures is None) == bool(result.issue)


WORKER = """
import sys
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.measurement import measure_bytes, prepare_worker
prepare_worker()
data = sys.stdin.buffer.read()
print(measure_bytes(data[:len(data) * 2 // 3], Limits()).issue)
"""


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"])
def test_a_worker_keeps_quiet_about_bad_files(image_format: str):
    """Decoders in a worker write nothing to stderr: the issue says what is wrong."""
    options = {"compression": "tiff_lzw"} if image_format == "TIFF" else {}
    data = encoded(Image.fromarray(photo(80, 60)), image_format, **options)
    done = subprocess.run([sys.executable, "-c", WORKER], input=data, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"corrupt\n", b"")


HOSTILE = corpus("hostile")


@pytest.mark.skipif(not HOSTILE.is_dir(), reason=WHY_SKIPPED)
def test_hostile_files_give_sane_results():
    """Corrupt, truncated, fuzzed files and bombs give measures or an issue, and none goes on for ever."""
    for path in sorted(HOSTILE.iterdir()):
        result = measure_file(str(path), LIMITS)
        assert (result.measures is None) == bool(result.issue), path.name


@pytest.mark.parametrize(("width", "height"), [(70_000, 1), (100_000, 2), (400_000, 8), (2, 100_000)])
def test_a_strip_of_any_length_is_measured(width: int, height: int):
    """Images of which the longer side is thousands of times the shorter are small, not damaged."""
    strip = Image.new("L", (width, height), 90)
    strip.paste(200, (0, 0, width // 2, height // 2 or height))
    found = measure_bytes(encoded(strip, "TIFF"), LIMITS)
    assert (found.issue, found.detail) == ("", "")
    assert found.measures is not None
