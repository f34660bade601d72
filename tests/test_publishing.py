"""What publishing takes: files that other programs read fit their schemas and do not contradict the package."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from contrib.release import address
from imageguard_daemon.cli.app import app
from tests.lowest import lowest, requirements

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SCHEMAS = {
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
    "vendor.github-issue-forms": sorted((ROOT / ".github/ISSUE_TEMPLATE").iterdir()),
    "vendor.github-workflows": sorted((ROOT / ".github/workflows").iterdir()),
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_other_programs_read_is_what_they_expect(schema):
    """Workflows, forms for issues and the citation fit the schemas that their readers publish."""
    checker = Path(sys.executable).parent / "check-jsonschema"
    checked = subprocess.run(
        [checker, "--builtin-schema", schema, *SCHEMAS[schema]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_citation_is_of_this_version():
    """Version, name and licence are the package's."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["title"]) == (PROJECT["version"], PROJECT["name"])
    assert citation["license"] == PROJECT["license"]


def test_the_hook_is_a_command_with_options_that_exist():
    """pre-commit starts a command of this package, which fails on rejected images, with options that it has."""
    [hook] = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, name, *options = hook["entry"].split()
    command = typer.main.get_command(app).commands[name]
    assert program in PROJECT["scripts"]
    assert options == ["--fail-on-reject"]
    assert set(options) <= {text for option in command.params for text in option.opts}


def test_every_workflow_runs_what_is_there():
    """What workflows start is in the checkout, and a change is judged by the script that judges it here."""
    texts = {path.name: path.read_text() for path in SCHEMAS["vendor.github-workflows"]}
    assert ".ci/run" in texts["ci.yml"]
    for text in texts.values():
        for path in re.findall(r"(?<=python3 )[\w/]+\.py|\.ci/run", text):
            assert (ROOT / path).is_file(), path
        for module in re.findall(r"python -m (tests\.\w+)", text):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module


def test_the_package_page_has_no_relative_link():
    """Read on a package index, the README's links lead to the repository, and the package names it."""
    readme = address.with_absolute_links((ROOT / "README.md").read_text(), "https://example.org/a/b", "v1")
    targets = re.findall(r"\]\(([^)]+)\)", readme)
    assert all(target.startswith(("https://", "#")) for target in targets)
    assert "https://example.org/a/b/blob/v1/docs/index.md" in targets
    project = address.with_urls((ROOT / "pyproject.toml").read_text(), "https://example.org/a/b", "v1")
    assert tomllib.loads(project)["project"]["urls"]["Issues"] == "https://example.org/a/b/issues"


def test_the_oldest_versions_are_the_lower_bounds():
    """What is installed to try them is each bound of pyproject.toml; a requirement without one is refused."""
    assert list(lowest(["a>=1.2,!=2.0.*,<3", "b[c]>=1,<2; python_version < '3.15'"])) == [
        "a==1.2",
        "b[c]==1; python_version < '3.15'",
    ]
    with pytest.raises(ValueError, match="no lower bound"):
        list(lowest(["a<2"]))
    assert {re.split(r"[=\[]", one)[0] for one in requirements()} >= {
        re.split(r"[>\[]", one)[0] for one in PROJECT["dependencies"]
    }
