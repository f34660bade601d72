"""The real `quarantine` commands on what the real daemon rejected."""

import json
import os
import sqlite3

import pytest

from tests.e2e.daemon_process import command, wait_until
from tests.helpers.images import blurred, jpeg, photo


def put_rejected(made, count=3, start=0):
    """Let blurred images arrive, each with a label."""
    for number in range(start, start + count):
        (made.inbox / "lynx").mkdir(exist_ok=True)
        (made.inbox / f"lynx/{number}.txt").write_text(f"label {number}")
        made.put(f"lynx/{number}.jpg", jpeg(blurred(photo(320, 240, seed=number), 5)))


@pytest.fixture
def made(ingest):
    """A root in which the daemon has rejected three images and accepted one."""
    one = ingest(intake={"sidecars": True})
    put_rejected(one)
    one.put("cat/good.jpg", jpeg(photo(320, 240, seed=77)))
    command("run", "--config", one.config_file, "--once")
    assert len(one.decisions()) == 4
    return one


def quarantine(made, *arguments, **kwargs):
    """Run a command of the group."""
    verb, *rest = arguments
    return command("quarantine", verb, "--config", made.config_file, *rest, **kwargs)


def listed(made, *options):
    """Give the images that `list` shows."""
    return json.loads(quarantine(made, "list", "--format", "json", *options).stdout)["images"]


def labelled_images(folder):
    """Give the names of images that have their label beside them."""
    return sorted(path.name for path in folder.rglob("*.jpg") if path.with_suffix(".txt").exists())


def test_release_and_undo_beside_a_running_daemon(made):
    """While a daemon files images, others are released and taken back; nothing is lost and the chain holds."""
    made.start()
    put_rejected(made, 10, start=10)
    result = quarantine(made, "release", "--class", "lynx", "--limit", 2, "--yes", "--why", "fine")
    assert (result.returncode, "2 images" in result.stderr) == (0, True)
    made.wait_for_decisions(14)
    assert quarantine(made, "release", "--class", "lynx", "--yes").returncode == 0
    assert len(labelled_images(made.accepted)) == 13
    assert quarantine(made, "undo", "--all", "--yes").returncode == 0
    assert len(labelled_images(made.quarantine)) == 13
    verified = command("verify", "--config", made.config_file)
    assert (verified.returncode, made.stop()) == (0, 0), verified.stdout


def test_rejecting_accepted_images_beside_a_running_daemon(made):
    """While a daemon files images, accepted ones are rejected by a person and taken back; the chain holds."""
    made.start()
    for number in range(6):
        (made.inbox / "cat").mkdir(exist_ok=True)
        (made.inbox / f"cat/{number}.txt").write_text(f"label {number}")
        made.put(f"cat/{number}.jpg", jpeg(photo(320, 240, seed=100 + number)))
    made.wait_for_decisions(10)
    result = quarantine(made, "reject", "--class", "cat", "--yes", "--why", "wrong animal")
    assert (result.returncode, "7 images" in result.stderr) == (0, True), result.stderr
    assert len(labelled_images(made.quarantine)) == 9
    verified = command("verify", "--config", made.config_file)
    assert verified.returncode == 0, verified.stdout
    made.put("cat/good.txt", b"a late label")  # it follows its image to where a person sent it
    wait_until((made.quarantine / "cat/good.txt").exists, "the label follows")
    softer = [f"--set={name}_score=0" for name in ("blur", "resolution", "noise", "exposure", "compression")]
    rejudged = command("rejudge", "--config", made.config_file, *softer, "--state", "all", "--yes")
    assert "3 would be accepted" in rejudged.stderr, "what a person rejected is not judged again"
    assert quarantine(made, "undo", "--action", "reject", "--yes").returncode == 0
    assert len(labelled_images(made.accepted / "cat")) == 7
    verified = command("verify", "--config", made.config_file)
    assert (verified.returncode, made.stop()) == (0, 0), verified.stdout


def test_verifying_beside_reviews_finds_nothing(made):
    """Files that a command is moving, and files that it has moved, are no discrepancies."""
    made.start()
    for verb in ("release", "undo", "release"):
        result = quarantine(made, verb, "--all", "--yes")
        assert result.returncode == 0, result.stderr
        verified = command("verify", "--config", made.config_file)
        assert verified.returncode == 0, verified.stdout
    assert made.stop() == 0


