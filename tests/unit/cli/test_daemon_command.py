"""`run`, `config check` and `web --new-token` with what people type by mistake; `status`."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imageguard_daemon.cli.app import app
from imageguard_daemon.cli.daemon import STALE_SECONDS, _require_meant, status
from imageguard_daemon.cli.options import OutputFormat
from imageguard_daemon.config import STATE_FOLDER
from imageguard_daemon.config_file import load
from imageguard_daemon.core.errors import NoInputError, UnavailableError, UsageError
from imageguard_daemon.core.locks import RootLock
from imageguard_daemon.daemon import status as live
from imageguard_daemon.daemon.forwarder import STATUS_FILE, Forwarding
from imageguard_daemon.daemon.parts import Snapshot
from imageguard_daemon.daemon.status import write


@pytest.mark.parametrize("name", ["1.jpg", "cat/1.PNG"])
def test_a_folder_of_images_is_not_taken_for_a_root(tmp_path: Path, name: str) -> None:
    """`run` would do nothing with them, and leave its folders among them: it names the commands that were meant."""
    image = tmp_path / name
    image.parent.mkdir(exist_ok=True)
    image.touch()
    with pytest.raises(UsageError, match=f"has images, e.g. {name}, but no inbox.*`scan {tmp_path}`"):
        _require_meant(load(None, tmp_path))
    (tmp_path / "inbox").mkdir()
    _require_meant(load(None, tmp_path))


def test_a_mistyped_root_is_not_made_beside_the_one_that_was_meant(tmp_path: Path) -> None:
    """A root that is new is made, one whose name is nearly that of another is asked about."""
    (tmp_path / "ingest/.imageguard").mkdir(parents=True)
    with pytest.raises(NoInputError, match=r"did you mean .*/ingest\?"):
        _require_meant(load(None, tmp_path / "ingset"))
    for name in ("ingest", "photos"):
        _require_meant(load(None, tmp_path / name))


def test_no_token_is_made_for_a_root_that_does_not_exist(tmp_path: Path) -> None:
    """A mistyped root gets no folder, and nobody a token that opens nothing."""
    result = CliRunner().invoke(app, ["web", str(tmp_path / "typo"), "--new-token", "anna"])
    assert isinstance(result.exception, NoInputError), result.output
    assert not (tmp_path / "typo").exists()


def test_the_configuration_to_check_is_named_as_everywhere(tmp_path: Path) -> None:
    """By argument, by --config and by the environment."""
    file = tmp_path / "config.yaml"
    file.write_text("root: here")
    check, valid = ["config", "check"], f"{file} is valid: 1 source, root {tmp_path}/here\n"
    assert CliRunner().invoke(app, [*check, str(file)]).stdout == valid
    assert CliRunner().invoke(app, [*check, "--config", str(file)]).stdout == valid
    assert CliRunner().invoke(app, check, env={"IMAGEGUARD_CONFIG": str(file)}).stdout == valid
    told = CliRunner().invoke(app, check, env={"IMAGEGUARD_CONFIG": None}).exception
    assert isinstance(told, UsageError)


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    """Give the state folder of a root that this process owns, as a daemon does."""
    folder = tmp_path / STATE_FOLDER
    folder.mkdir()
    lock = RootLock(folder)
    yield folder
    lock.release()


def told(process_id: int, seconds_ago: float) -> Snapshot:
    """Give what a daemon said some seconds ago."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return Snapshot(moment.timestamp(), process_id, "watching", moment.isoformat())


def test_a_daemon_that_turns_its_loop_is_alive(locked, capsys):
    """It is told by which process."""
    write(told(os.getpid(), 1.0), locked)
    status(locked.parent, alive=True)
    assert capsys.readouterr().out == f"running (process {os.getpid()})\n"


def test_a_daemon_that_says_nothing_any_more_is_not_alive(locked):
    """One that hangs still owns its root."""
    write(told(os.getpid(), STALE_SECONDS + 5), locked)
    with pytest.raises(UnavailableError, match="hangs"):
        status(locked.parent, alive=True)


def test_moves_that_are_not_settled_are_counted_and_named(locked, capsys):
    """Who asks sees how many moves of earlier runs wait, and what for."""
    why = "/srv/inbox/1.jpg: Permission denied"
    write(replace(told(os.getpid(), 1.0), left_open=2, left_open_examples=(why,)), locked)
    status(locked.parent)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"unfinished 2 moves of an earlier run cannot be settled yet {why}" in shown


