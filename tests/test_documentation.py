"""What the documents say is what the code does; a drift is a failing test."""

import os
import re
import tomllib
from pathlib import Path

import pytest
import typer

from imageguard_daemon.cli.app import app
from imageguard_daemon.config import Section, Settings
from imageguard_daemon.config_file import render_example
from imageguard_daemon.core import errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_example_configuration_is_made_from_the_settings():
    """config.example.yaml has every setting with its default and its reason."""
    assert (ROOT / "config.example.yaml").read_text(encoding="utf-8") == render_example()


def _settings(section: type[Section], path: str = "") -> list[tuple[str, str]]:
    found = []
    for name, field in section.model_fields.items():
        found.append((f"{path}{name}", field.description or ""))
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found += _settings(field.annotation, f"{path}{name}.")
    return found


@pytest.mark.parametrize(("setting", "description"), _settings(Settings))
def test_every_setting_says_what_it_is_for(setting, description):
    """No setting is without a reason."""
    assert len(description) > 15, setting


def test_the_readme_lists_every_command():
    """A command that exists is in the README, and one in the README exists."""
    group = typer.main.get_command(app)
    section = README.split("## Commands")[1].split("## ")[0]
    names = {name.split()[0] for name in re.findall(r"`([a-z]+(?: [a-z]+)?)[^`]*`(?=[,| ])", section) if name}
    assert set(group.commands) <= names
    assert {f"config {name}" for name in group.commands["config"].commands} <= set(
        re.findall(r"`(config [a-z]+)`", section)
    )


def test_the_readme_installs_and_runs_with_one_command_each():
    """One command installs and runs, another installs what tests take and runs them."""
    run = re.findall(r"```sh\n(.*?)\n```", README)[0]
    assert run.startswith("python3 -m venv .venv && .venv/bin/pip install '.[web]'")
    assert run.endswith("imageguard-daemon run ./ingest")
    (test,) = [line for line in README.splitlines() if " -m pytest " in line]
    assert test.startswith("python3 -m venv .venv && .venv/bin/pip install -e '.[dev]'")
    assert test.endswith("-m pytest -n 4 --dist worksteal")


def test_exit_codes_are_those_of_the_errors():
    """Each error's exit code is in docs/exit-codes.md under its name."""
    rows = dict(re.findall(r"^\| (\d+) \| `(EX_\w+)`", (ROOT / "docs/exit-codes.md").read_text(), re.MULTILINE))
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {str(kind.exit_code) for kind in classes} <= set(rows)
    assert all(getattr(os, name) == int(code) for code, name in rows.items())


def test_the_unit_does_not_restart_what_a_restart_does_not_cure():
    """Exit codes that need a person are excluded from restarts, and every setting of the unit is a known one."""
    unit = (ROOT / "systemd/imageguard-daemon.service").read_text()
    (excluded,) = re.findall(r"^RestartPreventExitStatus=(.*)$", unit, re.MULTILINE)
    needing_a_person = (
        errors.UsageError,
        errors.DataError,
        errors.StorageError,
        errors.UnavailableError,
        errors.PermissionDeniedError,
        errors.ConfigError,
    )
    assert set(excluded.split()) == {str(kind.exit_code) for kind in needing_a_person}
    assert "StartLimitIntervalSec=0" in unit, "what may pass is tried again for as long as it takes"
    table = (ROOT / "docs/exit-codes.md").read_text().split("## What the systemd unit makes of them")[1]
    told = dict(re.findall(r"^\| ([\d, ]+) \| (no|yes)", table, re.MULTILINE))
    answers = {code: answer for codes, answer in told.items() for code in codes.split(", ")}
    assert {code for code, answer in answers.items() if answer == "no"} == {*excluded.split(), "0"}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert {str(kind.exit_code) for kind in kinds} <= set(answers)
    stop_seconds = int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0])
    assert stop_seconds > Settings().service.drain_seconds


def test_the_changelog_knows_the_version():
    """The version of the package has an entry."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_dependency_has_bounds_and_a_reason():
    """Each dependency has a lower bound, an upper bound, and a line on why it is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = (ROOT / "docs/decisions/0001-dependencies.md").read_text()
    for requirement in project["dependencies"]:
        name, bounds = re.match(r"([a-z0-9-]+)(.*)", requirement).groups()
        assert re.fullmatch(r">=[\d.]+,(![=\d.*]+,)?<[\d.]+(; python_version < '3.15')?", bounds), requirement
        assert name in reasons, name


def test_the_locked_environment_is_complete_and_names_no_host():
    """Every direct dependency is pinned, every pin has hashes, and where to fetch from is left to the machine."""
    lock = (ROOT / ".ci" / "requirements-dev.lock").read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==\S+ \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(pinned) == len(re.findall("^[a-z]", lock, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = (one for extra in project["optional-dependencies"].values() for one in extra)
    wanted = [*project["dependencies"], *(one for one in extras if not one.startswith("imageguard-daemon["))]
    assert {re.match(r"[a-z0-9-]+", one)[0] for one in wanted} <= set(pinned)
    assert not re.search("://|index|find-links", lock)


def test_the_architecture_names_every_module():
    """Nobody has to guess what a folder or a top-level module is for."""
    text = (ROOT / "docs/architecture.md").read_text()
    package = ROOT / "imageguard_daemon"
    places = {path.name for path in package.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    assert {f"`{place}/`" for place in places if f"`{place}/`" not in text} == set()
    assert {module for module in modules if module not in text} == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    """Every relative link in a document points to a file that is there."""
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (document.parent / target).exists(), target


def test_the_configuration_in_the_readme_is_valid():
    """Who copies the README's configuration gets no error."""
    from imageguard_daemon.config_file import parse

    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert parse(example).sources[0].preset == "detection"
