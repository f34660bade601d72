"""The reference says what the code says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import typer

from imageguard_daemon.cli.app import app
from reference.__main__ import ROOT, written
from reference.commands import Command, Option, all_commands
from reference.library_page import PARTS
from reference.man_page import man_page
from reference.markdown import escaped

FILES = written()
MAN_PAGE = "contrib/imageguard-daemon.1"


@pytest.mark.parametrize("path", FILES)
def test_the_reference_is_up_to_date(path):
    """Help, settings and docstrings have not changed since `python -m reference` was run; else run it again."""
    assert (ROOT / path).read_text(encoding="utf-8") == FILES[path], "run: python -m reference"


def test_every_command_and_option_is_in_the_man_page():
    """Nothing that --help names is missing."""
    page = FILES[MAN_PAGE].replace("\\-", "-")
    program, *commands = all_commands()
    for command in commands:
        assert f".SS {command.usage.removeprefix(program.name)}".replace(".SS  ", ".SS ") in page
        for option in command.options:
            assert all(f"\\fB{name}\\fR" in page for name in option.names), option


def test_every_command_of_the_program_is_found():
    """Groups are looked into."""
    names = {command.name for command in all_commands()}
    assert {f"imageguard-daemon {name}" for name in typer.main.get_command(app).commands} <= names
    assert "imageguard-daemon quarantine release" in names


def test_man_shows_the_page_without_a_warning():
    """Both readers of man pages find nothing wrong with it."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed")
    lint = subprocess.run(
        ["mandoc", "-T", "lint", ROOT / MAN_PAGE], capture_output=True, text=True, timeout=60, check=False
    )
    assert lint.stdout + lint.stderr == ""
    if shutil.which("groff"):
        command = ["groff", "-man", "-ww", "-T", "ascii", "-z", ROOT / MAN_PAGE]
        groff = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert groff.stderr == ""


def test_text_of_a_help_is_no_roff(tmp_path: Path):
    """A sentence that begins with a dot, or has a backslash, is shown as it is."""
    option = Option(("--dot",), "X", r".hidden files, and C:\x")
    program = Command("prog", "Does: it.", (), (option,), is_group=True)
    page = man_page([program], [("0", "EX_OK", "'quoted'")], ("1", "2025-01-01"))
    assert "\n\\&.hidden files, and C:\\ex" in page
    assert "\n\\&'quoted'" in page


def test_text_of_a_help_is_no_markdown():
    """What Markdown or HTML would take for markup is shown as it is; code stays code."""
    assert escaped("*.jpg <b> a|b `x|y`") == "\\*.jpg \\<b> a\\|b `x\\|y`"


def test_what_the_library_page_imports_exists():
    """Each name on the page can be imported from where the page says; the PyTorch part needs torch and is read only."""
    page = FILES["docs/library.md"]
    imports = re.findall(r"^`(from \S+ import \w+)`$", page, re.MULTILINE)
    assert len(imports) == sum(len(part.names) for part in PARTS)
    for line in imports:
        if "pytorch" not in line:
            exec(line, {})  # noqa: S102 - it is our own page