def test_a_log_that_cannot_be_used_is_told(made, tmp_path):
    """Newer, damaged, locked, missing or empty: a sentence and its exit code, and no file moves."""
    database = made.root / "audit.db"
    connection = sqlite3.connect(database)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    result = quarantine(made, "release", "--all", "--yes")
    assert (result.returncode, "newer version" in result.stderr) == (69, True), result.stderr
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("DELETE FROM alembic_version")
    connection.execute("INSERT INTO alembic_version VALUES ('0005')")
    connection.execute("BEGIN EXCLUSIVE")
    result = quarantine(made, "release", "--id", 1)
    assert result.returncode == 75, result.stderr
    connection.close()
    assert len(labelled_images(made.quarantine)) == 3
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(database.read_bytes()[:8192] + os.urandom(8192))
    for path, code in ((damaged, 69), (tmp_path / "none.db", 66)):
        result = command("quarantine", "list", "--db", path)
        assert (result.returncode, "Traceback" in result.stderr) == (code, False), result.stderr
    empty = tmp_path / "empty"
    command("run", empty, "--once")
    assert "No images match" in command("quarantine", "list", empty).stdout


def test_reviews_feed_report_and_calibrate(made):
    """The report says how many rejections were right, and released images count as good ones for `calibrate`."""
    first, second, third = (image["id"] for image in listed(made))
    quarantine(made, "confirm", "--id", first, "--id", second)
    quarantine(made, "release", "--id", third)
    text = command("report", "--config", made.config_file).stdout
    assert "2 of 3 reviewed rejections were right (66.7 %" in text
    report = json.loads(command("report", "--config", made.config_file, "--format", "json").stdout)
    assert (report["reviewed"]["right"], report["reviewed"]["wrong"]) == (2, 1)
    assert (report["total"], report["accepted"], report["quarantined"]) == (4, 1, 3)  # a release is no new decision
    folder = made.root / "good"
    folder.mkdir()
    for number in range(9):
        (folder / f"{number}.jpg").write_bytes(jpeg(photo(320, 240, seed=200 + number)))
    alone = command("calibrate", folder)
    assert alone.returncode == 66  # nine are one too few
    together = command("calibrate", folder, "--reviews", made.root, "--format", "json")
    assert together.returncode == 0, together.stderr
    assert "1 released or approved count as good, 2 confirmed or rejected as bad" in together.stderr


def test_a_late_label_follows_its_released_image(made):
    """A label that arrives after the release goes to where the image is."""
    (made.inbox / "lynx").mkdir(exist_ok=True)
    made.put("lynx/late.jpg", jpeg(blurred(photo(320, 240, seed=90), 5)))
    made.start()
    made.wait_for_decisions(5)
    quarantine(made, "release", "--path", "lynx/late.jpg")
    made.put("lynx/late.txt", b"a late label")
    wait_until((made.accepted / "lynx/late.txt").exists, "the label follows")
    assert made.stop() == 0
    assert command("verify", "--config", made.config_file).returncode == 0


def test_rejudging_beside_a_daemon(made):
    """Other thresholds release what they accept while the daemon goes on by its own; one command takes it back."""
    made.start()
    softer = [f"--set={name}_score=0" for name in ("blur", "resolution", "noise", "exposure", "compression")]
    counted = command("rejudge", "--config", made.config_file, *softer)
    assert (counted.returncode, "3 would be accepted" in counted.stderr) == (0, True), counted.stderr
    assert len(labelled_images(made.quarantine)) == 3
    assert command("rejudge", "--config", made.config_file, *softer, "--yes").returncode == 0
    put_rejected(made, 1, start=20)
    made.wait_for_decisions(5)
    assert len(labelled_images(made.accepted)) == 3
    assert quarantine(made, "undo", "--action", "rejudge", "--yes").returncode == 0
    assert len(labelled_images(made.quarantine)) == 4
    assert made.stop() == 0
    assert command("verify", "--config", made.config_file).returncode == 0
