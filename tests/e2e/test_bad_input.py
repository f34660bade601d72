"""Bad input is the normal case: each kind gets a clear answer, and none stops the others."""

import hashlib
import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.e2e.daemon_process import command
from tests.helpers.images import encoded, jpeg, photo

RGB = photo(400, 300)
GOOD = jpeg(RGB)
SIXTEEN_BIT = cv2.imencode(".png", RGB.astype(np.uint16) * 257)[1].tobytes()
FRAMES = [Image.fromarray(photo(320, 240, seed=seed)) for seed in range(3)]
HUGE = b"BM" + (54).to_bytes(8, "little") + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
HUGE += (100_000).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)

CASES = {
    "truncated.jpg": (GOOD[: len(GOOD) // 2], "corrupt"),
    "text.jpg": (b"<html><body>404 not found</body></html>", "corrupt"),
    "empty.png": (b"", "corrupt"),
    "one_pixel.png": (encoded(Image.new("RGB", (1, 1)), "PNG"), "blank"),
    "bomb.bmp": (HUGE, "too_large"),
    "document.jpg": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(500), "unsupported"),
    "cmyk.jpg": (encoded(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=92), ""),
    "sixteen_bit.png": (SIXTEEN_BIT, ""),
    "animated.webp": (encoded(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:], quality=95), ""),
    "grey.png": (encoded(Image.fromarray(RGB).convert("L"), "PNG"), ""),
    "good.jpg": (GOOD, ""),
}


def test_every_kind_of_bad_file_gets_its_reason_and_stops_no_other(ingest):
    """Broken, empty, tiny, huge and odd files are each decided with a clear reason, good ones beside them accepted."""
    one = ingest()
    for name, (data, _) in CASES.items():
        one.put(f"mixed/{name}", data)
    assert one.start("--once").wait(60) == 0
    reasons = {row["relative_path"].removeprefix("mixed/"): row["reason"] for row in one.decisions()}
    assert reasons == {name: reason for name, (_, reason) in CASES.items()}
    assert all(row["detail"] for row in one.decisions() if row["reason"])
    one.check_books()
    one.put("late/good.jpg", GOOD)
    assert one.start("--once").wait(60) == 0
    assert one.decisions()[-1]["duplicate_of"] is not None


def test_a_senders_checksum_is_held_against_the_image(ingest):
    """A good image whose checksum differs is corrupt, whoever wrote it; one image's own checksum goes with it."""
    one = ingest()
    for name in ("right.jpg", "changed.jpg", "listed.jpg", "changed by list.jpg", "not listed.jpg"):
        one.put(f"cat/{name}", GOOD + name.encode())
    right = hashlib.md5(GOOD + b"right.jpg", usedforsecurity=False).hexdigest()
    (one.inbox / "cat/right.jpg.md5").write_text(f"{right}  right.jpg\n")
    (one.inbox / "cat/changed.jpg.sha256").write_text(f"{hashlib.sha256(GOOD).hexdigest()}  changed.jpg\n")
    listed = hashlib.sha256(GOOD + b"listed.jpg").hexdigest()
    (one.inbox / "cat/SHA256SUMS").write_text(f"{listed}  listed.jpg\n{listed} *changed by list.jpg\nnonsense\n")
    assert one.start("--once").wait(60) == 0
    rows = {row["relative_path"].removeprefix("cat/"): row for row in one.decisions()}
    assert {name for name, row in rows.items() if row["verdict"] == "accepted"} == {
        *("right.jpg", "listed.jpg", "not listed.jpg")
    }
    assert rows["changed.jpg"]["reason"] == rows["changed by list.jpg"]["reason"] == "corrupt"
    assert rows["changed.jpg"]["detail"] == "its SHA-256 is not the one in changed.jpg.sha256"
    assert rows["changed by list.jpg"]["detail"] == "its SHA-256 is not the one in SHA256SUMS"
    assert (one.accepted / "cat/right.jpg.md5").exists()
    assert (one.quarantine / "cat/changed.jpg.sha256").exists()
    assert [path.name for path in one.inbox.rglob("*") if path.is_file()] == ["SHA256SUMS"]
    assert "1 lines are not checksums" in one.log_file.read_text()


def test_check_answers_for_every_kind_of_file(tmp_path):
    """`check` gives a verdict for each file, and says which ones are not there."""
    for name, (data, _) in CASES.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in CASES]
    result = command("check", "--format", "json", *paths, tmp_path / "missing.jpg")
    assert result.returncode == os.EX_NOINPUT
    assert "missing.jpg: No such file or directory" in result.stderr
    assert [entry["reason"] for entry in json.loads(result.stdout)] == [reason for _, reason in CASES.values()]
    assert command("check", *paths).returncode == 0
    assert command("check", "--fail-on-reject", *paths).returncode == 1, "for hooks and pipelines"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--config", "missing.yaml"], os.EX_NOINPUT, "missing.yaml"),
        (["run", "--config", "wrong.yaml"], os.EX_CONFIG, "intake.setle_seconds: unknown setting; did you mean settle"),
        (["run", "--config", "wrong.yaml"], os.EX_CONFIG, "sources[0].preset"),
        (["run", "--config", "elsewhere.yaml"], os.EX_NOINPUT, "not made by themselves"),
        (["run", "file.txt"], os.EX_NOINPUT, "is a file, not a folder; a configuration"),
        (["report", "nowhere"], os.EX_NOINPUT, "does not exist; name the ROOT"),
        (["report", "--since", "yesterdayish", "."], os.EX_USAGE, "7d"),
        (["check", "--preset", "genral", "file.txt"], os.EX_USAGE, "did you mean 'general'"),
        (["check", "--set", "blur=3", "file.txt"], os.EX_USAGE, "unknown threshold 'blur'"),
        (["check"], os.EX_USAGE, "Missing argument"),
        (["nonsense"], os.EX_USAGE, "No such command"),
        (["config", "init", "file.txt"], os.EX_USAGE, "already exists"),
        (["config", "check", "--config", "wrong.yaml"], os.EX_CONFIG, "setle_seconds"),
    ],
)
def test_mistakes_of_the_user_are_told_in_one_message(tmp_path, arguments, code, words):
    """A wrong command line, configuration or folder ends with its exit code, words that help, and no traceback."""
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "wrong.yaml").write_text("intake: {setle_seconds: 3}\nsources: [{preset: nonsense}]\n")
    (tmp_path / "elsewhere.yaml").write_text(f"root: {tmp_path}/r\nsources: [{{inbox: {tmp_path}/not/there}}]\n")
    result = command(*arguments, cwd=tmp_path, env=os.environ | {"COLUMNS": "200"})
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_status_says_what_is_left_and_why(ingest):
    """`status` counts what lies in the inbox, with the reason for everything that is not judged."""
    one = ingest()
    (one.inbox / "notes.md").write_text("x")
    (one.inbox / ".hidden.jpg").write_text("x")
    (one.inbox / "link.jpg").symlink_to("notes.md")
    (one.inbox / "new.jpg").write_bytes(GOOD)
    result = command("status", "--config", one.config_file, "--format", "json")
    found = json.loads(result.stdout)
    assert found["running"] is False
    assert found["inboxes"]["default"]["waiting"] == 1
    assert sum(found["inboxes"]["default"]["left"].values()) == 3
    table = command("status", "--config", one.config_file).stdout
    assert "not running" in table
    assert "symbolic link" in table
