"""The page of all commands, from their help; pure."""

from collections.abc import Iterable, Sequence

from reference.commands import Command, Option
from reference.markdown import escaped

_HEAD = """\
# Commands

<!-- written by: python -m reference -->

What `imageguard-daemon COMMAND --help` says. Exit codes are in [Exit codes](exit-codes.md).
"""


def command_page(commands: Sequence[Command]) -> str:
    """Give the page."""
    program, *others = commands
    parts = [_HEAD, *_options(program.options)]
    for one in others:
        name = one.name.removeprefix(f"{program.name} ")
        parts += [f"## {name}\n", f"`{one.usage}`\n", f"{escaped(one.summary)}\n"]
        parts += [f"{escaped(part)}\n" for part in one.details]
        parts += _options(one.options)
    return "\n".join(parts)


def _options(options: Iterable[Option]) -> list[str]:
    rows = [f"| {_names(one)} | {_meaning(one)} |" for one in options]
    return ["\n".join(("| argument or option | meaning |", "|---|---|", *rows)) + "\n"] if rows else []


def _names(option: Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.names)
    return f"{names} `{option.value}`".replace("|", "\\|") if option.value else names


def _meaning(option: Option) -> str:
    text = escaped(option.help)
    if option.default:
        text += f" Default: `{option.default}`."
    if option.variable:
        text += f" Environment: `{option.variable}`."
    return f"{text} Required." if option.required else text
