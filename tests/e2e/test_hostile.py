"""The real daemon with hostile surroundings: kernels that lack protection, no network, bombs, mutants."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

from tests.e2e.daemon_process import COMMAND, command, wait_until
from tests.helpers.images import encoded, jpeg, photo

GOOD = jpeg(photo(200, 150))
ROOT = Path(__file__).resolve().parents[2]


def test_without_landlock_it_warns_and_works_on(ingest):
    """A kernel that lacks Landlock is told at the start and by `status`, and images are judged all the same."""
    one = ingest()
    one.put("cat/good.jpg", GOOD)
    wrapped = [sys.executable, "-m", "tests.helpers.without_landlock", *COMMAND, "run", "--config", one.config_file]
    with one.log_file.open("ab") as log:
        one.process = subprocess.Popen(wrapped, stderr=log, stdout=log, cwd=ROOT)
    assert [row["reason"] for row in one.wait_for_decisions(1)] == ["low_resolution"]
    assert "Landlock" in one.events("image decoders are not fully confined")[0]["lacking"]
    wait_until(lambda: "image decoders lack Landlock" in command("status", "--config", one.config_file).stdout, "told")
    assert one.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a network namespace")
def test_it_needs_no_network(ingest):
    """In a network namespace without any interface it starts, judges and stops as ever."""
    one = ingest()
    one.put("cat/good.jpg", GOOD)
    wrapped = ["unshare", "--net", *COMMAND, "run", "--config", str(one.config_file), "--once"]
    assert subprocess.run(wrapped, capture_output=True, timeout=60, check=False).returncode == 0
    assert len(one.decisions()) == 1
    one.check_books()


def _png_bomb(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = side.to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(50_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _bombs(side: int = 60_000) -> dict[str, bytes]:
    """Give a file of each format that claims `side` x `side` pixels (what its header can hold, for WebP)."""
    little, big = side.to_bytes(4, "little"), side.to_bytes(2, "big")
    good = jpeg(photo(64, 64))
    at = good.index(b"\xff\xc0") + 5
    entry = {
        tag: tag.to_bytes(2, "little")
        + (4).to_bytes(2, "little")
        + (1).to_bytes(4, "little")
        + value.to_bytes(4, "little")
        for tag, value in {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: side, 279: side}.items()
    }
    webp = bytearray(encoded(Image.new("RGB", (64, 64)), "WEBP", lossless=True))
    most = 16_383 - 1  # two sizes less one, of 14 bits each
    webp[21:25] = (most | most << 14).to_bytes(4, "little")
    return {
        "jpeg": good[:at] + big + big + good[at + 4 :],
        "png": _png_bomb(side),
        "gif": b"GIF89a"
        + side.to_bytes(2, "little") * 2
        + bytes(3)
        + b","
        + bytes(4)
        + side.to_bytes(2, "little") * 2
        + b"\0\x08\0;",
        "bmp": b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + little * 2 + b"\x01\0\x18\0" + bytes(24),
        "tif": b"II*\0\x08\0\0\0" + len(entry).to_bytes(2, "little") + b"".join(entry.values()) + bytes(4),
        "webp": bytes(webp),
    }


def test_bombs_of_each_format_are_too_large_in_milliseconds(ingest):
    """A header that claims billions of pixels is `too_large` with the size it claims, before anything is decoded."""
    one = ingest()
    bombs = _bombs()
    for name, data in bombs.items():
        one.put(f"bombs/bomb.{name}", data)
    assert one.start("--once").wait(60) == 0
    rows = {row["relative_path"].rpartition(".")[2]: row for row in one.decisions()}
    assert {name: row["reason"] for name, row in rows.items()} == dict.fromkeys(bombs, "too_large")
    claims = {name: "16383 x 16383 = 268" if name == "webp" else "60000 x 60000 = 3600" for name in bombs}
    assert all(f"{claim} megapixels" in rows[name]["detail"] for name, claim in claims.items())
    assert max(row["duration_ms"] for row in rows.values()) < 100
    one.check_books()


def test_mutants_crash_nothing(tmp_path):
    """Seeded mutants of good files of six formats: no crash, no hang, every file accounted for."""
    result = subprocess.run(
        [sys.executable, "-m", "bench.mutants", "--count", "120", "--json", tmp_path / "figures.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["mutants"], figures["filed"], figures["mishaps"]) == (120, 120, 0)
    assert figures["good_rejected"] == 0


def test_a_suffix_that_lies_is_noted_and_decides_nothing(ingest):
    """A good JPEG called .png is accepted as what it is, and its record says so; honest names get no such note."""
    one = ingest()
    good = jpeg(photo(640, 480), 95)
    one.put("cat/liar.png", good)
    one.put("cat/honest.JPEG", good)
    assert one.start("--once").wait(60) == 0
    details = {row["relative_path"]: (row["verdict"], row["detail"]) for row in one.decisions()}
    assert details["cat/liar.png"] == ("accepted", "named .png, but is JPEG")
    assert details["cat/honest.JPEG"] == ("accepted", "")


CORPUS = ROOT.parent / "shared" / "corpus" / "hostile"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of hostile files is not here")
def test_the_corpus_of_hostile_files_harms_nothing(ingest):
    """Files that broke decoders elsewhere are each decided; no worker is lost, and a good file beside them accepted."""
    one = ingest()
    files = [path for path in sorted(CORPUS.rglob("*")) if path.is_file()]
    for number, path in enumerate(files):
        one.put(f"hostile/{number}{path.suffix if path.suffix != '.pdf' else '.jpg'}", path.read_bytes())
    one.put("cat/good.jpg", jpeg(photo(640, 480), 95))
    assert one.start("--once").wait(150) == 0
    status = json.loads((one.root / ".imageguard" / "status.json").read_text())
    assert status["worker_mishaps"] == 0
    left = [path for path in one.inbox.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert len(one.decisions()) + len(left) == len(files) + 1
    assert len(one.decisions()) > len(files) // 2
    assert [row["verdict"] for row in one.decisions() if row["relative_path"] == "cat/good.jpg"] == ["accepted"]
    one.check_books()