@pytest.mark.parametrize(
    ("state", "updated", "next_attempt", "says"),
    [
        ("up to date", 1, None, "up to date, as ingest-7 to db/imageguard"),
        ("up to date", 60, None, "nothing was heard of it since"),
        ("waiting", 60, -60, "next attempt in"),
        ("waiting", 90, 60, "nothing was heard of it since"),
        ("stopped", 60, None, ""),
    ],
)
def test_a_forwarder_is_told_of_without_its_configuration(tmp_path, capsys, state, updated, next_attempt, says):
    """`status ROOT` knows the forwarder of a unit of its own, and one that says nothing any more."""
    (tmp_path / STATE_FOLDER).mkdir()

    def ago(seconds: float | None) -> str:
        return "" if seconds is None else (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()

    told = Forwarding(1, state, "db/imageguard", "ingest-7", ago(updated), next_attempt_at=ago(next_attempt))
    if state == "waiting":
        told = replace(told, last_error="database db/imageguard: it is away", failing_since=ago(300))
    (tmp_path / STATE_FOLDER / STATUS_FILE).write_text(json.dumps(asdict(told)))
    status(tmp_path)
    shown = " ".join(capsys.readouterr().out.split())
    assert says in shown
    assert ("forwarding" in shown, "nothing was heard" in shown) == (says != "", "nothing was heard" in says)


def test_why_the_last_run_ended_is_kept(tmp_path, capsys):
    """With time, exit code and sentence; a run that left none was killed."""
    folder = tmp_path / STATE_FOLDER
    folder.mkdir()
    write(told(7, 60.0), folder)
    status(tmp_path)
    assert "process 7 was killed, or the power failed" in " ".join(capsys.readouterr().out.split())
    live.write_ending(replace(live.ending_of(UnavailableError("the log was removed")), process_id=7), folder)
    status(tmp_path)
    assert "exit code 69: the log was removed" in " ".join(capsys.readouterr().out.split())
    status(tmp_path, output=OutputFormat.json)
    kept = json.loads(capsys.readouterr().out)["last_end"]
    assert (kept["process_id"], kept["exit_code"], kept["why"]) == (7, 69, "the log was removed")
    assert datetime.fromisoformat(kept["at"]).tzinfo


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"at": 1}'])
def test_an_end_that_cannot_be_read_is_none(tmp_path, content):
    """Half a note says nothing."""
    (tmp_path / live.ENDING_FILE).write_text(content)
    assert live.read_ending(tmp_path) is None


def test_a_configuration_that_was_refused_is_shown(locked, capsys):
    """Who reloaded and looked no further learns it here, before the next start fails."""
    write(replace(told(os.getpid(), 1.0), configuration_refused="intake.settle: unknown setting"), locked)
    status(locked.parent)
    shown = " ".join(capsys.readouterr().out.split())
    assert "not reloaded, and the next start would fail: intake.settle: unknown setting" in shown


def test_a_daemon_that_is_starting_is_not_alive_yet(locked):
    """What the last run has left says nothing about this one."""
    write(told(os.getpid() + 1, 1.0), locked)
    with pytest.raises(UnavailableError, match="starting"):
        status(locked.parent, alive=True)


def test_without_a_daemon_nothing_is_alive(tmp_path):
    """A fresh status file of a daemon that is gone does not count."""
    folder = tmp_path / STATE_FOLDER
    folder.mkdir()
    write(told(os.getpid(), 1.0), folder)
    with pytest.raises(UnavailableError, match="no daemon"):
        status(tmp_path, alive=True)
    with pytest.raises(NoInputError):
        status(tmp_path / "nowhere", alive=True)


def test_the_inbox_is_not_looked_into(locked, monkeypatch):
    """A health check costs the same with a million files waiting."""
    write(told(os.getpid(), 1.0), locked)
    monkeypatch.setattr("imageguard_daemon.cli.daemon._gather", lambda _settings: pytest.fail("it was"))
    status(locked.parent, alive=True)
    assert json.loads((locked / "status.json").read_text())["state"] == "watching"


def test_an_inbox_that_is_not_there_is_not_an_empty_one(tmp_path, capsys, monkeypatch):
    """Whose disk is not mounted hears that, and not that nothing waits."""
    monkeypatch.setenv("COLUMNS", "300")
    (tmp_path / "config.yaml").write_text(f"root: .\nsources: [{{inbox: {tmp_path}/disk/inbox}}]\n")
    status(config=tmp_path / "config.yaml")
    shown = " ".join(capsys.readouterr().out.split())
    assert f"inbox default {tmp_path}/disk/inbox is not there: is its disk mounted?" in shown
    assert "waiting to be judged" not in shown
    (tmp_path / "disk" / "inbox").mkdir(parents=True)
    status(config=tmp_path / "config.yaml")
    assert "0 waiting to be judged" in capsys.readouterr().out
