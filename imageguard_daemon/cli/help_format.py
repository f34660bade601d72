"""How `--help` looks: plain text of which nothing is cut, and which names no type of the source."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_LONGEST_VALUE = 40
"""Longer lists of values stand beside an option, not behind its name."""


class CommandLine(typer.Typer):
    """A command line, or a group of one, whose help is ours."""

    def __init__(self, **options: Any) -> None:
        super().__init__(rich_markup_mode=None, cls=_Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Add a command."""
        return super().command(name, cls=_Command, **options)


class _Ours:
    """What is ours of a command's help and of how its mistakes are told."""

    def collect_usage_pieces(self, context: Any) -> list[str]:
        words = (_in_usage(parameter) for parameter in self.get_params(context) if is_argument(parameter))  # type: ignore[attr-defined]
        return ["[OPTIONS]", *words, *(["COMMAND [ARGS]..."] if isinstance(self, TyperGroup) else [])]

    def format_options(self, context: Any, formatter: Any) -> None:
        shown = [parameter for parameter in self.get_params(context) if not parameter.hidden]  # type: ignore[attr-defined]
        arguments = [parameter for parameter in shown if is_argument(parameter)]
        options = [parameter for parameter in shown if not is_argument(parameter)]
        for title, rows in (
            ("Arguments", [(argument_name(argument), _description(argument)) for argument in arguments]),
            ("Options", [(_named(option), _description(option)) for option in options]),
            ("Commands", list(_commands(self))),
        ):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_arguments(self, context: Any, formatter: Any) -> None:
        """Write nothing: click from 8.5 on asks for arguments by themselves, and they stand among the options."""

    def parse_args(self, context: Any, words: list[str]) -> list[str]:
        try:
            left: list[str] = super().parse_args(context, words)  # type: ignore[misc]
        except typer.BadParameter as error:
            error.message = _with_proposal(error.message)
            raise
        _require_all(context)
        return left


class _Command(_Ours, TyperCommand):
    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **options)
        _restore_help(self)


class _Group(_Ours, TyperGroup):
    pass


def is_argument(parameter: Any) -> bool:
    """Tell whether a parameter has no name that is typed."""
    return not parameter.opts[0].startswith("-")


def argument_name(parameter: Any) -> str:
    """Give the word that stands for an argument."""
    name = str(parameter.metavar or parameter.name.upper()).strip("[]").removesuffix("...")
    return f"{name}..." if parameter.nargs == -1 else name


def option_names(parameter: Any) -> tuple[str, ...]:
    """Give the names of an option, the short one last, as people look for the long one."""
    return (*sorted(parameter.opts, key=len, reverse=True), *parameter.secondary_opts)


def value_name(parameter: Any) -> str:
    """Give the word that stands for an option's value; nothing for a switch."""
    if getattr(parameter, "is_flag", False):
        return ""
    if choices := _choices(parameter):
        return "|".join(choices)
    return parameter.metavar or _number(parameter) or "NAME"


def default_in_words(parameter: Any) -> str:
    """Say what stands where nothing is given; nothing where that is not worth telling."""
    default = parameter.default
    if default is None or default is False or not parameter.show_default or parameter.required:
        return ""
    if default is True:
        return str(parameter.opts[0])
    return str(default.value if isinstance(default, Enum) else default)


def paragraphs_of(command: Any) -> list[str]:
    """Give the paragraphs of a command's help, each in one line."""
    return [" ".join(part.split()) for part in inspect.cleandoc(command.help or "").split("\n\n")]


def _require_all(context: Any) -> None:
    """Refuse a command line without what it requires: to click from 8.3 on, None is a value that typer 0.16 gave."""
    for parameter in context.command.params:
        if parameter.required and context.params.get(parameter.name) is None and not context.resilient_parsing:
            if is_argument(parameter):
                context.fail(f"Missing argument '{argument_name(parameter)}'.")
            context.fail(f"Missing option '{option_names(parameter)[0]}'.")


def _restore_help(command: Any) -> None:
    """Take the help of arguments from the function: click from 8.5 on forgets what typer before 0.27 told it."""
    declared = inspect.signature(command.callback).parameters
    for parameter in command.params:
        if is_argument(parameter) and not parameter.help:
            facts = getattr(declared[parameter.name].annotation, "__metadata__", ())
            parameter.help = next((fact.help for fact in facts if isinstance(fact, typer.models.ArgumentInfo)), None)


def _choices(parameter: Any) -> tuple[str, ...]:
    """Give the values that are known one by one; where typer keeps the type of a parameter depends on its version."""
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is None:
        return tuple(map(str, getattr(parameter.type, "choices", ())))
    is_enum = isinstance(descriptor.annotation, type) and issubclass(descriptor.annotation, Enum)
    return tuple(str(choice.value) for choice in descriptor.annotation) if is_enum else ()


def _number(parameter: Any) -> str:
    """Give the word for a number; nothing for what is none."""
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is None:
        name = parameter.type.name.removesuffix(" range")
        return {"integer": "N", "float": "X"}.get(name, "")
    return {int: "N", float: "X"}.get(descriptor.annotation, "")


def _in_usage(argument: Any) -> str:
    return argument_name(argument) if argument.required else f"[{argument_name(argument)}]"


def _named(option: Any) -> str:
    names = ", ".join((*sorted(option.opts, key=len), *option.secondary_opts))
    is_long = len(value_name(option)) > _LONGEST_VALUE
    return f"{names} {option.name.upper() if is_long else value_name(option)}".rstrip()


def _description(parameter: Any) -> str:
    values = value_name(parameter)
    facts = [
        f"one of {values.replace('|', ', ')}" if len(values) > _LONGEST_VALUE else "",
        f"default: {default_in_words(parameter)}" if default_in_words(parameter) else "",
        _range(*_ends(parameter)),
        f"environment: {parameter.envvar}" if parameter.envvar else "",
        "required" if parameter.required and not is_argument(parameter) else "",
    ]
    text = " ".join((parameter.help or "").split())
    return f"{text} [{'; '.join(filter(None, facts))}]" if any(facts) else text


def _ends(parameter: Any) -> tuple[float | None, float | None]:
    holder = parameter if hasattr(parameter, "type_descriptor") else parameter.type
    return getattr(holder, "min", None), getattr(holder, "max", None)


def _range(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return "" if least is None else f"at least {least:g}"
    return f"{least:g} to {most:g}"


def _commands(group: Any) -> Iterator[tuple[str, str]]:
    for name, command in getattr(group, "commands", {}).items():
        if not command.hidden:
            yield name, paragraphs_of(command)[0]


def _with_proposal(message: str) -> str:
    """Propose the value that was meant where one is not among those known."""
    message = message.replace("Value error, ", "")
    mistake = re.fullmatch(r"'(?P<typed>.*)' is not one of (?P<known>'.*')\.", message, re.DOTALL)
    if mistake is None:
        return message
    near = difflib.get_close_matches(mistake["typed"], re.findall(r"'([^']*)'", mistake["known"]), n=1)
    return f"{message} Did you mean '{near[0]}'?" if near else message
