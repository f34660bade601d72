"""The command line as values: what `--help` says of each command, without its layout."""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import typer

from imageguard_daemon.cli.app import app


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
    paragraphs = tuple(" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n"))
    below = getattr(command, "commands", {})
    options = tuple(_option(one) for one in command.params if not one.hidden)
    yield Command(name, paragraphs[0], paragraphs[1:], options, bool(below))
    for word, one in below.items():
        yield from _walk(one, f"{name} {word}")


def _option(parameter: Any) -> Option:
    is_argument = not parameter.opts[0].startswith("-")
    names = (_argument(parameter),) if is_argument else _names(parameter)
    return Option(
        names,
        "" if is_argument else _value(parameter),
        " ".join((parameter.help or "").split()),
        _default(parameter),
        str(parameter.envvar or ""),
        parameter.required,
        is_argument,
    )


def _argument(parameter: Any) -> str:
    name = str(parameter.metavar or parameter.name.upper()).strip("[]")
    return f"{name}..." if parameter.nargs == -1 else name


def _names(parameter: Any) -> tuple[str, ...]:
    """Give the names of an option, the short one last, as people look for the long one."""
    return (*sorted(parameter.opts, key=len, reverse=True), *parameter.secondary_opts)


def _value(parameter: Any) -> str:
    if getattr(parameter, "is_flag", False):
        return ""
    annotation = parameter.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(one.value) for one in annotation)
    return parameter.metavar or {int: "N", float: "X"}.get(annotation, "NAME")


def _default(parameter: Any) -> str:
    default = parameter.default
    if default is None or default is False or not parameter.show_default or parameter.required:
        return ""
    if default is True:
        return str(parameter.opts[0])
    return str(default.value if isinstance(default, Enum) else default)


def _in_usage(argument: Option) -> str:
    return argument.names[0] if argument.required else f"[{argument.names[0]}]"
