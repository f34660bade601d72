"""`--help` of every command, as people see it on a terminal of 80 columns."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from imageguard_daemon.cli.app import app
from imageguard_daemon.cli.helping import paragraphs_of

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
