"""`calibrate` with real images, from argv to a configuration that `config check` accepts."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from imageguard_daemon.config_file import parse
from tests.e2e.daemon_process import COMMAND, command, wait_until
from tests.helpers.images import blurred, jpeg, photo


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twelve soft but good images with all that lies about in folders, and six bad ones."""
    root = tmp_path_factory.mktemp("images")
    good, bad = root / "good", root / "bad"
    (good / "deep" / "er").mkdir(parents=True)
    bad.mkdir()
    for number in range(12):
        data = jpeg(blurred(photo(320, 240, number), 2.6 + number * 0.02))
        (good / ("deep/er" if number % 2 else ".") / f"{number}.jpg").write_bytes(data)
    (good / "copy of 0.jpg").write_bytes((good / "0.jpg").read_bytes())
    (good / "broken\n.jpg").write_bytes((good / "0.jpg").read_bytes()[:2000])
    (good / "link.jpg").symlink_to(good / "0.jpg")
    for number in range(6):
        (bad / f"{number}.jpg").write_bytes(jpeg(blurred(photo(320, 240, number), 6)))
    (bad / "also good.jpg").write_bytes((good / "2.jpg").read_bytes())
    return good, bad


def test_what_is_printed_is_a_configuration(folders, tmp_path):
    """Standard output alone is a file that `config check` finds right and that accepts the images it is made from."""
    made = command("calibrate", folders[0], "--max-reject", "0%")
    assert made.returncode == 0, made.stderr
    (tmp_path / "config.yaml").write_text(made.stdout)
    checked = command("config", "check", tmp_path / "config.yaml")
    assert checked.returncode == 0, checked.stderr
    thresholds = parse(made.stdout).sources[0].thresholds
    assert thresholds["blur_score"] < 40
    assert thresholds["noise_score"] == 30
    options = [word for item in thresholds.items() for word in ("--set", "=".join(map(str, item)))]
    judged = json.loads(command("check", folders[0] / "0.jpg", "--format", "json", *options).stdout)
    assert judged[0]["ok"]


def test_the_preview_tells_what_counts_and_what_does_not(folders):
    """Few images, copies, damaged files and links are all told, and names cannot steer the terminal."""
    told = command("calibrate", folders[0], env=os.environ | {"COLUMNS": "200"}).stderr
    assert "warning: 12 good images cannot show a rate below 1 %; it takes 300 or more" in told
    assert "12 good images measured, 1 with equal content left out, 1 that cannot be measured left out" in told
    assert r"broken\u000a.jpg (corrupt: " in told
    assert "1 left out: symbolic link" in told
    assert "preset general: rejects 12 of 12 (100.0 %)" in told
    assert "proposed: rejects 0 of 12" in told


def test_bad_images_are_caught_and_those_in_both_folders_left_out(folders):
    """With --bad the JSON says how many bad ones each set of thresholds catches."""
    made = json.loads(command("calibrate", folders[0], "--bad", folders[1], "--format", "json").stdout)
    assert made["good"]["rejected"]["images"] == 0
    assert (made["bad"]["measured"], made["bad"]["rejected"]["images"]) == (6, 6)
    assert [Path(name).name for name in made["bad"]["in_both_folders"]] == ["also good.jpg"]
    assert made["good"]["measured"] == 11
    assert len(made["signals"]) == 7


def test_a_table_is_for_people_and_csv_for_spreadsheets(folders):
    """The other forms go to standard output whole."""
    assert "signal" in command("calibrate", folders[0], "--format", "table").stdout
    lines = command("calibrate", folders[0], "--format", "csv").stdout.splitlines()
    assert lines[0].startswith("signal,preset_threshold,threshold")
    assert len(lines) == 8


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["{good}/nowhere"], 66, "is not there"),
        (["{good}/0.jpg"], 66, "is a file, not a folder"),
        (["{bad}"], 66, "10 different good images are needed; there are 7"),
        (["{good}", "--bad", "{good}/deep"], 64, "must not be the same or lie in one another"),
        (["{good}", "--max-reject", "1"], 64, "expected a share"),
        (["{good}", "--max-reject", "nan"], 64, "expected a share"),
        (["{good}", "--preset", "genral"], 64, "did you mean 'general'?"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(folders, arguments, code, told):
    """A wrong folder or option ends with its exit code, says why, and prints no configuration."""
    good, bad = folders
    result = command("calibrate", *(word.format(good=good, bad=bad) for word in arguments))
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert told in result.stderr


def _children(process_id: int) -> set[int]:
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split() if entry.name.isdigit() else []
        except OSError:  # ended meanwhile
            continue
        if fields and fields[0] != "Z" and int(fields[1]) == process_id:
            found.add(int(entry.name))
    return found


def test_ctrl_c_ends_it_with_all_its_workers(folders, tmp_path):
    """Interrupted, the command exits 130 without a traceback or a configuration, and leaves no process behind."""
    for number in range(200):
        (tmp_path / f"{number}.jpg").write_bytes((folders[0] / "0.jpg").read_bytes())
    process = subprocess.Popen(
        [*COMMAND, "calibrate", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(_children(process.pid)) > 1, "workers to start")
    time.sleep(0.2)
    children = _children(process.pid)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), err
    assert "Traceback" not in err
    wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "workers to end")
