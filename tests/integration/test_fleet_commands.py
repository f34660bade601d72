"""`imageguard-daemon fleet` and what `status` says of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from imageguard_daemon.cli.app import app
from imageguard_daemon.config_file import load
from imageguard_daemon.core.errors import ImageguardError, UnavailableError
from imageguard_daemon.daemon.forwarder import PASSWORD_VARIABLE, ForwardingLoop, address_of, read
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.fleets import asked, differences


@pytest.fixture
def config(tmp_path: Path, fleet_url: str) -> Path:
    """A configuration with a log that has not been forwarded."""
    write_log(tmp_path / "audit.db", [Judged(images=30), Judged("dog", "blurry", images=3)])
    file = tmp_path / "config.yaml"
    forward = {"url": fleet_url, "host": "ingest-7", "retry_seconds": 0.2}
    file.write_text(yaml.safe_dump({"root": str(tmp_path), "forward": forward}))
    return file


def run(*arguments: object) -> tuple[int, str]:
    """Run a command; give its exit code and what it writes."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, ImageguardError):
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def test_forward_sends_all_and_list_shows_it(config: Path, fleet_url: str) -> None:
    """What a cron job runs and what an operator looks at."""
    assert run("fleet", "forward", "--config", config) == (0, f"99 records sent to 127.0.0.1/{name_of(fleet_url)}\n")
    assert differences(config.parent / "audit.db", fleet_url, 1) == []
    code, text = run("fleet", "list", "--config", config, "--format", "json")
    assert code == 0
    (there,) = json.loads(text)
    assert (there["host"], there["records"], there["parent"], there["odd"]) == ("ingest-7", 99, None, 0)
    assert "ingest-7" in run("fleet", "list", "--db", fleet_url)[1]
    assert run("fleet", "prepare", "--db", fleet_url)[1].endswith("is up to date (0003)\n")


def name_of(url: str) -> str:
    """Give a database's name."""
    return url.rpartition("/")[2]


def test_status_says_how_forwarding_goes(config: Path) -> None:
    """Up to date, then behind with the reason: the operator sees both without a look into the database."""
    run("fleet", "forward", "--config", config)
    assert "stopped, as ingest-7 to 127.0.0.1/" in run("status", "--config", config, "--format", "csv")[1]
    write_log(config.parent / "audit.db", [Judged(images=2)])
    config.write_text(config.read_text().replace("127.0.0.1:", "127.0.0.1:1"))
    code, told = run("fleet", "forward", "--config", config)
    assert code in {os.EX_TEMPFAIL, os.EX_USAGE}
    text = run("status", "--config", config, "--format", "csv")[1]
    assert "failing since" in text
    assert "6 records behind" in text
    assert told[:20] in text


def test_a_failure_is_told_once_and_tried_again(config: Path, fleet_url: str) -> None:
    """Pauses grow to the configured one; a success ends the failure and its count begins anew."""
    settings = load(config)
    wrong = settings.model_copy(update={"forward": settings.forward.model_copy(update={"url": f"{fleet_url}-not"})})
    loop = ForwardingLoop(wrong)
    assert [loop.step() for _ in range(3)] == [0.2, 0.2, 0.2]
    status = read(settings.state_folder)
    assert (status["state"], status["failures"]) == ("waiting", 3)
    assert "does not exist" in status["last_error"]
    loop.close()
    loop = ForwardingLoop(settings)
    assert loop.step() == 1.0
    status = read(settings.state_folder)
    assert (status["state"], status["last_error"], status["records_behind"]) == ("up to date", "", 0)
    with pytest.raises(ImageguardError, match="another process"):
        ForwardingLoop(settings)
    loop.close()


def test_a_short_run_forwards_what_it_did(config: Path, fleet_url: str) -> None:
    """A daemon that ends at once, as by cron, leaves nothing behind that the database could have had."""
    command = [sys.executable, "-m", "imageguard_daemon", "run", "--once", "--config", str(config)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    assert differences(config.parent / "audit.db", fleet_url, 1) == []


def test_a_short_run_says_what_it_could_not_forward(config: Path, fleet_url: str) -> None:
    """It does not wait for ever for a database that is not there, and does not end as if all were well."""
    config.write_text(config.read_text().replace(fleet_url, f"{fleet_url}-not"))
    command = [sys.executable, "-m", "imageguard_daemon", "run", "--once", "--config", str(config)]
    write_log(config.parent / "audit.db", [Judged(images=2)])
    ended = subprocess.run(command, capture_output=True, check=False, timeout=120, text=True)
    assert ended.returncode == os.EX_TEMPFAIL
    assert "records are not forwarded" in ended.stderr
    assert "does not exist" in ended.stderr


def test_without_psycopg_it_is_said_what_to_install(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named; the daemon itself does not need it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    code, told = run("fleet", "forward", "--config", config)
    assert (code, told) == (
        os.EX_UNAVAILABLE,
        "PostgreSQL needs one more package: pip install 'imageguard-daemon[fleet]'",
    )


def test_the_password_comes_from_where_it_is_configured(config: Path, tmp_path: Path) -> None:
    """A file before the environment, before a credential; an unreadable file is an error."""
    settings = load(config)
    (tmp_path / "imageguard-forward-password").write_text("credential\n")
    credential = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    for environment, expected in (
        ({}, ""),
        (credential, "credential"),
        (credential | {PASSWORD_VARIABLE: "variable"}, "variable"),
    ):
        assert address_of(settings, environment).password == expected
    (tmp_path / "password").write_text("file word \n")
    for name, password in (("password", "file word "), ("missing", None)):
        forward = settings.forward.model_copy(update={"password_file": tmp_path / name})
        asked_for = settings.model_copy(update={"forward": forward})
        if password is None:
            with pytest.raises(ImageguardError, match="missing"):
                address_of(asked_for, {})
        else:
            assert address_of(asked_for, {PASSWORD_VARIABLE: "variable"}).password == password


def test_an_archive_takes_only_what_was_forwarded(config: Path, fleet_url: str) -> None:
    """The log is the queue: what the database has not confirmed stays, and everything arrives in the end."""
    archive = ("audit", "archive", "--config", config, "--older-than", "1d", "--yes")
    assert "does not have yet stay" in run(*archive)[1]
    run("fleet", "forward", "--config", config)
    write_log(config.parent / "audit.db", [Judged("later", images=4)])
    assert "archived 30 decisions" in run(*archive)[1]
    run("fleet", "forward", "--config", config)
    assert asked(fleet_url, "SELECT count(*), count(DISTINCT id) FROM decisions") == [(37, 37)]
    assert asked(fleet_url, "SELECT count(*) FROM rollup_images") == [(37,)]
    assert asked(fleet_url, "SELECT * FROM gaps") == []


def test_a_log_of_before_there_was_forwarding_is_told(config: Path) -> None:
    """Whoever upgrades starts the daemon once; until then the sentence says so."""
    import sqlite3

    connection = sqlite3.connect(config.parent / "audit.db")
    connection.execute("DROP TABLE forwarding")
    connection.close()
    code, told = run("fleet", "forward", "--config", config)
    assert code == os.EX_UNAVAILABLE
    assert "start the daemon once" in told
    assert UnavailableError.exit_code == code
