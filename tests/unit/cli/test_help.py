"""`--help` of every command, as people see it on a terminal of 80 columns."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from imageguard_daemon.cli.app import app
from imageguard_daemon.cli.help_format import paragraphs_of, value_name

_TYPES = re.compile(r"<\w+|\{[A-Z]|\]\.\.\.\]?\.\.\.|list\[")


def _walk(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from _walk(below, (*words, name))


COMMANDS = dict(_walk(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_loses_no_text_and_shows_nothing_of_the_source(words: tuple[str, ...]) -> None:
    """Whatever was written of a command and its options is there, in lines that fit, without names of types."""
    text = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}).stdout
    assert max(map(len, text.splitlines())) <= 80
    assert _TYPES.findall(text) == []
    running = " ".join(text.split())
    command = COMMANDS[words]
    below = getattr(command, "commands", {}).values()
    for told in (*paragraphs_of(command), *(paragraphs_of(one)[0] for one in below), *(p.help for p in command.params)):
        assert " ".join((told or "").split()) in running


@pytest.mark.parametrize(
    ("words", "proposal"),
    [
        (["report", "--format", "htm"], "'htm' is not one of 'table', 'json', 'csv', 'parquet', 'html'. Did you mean"),
        (["quarantine", "list", "--state", "waitin"], "Did you mean 'waiting'?"),
        (["quarantine", "lst"], "Did you mean 'list'?"),
    ],
)
def test_a_mistyped_value_or_command_gets_a_proposal(words: list[str], proposal: str) -> None:
    """In the words of people, not of the library that reads them."""
    told = CliRunner().invoke(app, words).stderr
    assert proposal in told
    assert "Value error" not in told


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (SimpleNamespace(name="choice", choices=["table", "json"]), "table|json"),
        (SimpleNamespace(name="integer range"), "N"),
        (SimpleNamespace(name="float"), "X"),
        (SimpleNamespace(name="text"), "NAME"),
    ],
)
def test_the_word_for_a_value_is_that_of_older_typer_too(kind: SimpleNamespace, word: str) -> None:
    """Before 0.29 typer keeps the type of click with each parameter, and no description of its own."""
    assert value_name(SimpleNamespace(metavar=None, type=kind)) == word


def test_what_is_required_is_required_whatever_the_library_lets_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Typer before 0.19 gives None as the default of a required option, which click from 8.3 on takes for a value."""

    def lenient(self: Any, context: Any, _words: list[str]) -> list[str]:
        context.params.update({one.name: None for one in self.params})
        return []

    monkeypatch.setattr("typer.core.TyperCommand.parse_args", lenient)
    for words, missing in ((["quarantine", "purge"], "option '--older-than'"), (["scan"], "argument 'FOLDER'")):
        done = CliRunner().invoke(app, words)
        assert (done.exit_code, f"Missing {missing}." in done.stderr) == (2, True)


def test_help_of_arguments_is_kept_where_click_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Click from 8.5 on overwrites what typer before 0.27 has set."""
    made = typer.core.TyperCommand.__init__

    def forgetful(self: Any, *values: Any, **options: Any) -> None:
        made(self, *values, **options)
        for one in self.params:
            one.help = None

    monkeypatch.setattr("typer.core.TyperCommand.__init__", forgetful)
    assert "Folder tree to judge" in CliRunner().invoke(app, ["scan", "--help"]).stdout
