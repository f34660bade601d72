"""The man page: the help of all commands as roff (man(7)), with what a page of section 1 has besides; pure."""

import textwrap
from collections.abc import Iterable, Sequence

from reference.commands import Command, Option

_WIDTH = 78
_ENDING = """\
.SH FILES
.TP
.I ROOT/inbox, ROOT/accepted, ROOT/quarantine
Where images arrive and where they go.
.TP
.I ROOT/audit.db
The audit log: SQLite, its view
.B decisions
is stable.
.TP
.I ROOT/.imageguard
The lock and the live status of the daemon.
.SH SIGNALS
.B run
stops in order on SIGTERM and SIGINT, and on SIGHUP reads new thresholds,
presets and class rules from its configuration.
"""


def man_page(commands: Sequence[Command], exit_codes: Iterable[tuple[str, str, str]], release: tuple[str, str]) -> str:
    """Give the page.

    `exit_codes` are number, name and meaning, as in docs/exit-codes.md; a release is its version and its date.
    """
    program, *others = commands
    version, date = release
    parts = [
        f'.TH "{program.name.upper()}" "1" "{date}" "{program.name} {version}" "User Commands"',
        ".SH NAME",
        f"{_text(program.name)} \\- {_text(_short(program.summary))}",
        ".SH SYNOPSIS",
        f".B {_text(program.name)}",
        ".I COMMAND",
        "[OPTION]... [ARGUMENT]...",
        ".SH OPTIONS",
        *_options(program.options),
        ".SH COMMANDS",
        *(line for one in others for line in _command(one, program.name)),
        _ENDING.rstrip(),
        *_environment(commands),
        ".SH EXIT STATUS",
        *_exit_codes(exit_codes),
    ]
    return "\n".join(parts) + "\n"


def _command(command: Command, program: str) -> list[str]:
    lines = [f".SS {_text(command.usage.removeprefix(f'{program} '))}", *_paragraphs([command.summary])]
    lines += [line for part in command.details for line in (".PP", *_paragraphs([part]))]
    return lines + _options(command.options)


def _options(options: Iterable[Option]) -> list[str]:
    lines = []
    for one in options:
        names = ", ".join(rf"\fB{_text(name)}\fR" for name in one.names)
        value = rf" \fI{_text(one.value)}\fR" if one.value else ""
        lines += [".TP", names + value, *_paragraphs([_told(one)])]
    return lines


def _told(option: Option) -> str:
    extra = [f"Default: {option.default}." if option.default else "", "Required." if option.required else ""]
    extra.append(f"Environment: {option.variable}." if option.variable else "")
    return " ".join(filter(None, (option.help, *extra)))


def _environment(commands: Iterable[Command]) -> list[str]:
    found = {one.variable: one for command in commands for one in command.options if one.variable}
    lines = [".SH ENVIRONMENT"]
    for name, one in found.items():
        lines += [".TP", rf"\fB{_text(name)}\fR", f"What {_text(one.names[0])} says where it is not given."]
    return lines


def _exit_codes(rows: Iterable[tuple[str, str, str]]) -> list[str]:
    lines = []
    for code, name, meaning in rows:
        lines += [".TP", rf"\fB{code}\fR" + (f" {name}" if name else ""), *_paragraphs([meaning])]
    return lines


def _paragraphs(texts: Iterable[str]) -> list[str]:
    """Give each sentence lines of its own, as roff wants it: it sets the space behind one itself."""
    lines = []
    for text in texts:
        for sentence in text.replace(". ", ".\n").splitlines():
            lines += textwrap.wrap(_text(sentence), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [rf"\&{line}" if line.startswith((".", "'")) else line for line in lines]


def _short(summary: str) -> str:
    """Give what `apropos` shows: the beginning of the program's summary."""
    return summary[0].lower() + summary[1:].split(":", maxsplit=1)[0]


def _text(text: str) -> str:
    return text.replace("\\", r"\e").replace("-", r"\-").replace("`", "")
