"""The real `audit archive` beside the real daemon."""

import pytest

from tests.e2e.daemon_process import command, wait_until
from tests.helpers.images import blurred, jpeg, photo

pytest.importorskip("pyarrow", reason="needs the extra parquet")


def test_archiving_beside_a_daemon_loses_nothing(ingest):
    """While the daemon files images the old part goes to an archive; reports count all, and nothing contradicts."""
    made = ingest()
    made.start()
    for number in range(6):
        made.put(f"cat/{number}.jpg", jpeg(photo(320, 240, seed=number)))
    made.put("cat/bad.jpg", jpeg(blurred(photo(320, 240, seed=50), 5)))
    made.wait_for_decisions(7)
    counted = command("audit", "archive", "--config", made.config_file, "--older-than", "0m")
    assert (counted.returncode, "6 decisions would leave the log" in counted.stdout) == (0, True), counted.stderr
    assert "Nothing was done" in counted.stderr
    for number in range(6, 12):
        made.put(f"cat/{number}.jpg", jpeg(photo(320, 240, seed=number)))
    result = command("audit", "archive", "--config", made.config_file, "--older-than", "0m", "--yes")
    assert result.returncode == 0, result.stderr
    wait_until(lambda: len(made.events("accepted")) == 12, "all are filed")
    made.put("cat/last.jpg", jpeg(photo(320, 240, seed=99)))
    assert command("quarantine", "release", "--config", made.config_file, "--path", "cat/bad.jpg").returncode == 0
    assert made.stop() == 0
    command("run", "--config", made.config_file, "--once")
    verified = command("verify", "--config", made.config_file)
    assert verified.returncode == 0, verified.stdout
    assert "14 images judged" in command("report", "--config", made.config_file).stdout
    [folder] = (made.root / "archive").iterdir()
    assert command("audit", "check", folder.parent).returncode == 0
    listed = command("export", "--config", made.config_file, "--to", "list")
    assert (listed.returncode, len(listed.stdout.splitlines())) == (0, 14), listed.stderr
    (folder / "chain.parquet").write_bytes(b"x")
    assert command("audit", "check", folder).returncode == 65
    assert command("audit", "check", made.root).returncode == 65


def test_what_makes_no_sense_is_told(ingest):
    """An age that is none, nothing old enough, a folder among the images."""
    made = ingest()
    made.put("cat/1.jpg", jpeg(photo(320, 240, seed=1)))
    command("run", "--config", made.config_file, "--once")
    for arguments, code, words in (
        (("--older-than", "soon"), 64, "is not a time"),
        (("--older-than", "400d"), 0, "Nothing that old"),
        (("--older-than", "0m", "--to", made.inbox), 64, "--to"),
    ):
        result = command("audit", "archive", "--config", made.config_file, *arguments)
        assert (result.returncode, words in result.stdout + result.stderr) == (code, True), result.stderr
        assert not (made.root / "archive").exists()
