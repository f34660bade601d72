"""`scan` with real images, real processes and real signals."""

import csv
import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from imageguard_daemon import validate
from tests.e2e.daemon_process import COMMAND, command, wait_until
from tests.helpers.images import blurred, jpeg, photo

ODD_NAME = "dog/=1+1\x1b[31m\nx\udcff.jpg"


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes, one of them mostly blurred, with all that lies about in folders."""
    folder = tmp_path_factory.mktemp("originals") / "data"
    for name in ("cat/deep", "dog", ".hidden"):
        (folder / name).mkdir(parents=True)
    for number in range(12):
        good = photo(280, 200, number)
        (folder / ("cat/deep" if number % 2 else "cat") / f"{number}.jpg").write_bytes(jpeg(good))
        (folder / "dog" / f"{number}.jpg").write_bytes(jpeg(blurred(good, 6) if number else good))
    (folder / ODD_NAME).write_bytes(jpeg(good)[:1500])
    (folder / "notes.txt").write_text("none of our business")
    (folder / ".hidden" / "1.jpg").write_bytes(jpeg(good))
    (folder / "cat/link.jpg").symlink_to(folder / "cat/0.jpg")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.jpg")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave nothing in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def data(originals: Path, tmp_path: Path) -> Path:
    """A copy that a test may do with what it likes."""
    return Path(shutil.copytree(originals, tmp_path / "data", symlinks=True, ignore=shutil.ignore_patterns("pipe.jpg")))


def _scan(*arguments: object, **options) -> subprocess.CompletedProcess[str]:
    return command("scan", *arguments, "--workers", 2, **options)


def _rows(path: Path) -> dict[str, dict]:
    return {row["path"]: row for row in map(json.loads, path.read_text().splitlines())}


def _state_of(folder: Path) -> dict[str, tuple[int, int, str]]:
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def test_a_scan_judges_as_the_library_does_and_touches_nothing(originals, tmp_path):
    """CSV, JSON lines and Parquet have one row for each image with `validate`'s verdict; the folder is as before."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    before = _state_of(originals)
    outputs = [word for form in ("csv", "jsonl", "parquet") for word in (f"--{form}", tmp_path / f"out.{form}")]
    made = _scan(originals, *outputs, "--set", "blur_score=45")
    assert made.returncode == 0, made.stderr
    assert _state_of(originals) == before
    with (tmp_path / "out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[:4] == ["path", "score", "issues", "reason"]
    rows = _rows(tmp_path / "out.jsonl")
    assert len(rows) == len(table) == 25
    assert {row["path"]: row for row in parquet.read_table(tmp_path / "out.parquet").to_pylist()} == rows
    assert {row["path"]: row["reason"] for row in table} == {path: row["reason"] for path, row in rows.items()}
    for name in ("cat/0.jpg", "dog/0.jpg", "dog/7.jpg"):
        row, expected = rows[str(originals / name)], validate(originals / name, thresholds={"blur_score": 45})
        assert (row["score"], row["issues"], row["reason"]) == (expected.score, list(expected.issues), expected.reason)
        assert row["blur_score"] == expected.scores["blur_score"]


def test_the_summary_tells_what_report_would(originals):
    """Totals, classes, findings and the worst images, for people within 80 columns and for programs; names are safe."""
    told = _scan(originals)
    assert told.returncode == 0, told.stderr
    assert f"25 images judged in {originals}" in told.stdout
    assert "13 accepted, 12 rejected" in told.stdout
    assert "- Class 'dog': 12 of 13 images were rejected (92.3 %)" in told.stdout
    assert r"=1+1\u001b[31m\u000ax\xff.jpg:corrupt:" in "".join(told.stdout.split())  # wherever its lines break
    assert "\x1b" not in told.stdout + told.stderr
    for left in (
        "2 left out: symbolic link",
        "1 left out: without an image extension",
    ):  # hidden ones are not looked at
        assert left in told.stderr
    made = json.loads(_scan(originals, "--format", "json").stdout)
    assert (made["total"], made["rejected"], made["known_from_earlier"]) == (25, 12, 25)
    assert {finding["kind"] for finding in made["findings"]} >= {"class_consistently_rejected", "mostly_blurry"}
    assert made["left_out"]["neither file nor folder (pipe, socket, device)"] == 1


def test_a_pipeline_can_fail_on_rejected_images(data, tmp_path):
    """Exit code 1 says that something was rejected, and only with --fail-on-reject; --only writes those alone."""
    arguments = (data, "--jsonl", tmp_path / "bad.jsonl", "--only", "rejected", "--fail-on-reject")
    assert _scan(*arguments).returncode == 1
    assert {row["verdict"] for row in _rows(tmp_path / "bad.jsonl").values()} == {"quarantined"}
    assert len(_rows(tmp_path / "bad.jsonl")) == 12
    shutil.rmtree(data / "dog")
    assert _scan(*arguments).returncode == 0
    to_output = _scan(data, "--csv", "-")
    assert to_output.stdout.startswith("path,score,issues,reason,")
    assert len(to_output.stdout.splitlines()) == 13
    assert "12 images judged" in to_output.stderr


def test_a_reader_that_has_seen_enough_is_no_rejection(data):
    """`scan --csv - | head` does not exit with the code that means a rejected image, and prints no traceback."""
    _many(data, 20)
    process = subprocess.Popen(
        [*COMMAND, "scan", str(data), "--csv", "-"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline().startswith(b"path,score,")
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_outputs_in_the_folder_are_no_images(data):
    """Results may lie beside the images, whatever they are called: they are not judged, not now and not next time."""
    for _ in range(2):
        made = _scan(data, "--csv", data / "result.jpg", "--jsonl", data / "dog" / "rows.png")
        assert made.returncode == 0, made.stderr
        assert len(_rows(data / "dog" / "rows.png")) == 25


def _many(folder: Path, copies: int) -> Path:
    for number in range(copies):
        shutil.copytree(folder / "cat", folder / f"more{number}", symlinks=True)
    return folder


def _measured(state: Path) -> int:
    try:
        with sqlite3.connect(f"file:{state}?mode=ro", uri=True) as connection:
            return int(connection.execute("SELECT count(*) FROM measured").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_scan_goes_on_where_it_was(data, tmp_path, number):
    """Killed or asked to stop, it leaves whole rows; the same command measures only the rest, to the same end."""
    _many(data, 16)
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen(
        [*COMMAND, "scan", str(data), "--jsonl", str(out), "--workers", "1"],
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.DEVNULL,
    )
    state = tmp_path / "out.jsonl.state"
    wait_until(lambda: _measured(state) > 0 or process.poll() is not None, "the first measurements")
    process.send_signal(number)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), told
    if number != signal.SIGKILL:
        assert "interrupted; run the same command again to resume" in told
        assert "results so far are in" in told
        assert 0 < len(_rows(tmp_path / "out.jsonl.partial")) < 217
    assert not out.exists()
    again = _scan(data, "--jsonl", out, "--format", "json")
    assert again.returncode == 0, again.stderr
    assert 0 < json.loads(again.stdout)["known_from_earlier"] < 217
    rows = _rows(out)
    assert len(rows) == 217
    for copy in range(16):  # each judged in its own run, and all alike
        assert rows[str(data / f"more{copy}/4.jpg")]["score"] == rows[str(data / "cat/4.jpg")]["score"]


def test_a_folder_that_goes_away_meanwhile_takes_no_results_away(data, tmp_path):
    """An unmounted disk is no smaller data set: the scan says so, and what an earlier one found stays."""
    out = tmp_path / "out.jsonl"
    assert _scan(data, "--jsonl", out).returncode == 0
    before = out.read_bytes()
    _many(data, 16)
    process = subprocess.Popen(
        [*COMMAND, "scan", str(data), "--jsonl", str(out), "--workers", "1", "--fresh"],
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.DEVNULL,
    )
    hidden = tmp_path / ".imageguard-out.jsonl.part"
    wait_until(lambda: hidden.exists() and hidden.stat().st_size, "the first rows")
    data.rename(tmp_path / "away")
    told = process.communicate(timeout=120)[1]
    assert (process.returncode, out.read_bytes()) == (66, before), told
    assert "is no longer the folder that it was" in told
    assert not hidden.exists()


def test_changed_files_are_judged_anew_and_thresholds_cost_nothing(data, tmp_path):
    """A second scan knows all unchanged files, whatever the thresholds, and no changed one."""
    out = tmp_path / "out.jsonl"
    _scan(data, "--jsonl", out)
    (data / "cat/0.jpg").write_bytes(jpeg(blurred(photo(280, 200, 0), 6)))
    made = json.loads(_scan(data, "--jsonl", out, "--set", "blur_score=0", "--format", "json").stdout)
    assert (made["known_from_earlier"], made["total"]) == (24, 25)
    assert _rows(out)[str(data / "cat/0.jpg")]["blur_score"] < 20
    assert _rows(out)[str(data / "dog/7.jpg")]["reason"] != "blurry"
    assert json.loads(_scan(data, "--jsonl", out, "--fresh", "--format", "json").stdout)["known_from_earlier"] == 0


def test_moving_files_by_the_daemons_own_rules(data, tmp_path):
    """--move files every image with intent and outcome; the log agrees with the folders, and other files stay."""
    before = sorted(sha256 for _, _, sha256 in _state_of(data).values())
    destination = tmp_path / "filed"
    made = _scan(data, "--move", destination, "--csv", tmp_path / "moved.csv", "--config", _quick(tmp_path))
    assert made.returncode == 0, made.stderr
    assert "13 accepted, 12 rejected; moved to" in made.stdout
    assert set(_state_of(data)) == {"notes.txt", ".hidden/1.jpg"}
    after = [*_state_of(data).values(), *_filed(destination)]
    assert sorted(sha256 for _, _, sha256 in after) == before
    assert command("verify", destination).returncode == 0
    with (tmp_path / "moved.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 25
    good = next(row for row in rows if row["path"] == str(data / "cat/0.jpg"))
    assert Path(good["destination"]) == destination / "accepted/cat/0.jpg"
    assert json.loads(command("report", destination, "--format", "json").stdout)["quarantined"] == 12


def _quick(tmp_path: Path) -> Path:
    path = tmp_path / "quick.yaml"
    path.write_text("intake: {settle_seconds: 0.2}")
    return path


def _filed(destination: Path) -> list[tuple[int, int, str]]:
    return [file for name in ("accepted", "quarantine") for file in _state_of(destination / name).values()]


def test_a_move_that_is_killed_is_finished_by_the_next(data, tmp_path):
    """SIGKILL in the middle of --move loses and doubles nothing: the same command goes on."""
    _many(data, 40)
    before = sorted(sha256 for _, _, sha256 in _state_of(data).values())
    destination, config = tmp_path / "filed", _quick(tmp_path)
    arguments = ["scan", str(data), "--move", str(destination), "--config", str(config), "--workers", "2"]
    process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lambda: list((destination / "accepted").rglob("*.jpg")) or process.poll() is not None, "the first move")
    process.kill()
    assert process.wait(60) == -signal.SIGKILL
    assert set(_state_of(data)) > {"notes.txt", ".hidden/1.jpg"}
    again = command(*arguments)
    assert again.returncode == 0, again.stderr
    after = [*_state_of(data).values(), *_filed(destination)]
    assert sorted(sha256 for _, _, sha256 in after) == before
    assert command("verify", destination).returncode == 0


def test_links_are_made_and_the_files_stay(data, tmp_path):
    """--link makes a tree of links by verdict with a record of it; the files are as before."""
    before = _state_of(data)
    made = _scan(data, "--link", tmp_path / "links")
    assert made.returncode == 0, made.stderr
    assert _state_of(data) == before
    links = tmp_path / "links"
    rows = _rows(links / "scan.jsonl")
    assert len(rows) == len([path for path in links.rglob("*") if path.is_symlink()]) == 25
    assert Path(rows[str(data / "cat/0.jpg")]["destination"]).samefile(data / "cat/0.jpg")
    again = json.loads(_scan(data, "--link", links, "--set", "blur_score=0", "--format", "json").stdout)
    assert again["known_from_earlier"] == 25
    assert len([path for path in (links / "quarantine").rglob("*") if path.is_symlink()]) == again["rejected"]


@pytest.mark.parametrize("option", ["--csv", "--parquet", "--link"])
def test_a_second_scan_into_the_same_place_is_refused(data, tmp_path, option):
    """Two at once: the second ends with 75 and has touched nothing, the first comes to its end."""
    if option == "--parquet":
        pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    _many(data, 8)
    place = tmp_path / "place"
    arguments = ["scan", str(data), option, str(place), "--workers", "1"]
    first = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
    begun = place / "scan.lock" if option == "--link" else tmp_path / ".imageguard-place.part"
    wait_until(lambda: begun.exists() or first.poll() is not None, "the first scan begins")
    first.send_signal(signal.SIGSTOP)  # or it might be at its end before the second has begun
    other = _scan(data, option, place, "--jsonl", tmp_path / "other")
    first.send_signal(signal.SIGCONT)
    told = first.communicate(timeout=150)[1]
    assert first.returncode == 0, told
    assert (other.returncode, "another" in other.stderr) == (75, True), other.stderr
    assert not list(tmp_path.glob("*other*"))


def test_an_empty_folder_is_told_and_takes_no_results_away(data, tmp_path):
    """A pipeline whose images went missing, as with a disk that is not mounted, does not pass; what it had stays."""
    assert _scan(data, "--csv", tmp_path / "out.csv").returncode == 0
    before = (tmp_path / "out.csv").read_bytes()
    (tmp_path / "empty").mkdir()
    result = _scan(tmp_path / "empty", "--csv", tmp_path / "out.csv")
    assert result.returncode == 66
    assert "no images in" in result.stderr
    assert (tmp_path / "out.csv").read_bytes() == before


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_report_on_results_is_what_the_scan_told(data: Path, tmp_path: Path, ending: str) -> None:
    """Whichever form they have and whatever they are called: the same numbers and findings, odd names included."""
    results = tmp_path / "verdicts"
    told = json.loads(_scan(data, f"--{ending}", results, "--format", "json").stdout)
    again = json.loads(command("report", "--from", results, "--format", "json").stdout)
    assert again == told | {"folder": str(results), "left_out": {}, "known_from_earlier": 0, "code": None}
    table = command("report", "--from", results, "--by", "reason").stdout
    assert f"{told['total']} images judged in" in table
    assert "Rejected, the worst 10 of" in table
    rows = command("report", "--from", results, "--format", "csv", "--by", "class,reason").stdout.splitlines()
    assert rows[0].startswith("class,reason,total,rejected")


def test_a_report_takes_nothing_for_results_that_no_scan_has_written(data: Path, tmp_path: Path) -> None:
    """Labels, half of a file, what an interrupted scan left, and options that need a log are told, never counted."""
    results, labels = tmp_path / "verdicts.csv", tmp_path / "labels.csv"
    assert _scan(data, "--csv", results).returncode == 0
    labels.write_text("path,label\n1.jpg,cat\n")
    half = tmp_path / "half.csv"
    half.write_bytes(results.read_bytes()[:-200])
    for wrong, code in ((labels, 66), (half, 66), (tmp_path / "missing.csv", 66), (data, 66)):
        answer = command("report", "--from", wrong)
        assert (answer.returncode, answer.stdout) == (code, ""), answer.stderr
    for options in (("--since", "7d"), ("--camera", "x"), ("--by", "day"), ("--format", "html"), ("--db", results)):
        answer = command("report", "--from", results, *options)
        assert answer.returncode == 64, answer.stderr
