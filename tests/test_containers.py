"""What makes and starts containers: checked as far as that goes without an engine; tests/container goes on with one."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import psycopg
import pytest
import yaml

from imageguard_daemon.audit.fleet.database import FleetAddress, open_fleet, prepare
from imageguard_daemon.config import Settings
from imageguard_daemon.config_file import parse
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.fleets import asked, forward
from tests.helpers.postgres import Server, programs

ROOT = Path(__file__).parent.parent
CONTAINER = ROOT / "contrib" / "container"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
PROGRAMS = Path(sys.executable).parent


def _run(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_the_linter_finds_nothing_wrong_with_the_dockerfile():
    """The linter reads it as an engine does, the scripts in it too."""
    linted = _run(PROGRAMS / "hadolint", "Dockerfile")
    assert linted.returncode == 0, linted.stdout


def test_the_compose_file_is_one():
    """It fits the schema of the specification."""
    checked = _run(PROGRAMS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    assert checked.returncode == 0, checked.stdout


def test_the_image_runs_as_nobody_and_without_a_shell_between():
    """A numeric account, signals that reach the daemon, and a health check that is a command of ours."""
    last_stage = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last_stage, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["imageguard-daemon"\]$', last_stage, re.MULTILINE)
    assert re.search(r'^CMD \["run", "/srv/ingest"\]$', last_stage, re.MULTILINE)
    assert re.search(r'CMD \["imageguard-daemon", "status", "/srv/ingest", "--alive"\]$', last_stage, re.MULTILINE)
    assert "STOPSIGNAL SIGTERM" in last_stage
    assert "apt-get" not in last_stage


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_locked_down(name):
    """Read-only, no capability, no new privilege, no password in the environment, ports on loopback alone."""
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    secret = [key for key in service.get("environment", {}) if "PASSWORD" in key and not key.endswith("_FILE")]
    assert secret == []


def test_the_database_is_reached_from_its_own_network_alone():
    """It has no port, and its network no way out."""
    assert "ports" not in SERVICES["database"]
    assert SERVICES["database"]["networks"] == ["database"]
    assert COMPOSE["networks"]["database"] == {"internal": True}


def test_what_compose_mounts_and_names_is_there():
    """Files and folders of the repository exist, secrets are declared, and the root is one mount."""
    for service in SERVICES.values():
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
        for volume in (one for one in service["volumes"] if isinstance(one, dict)):
            assert volume["source"].startswith("${") or (ROOT / volume["source"]).exists(), volume
    targets = [one["target"] for one in SERVICES["daemon"]["volumes"]]
    assert [target for target in targets if target.startswith("/srv")] == ["/srv/ingest"]


def test_the_daemon_waits_for_no_database_and_is_given_time_to_stop():
    """Intake does not depend on the database; SIGTERM comes before SIGKILL by more than images in work take."""
    assert "depends_on" not in SERVICES["daemon"]
    assert int(SERVICES["daemon"]["stop_grace_period"].removesuffix("s")) > Settings().service.drain_seconds


@pytest.mark.parametrize("name", ["config", "owner"])
def test_the_configurations_in_the_containers_are_valid(name):
    """They are read without a mistake, and take their passwords from secrets that their service has."""
    settings = parse((CONTAINER / "config" / f"{name}.yaml").read_text())
    assert str(settings.root) == "/srv/ingest"
    secret = settings.forward.password_file.name
    service = SERVICES["daemon" if name == "config" else "prepare"]
    assert secret in service["secrets"]
    assert f"/{name}.yaml" in service["command"][-1]


def test_the_grants_are_those_of_the_document():
    """docs/fleet.md and the compose file say the same on who may do what."""
    documented = re.findall(r"```sql\n(.*?)```", (ROOT / "docs/fleet.md").read_text(), re.DOTALL)[1]
    ours = (CONTAINER / "grants.sql").read_text()
    assert _statements(ours) == _statements(documented)


def _statements(sql: str) -> str:
    return " ".join(re.sub("--.*", "", sql).split())


def test_roles_and_grants_make_a_database_that_can_be_forwarded_to(tmp_path):
    """On a real server, with its own client: passwords from files, tables by the owner, records by the forwarder."""
    client = programs() / "psql"
    for name in ("owner", "forwarder", "reader"):
        (tmp_path / f"{name}-password").write_text(f"it's {name}'s\n")
    roles = (CONTAINER / "roles.sql").read_text().replace("/run/secrets", str(tmp_path))
    (tmp_path / "roles.sql").write_text(roles)
    with Server() as server:
        server.sql("CREATE DATABASE imageguard")
        for user, script in (("owner", tmp_path / "roles.sql"), ("imageguard_owner", CONTAINER / "grants.sql")):
            if user == "imageguard_owner":
                _make_tables(server.url("imageguard", user))
            url = server.url("imageguard", user)
            done = _run(client, url, "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file", script)
            assert done.returncode == 0, done.stderr
        log = write_log(tmp_path / "audit.db", [Judged(images=5)])
        forward(log, server.url("imageguard", "imageguard_forwarder"))
        assert asked(server.url("imageguard", "imageguard_reader"), "SELECT count(*) FROM decisions") == [(5,)]
        with psycopg.connect(server.url("imageguard", "owner")) as connection:
            has = "SELECT count(*) FROM pg_authid WHERE rolname LIKE 'imageguard_%' AND rolpassword LIKE 'SCRAM%'"
            assert connection.execute(has).fetchone() == (3,)


def _make_tables(url: str) -> None:
    engine = open_fleet(FleetAddress(url), read_only=False)
    prepare(engine, FleetAddress(url))
    engine.dispose()


def test_the_image_gets_the_versions_that_were_tested(tmp_path):
    """Constraints are the pins of the lock file, requirements the dependencies and the extras asked for."""
    script = CONTAINER / "constraints.py"
    assert _run(sys.executable, script, ".ci/requirements-dev.lock", tmp_path / "c.txt").returncode == 0
    pins = (tmp_path / "c.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+", pin) for pin in pins)
    assert (
        _run(sys.executable, script, "--dependencies", "web,heic", "pyproject.toml", tmp_path / "r.txt").returncode == 0
    )
    wanted = (tmp_path / "r.txt").read_text().splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    assert wanted == [*project["dependencies"], *extras["web"], *extras["heic"]]
    assert {re.match(r"[\w-]+", one)[0] for one in wanted} <= {pin.partition("==")[0] for pin in pins}


def test_the_context_of_the_build_has_what_it_copies():
    """Each file that the Dockerfile copies by name exists and is let through."""
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for name in (word for line in copied for word in line.split() if word != "."):
        assert (ROOT / name).exists()
        assert name in let_through or name.split("/")[0] in let_through, name
