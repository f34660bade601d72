"""The command line as values: what `--help` says of each command, without its layout."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import typer

from imageguard_daemon.cli.app import app
from imageguard_daemon.cli.help_format import (
    argument_name,
    default_in_words,
    is_argument,
    option_names,
    paragraphs_of,
    value_name,
)


@dataclass(frozen=True)
class Option:
    """One option or argument; `value` is empty for a switch, `default` where none is worth telling."""

    names: tuple[str, ...]
    value: str
    help: str
    default: str = ""
    variable: str = ""
    required: bool = False
    is_argument: bool = False


@dataclass(frozen=True)
class Command:
    """One command; a group has commands below it and cannot be run by itself."""

    name: str
    summary: str
    details: tuple[str, ...]
    options: tuple[Option, ...]
    is_group: bool

    @property
    def usage(self) -> str:
        """The command line in one line."""
        words = [self.name, *(["COMMAND"] if self.is_group else [])]
        if any(not one.is_argument for one in self.options):
            words.append("[OPTION]...")
        return " ".join([*words, *(_in_usage(one) for one in self.options if one.is_argument)])


def all_commands() -> list[Command]:
    """Give the program itself and every command of it, in the order of its help."""
    return list(_walk(typer.main.get_command(app), app.info.name or ""))


def _walk(command: Any, name: str) -> Iterator[Command]:
    paragraphs = tuple(paragraphs_of(command))
    below = getattr(command, "commands", {})
    options = tuple(_option(one) for one in command.params if not one.hidden)
    yield Command(name, paragraphs[0], paragraphs[1:], options, bool(below))
    for word, one in below.items():
        yield from _walk(one, f"{name} {word}")


def _option(parameter: Any) -> Option:
    return Option(
        (argument_name(parameter),) if is_argument(parameter) else option_names(parameter),
        "" if is_argument(parameter) else value_name(parameter),
        " ".join((parameter.help or "").split()),
        default_in_words(parameter),
        str(parameter.envvar or ""),
        parameter.required,
        is_argument(parameter),
    )


def _in_usage(argument: Option) -> str:
    return argument.names[0] if argument.required else f"[{argument.names[0]}]"
