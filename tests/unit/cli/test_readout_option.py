"""A readout that cannot be used ends each command with a sentence, before anything is made or moved."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from imageguard_daemon import validate
from imageguard_daemon.batch import folder_move, folder_scan
from imageguard_daemon.batch.folder_move import Move
from imageguard_daemon.cli import calibrate
from imageguard_daemon.cli.app import app
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.quality import validation
from imageguard_daemon.quality.readout import readout_of
from imageguard_daemon.sandbox import workers
from tests.helpers.images import jpeg, photo
from tests.helpers.readouts import write_readout

CONFIGURED = (
    ["scan", "good"],
    ["scan", "good", "--move", "moved"],
    ["backfill", "--manifest", "list", "--out", "out"],
    ["calibrate", "good"],
    ["simulate", "root"],
    ["rejudge", "root"],
)
NAMED = (
    ["check", "good/1.jpg"],
    ["scan", "good"],
    ["backfill", "--manifest", "list", "--out", "out"],
    ["calibrate", "good"],
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good image, a readout that calls everything worse, and a configuration that names it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "good/1.jpg").write_bytes(jpeg(photo(280, 200)))
    (tmp_path / "list").write_text("good/1.jpg\n")
    write_readout(tmp_path / "own.npz")
    (tmp_path / "config.yaml").write_text("root: root\nscoring: {readout: ../own.npz}\n")
    return tmp_path


def _told(arguments: list[str]) -> tuple[int, str]:
    result = CliRunner().invoke(app, arguments)
    error = result.exception
    if isinstance(error, ImageguardError):
        return error.exit_code, str(error)
    return result.exit_code, result.stderr


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_one_that_cannot_be_used_ends_each_command_with_a_sentence(folder: Path, damage: str) -> None:
    """66 for one that is not there; for a damaged one 78, or 64 where the command line names it."""
    own = folder / "own.npz"
    if damage == "missing":
        own.unlink()
    else:
        own.write_bytes(own.read_bytes()[:1000])
    before = sorted(folder.rglob("*"))
    cases = [([*words, "--config", "config.yaml"], 78, "scoring.readout: ") for words in CONFIGURED]
    cases += [([*words, "--readout", "own.npz"], 64, "--readout: ") for words in NAMED]
    for arguments, code, word in [*cases, (["config", "check", "config.yaml"], 78, "scoring.readout: ")]:
        found, told = _told(arguments)
        assert found == (66 if damage == "missing" else code), (arguments, told)
        assert word in told, (arguments, told)
        assert ("cannot read" if damage == "missing" else "is not a readout") in told, (arguments, told)
    assert sorted(folder.rglob("*")) == before


def test_a_run_goes_on_by_what_it_has_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A readout that is replaced while a scan or a calibration looks at the folder changes nothing of it."""
    own = folder / "own.npz"
    name, content, before = readout_of(str(own)).identity, own.read_bytes(), folder_scan.version_of

    def replacing(*asked: Any) -> str:
        own.write_bytes(b"none")
        return before(*asked)

    monkeypatch.setattr(folder_scan, "version_of", replacing)
    made = CliRunner().invoke(app, ["scan", "good", "--readout", "own.npz", "--jsonl", "out.jsonl", "--workers", "1"])
    assert made.exit_code == 0, made.stderr
    assert json.loads((folder / "out.jsonl").read_text())["scorer_version"] == name

    def images(*_: Any) -> list[list[str]]:
        own.write_bytes(b"none")
        return [["good/1.jpg"]]

    own.write_bytes(content)
    asked: list[str] = []
    monkeypatch.setattr(calibrate, "_images_of", images)
    monkeypatch.setattr(
        workers, "measure_files", lambda _, by, *, readout: asked.append((by.readout, readout.identity)) or ()
    )
    assert "0 different good images" in _told(["calibrate", "good", "--readout", "own.npz"])[1]
    assert asked == [(own, name)]


def test_check_looks_at_all_images_by_what_it_has_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A readout that is replaced or gone between two images changes nothing of the second; a pipe hides no image."""
    name, measured = readout_of(str(folder / "own.npz")).identity, validation._measure
    os.mkfifo(folder / "pipe")
    (folder / "2.jpg").write_bytes((folder / "good/1.jpg").read_bytes())

    def replacing(*asked: Any) -> Any:
        (folder / "own.npz").unlink(missing_ok=True)
        return measured(*asked)

    monkeypatch.setattr(validation, "_measure", replacing)
    made = CliRunner().invoke(app, ["check", "good/1.jpg", "pipe", "2.jpg", "--readout", "own.npz", "-f", "json"])
    assert (made.exit_code, "error: pipe: not a regular file" in made.stderr) == (66, True)
    assert [one["scorer_version"] for one in json.loads(made.stdout)] == [name] * 2


def test_a_folder_is_moved_by_what_was_read_once_whatever_becomes_of_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is replaced before the daemon starts, or gone once all is filed, changes no verdict and no number.

    What was moved can be reviewed without a configuration.
    """
    own, move = folder / "own.npz", folder_move.Move.run
    name = readout_of(str(own)).identity

    def gone(self: Move) -> int:
        write_readout(own, moved=-0.4)
        code = move(self)
        own.unlink()
        return code

    monkeypatch.setattr(folder_move.Move, "run", gone)
    arguments = [
        "scan",
        "good",
        "--move",
        "moved",
        "--jsonl",
        "out.jsonl",
        "--config",
        "quick.yaml",
        "--format",
        "json",
    ]
    (folder / "quick.yaml").write_text("root: root\nintake: {settle_seconds: 0.2}\nscoring: {workers: 1}\n")
    made = CliRunner().invoke(app, [*arguments, "--readout", "own.npz"])
    assert made.exit_code == 0, (made.exception, made.stderr)
    assert (json.loads(made.stdout)["scorer_version"], own.exists()) == (name, False)
    assert json.loads((folder / "out.jsonl").read_text())["scorer_version"] == name
    released = CliRunner().invoke(app, ["quarantine", "release", "moved", "--all", "--yes"])
    assert (released.exit_code, (folder / "moved/accepted/1.jpg").exists()) == (0, True), released.output
    released = CliRunner().invoke(app, ["quarantine", "release", "moved", "--all", "--yes"])
    assert (released.exit_code, (folder / "moved/accepted/1.jpg").exists()) == (0, True), released.output


def test_a_good_one_is_right_and_counts(folder: Path) -> None:
    """`config check` finds nothing, its path is relative to the root, and `check` looks by it."""
    assert _told(["config", "check", "config.yaml"])[0] == 0
    made = CliRunner().invoke(app, ["check", "good/1.jpg", "--readout", "own.npz", "--format", "json"])
    [told] = json.loads(made.stdout)
    expected = validate(folder / "good/1.jpg", readout=folder / "own.npz")
    assert (told["scorer_version"], told["ok"]) == (expected.scorer_version, False)
