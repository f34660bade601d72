"""The templates of reports: every name is escaped, and what is missing in a template is an error."""

import re
from functools import cache

import jinja2
from markupsafe import Markup, escape

from imageguard_daemon.reporting.text import percent, points, shown

_BETWEEN = re.compile(r"([_/.-]+)(?=\w)")
_COMMAND = re.compile(r"`([^`]+)`")
_OPTION = re.compile(r"(?<!\S)--[\w-]+")


def template(name: str) -> jinja2.Template:
    """Give one of them."""
    return _environment().get_template(name)


def breakable(name: str) -> Markup:
    """Show a key or a path to a person; where a line is too short for it, it breaks between words."""
    return Markup(_BETWEEN.sub(r"\1<wbr>", str(escape(shown(name)))))  # noqa: S704 - escaped here


def with_code(text: str) -> Markup:
    """Show a text of ours whose commands stand between backticks."""
    return Markup(_COMMAND.sub(lambda match: _marked(match[1]), str(escape(text))))  # noqa: S704 - escaped here


def code(command: str) -> Markup:
    """Show a command to a person."""
    return Markup(_marked(str(escape(command))))  # noqa: S704 - escaped here


def _marked(escaped: str) -> str:
    """Mark a command, and its options, so that no line ends after the hyphens of one."""
    options_whole = _OPTION.sub(r"<span>\g<0></span>", escaped)
    return f"<code>{options_whole}</code>"


@cache
def _environment() -> jinja2.Environment:
    folders = (jinja2.PackageLoader("imageguard_daemon.reporting", folder) for folder in ("templates", "static"))
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(list(folders)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "points": points, "shown": shown, "breakable": breakable}
    environment.filters |= {"with_code": with_code, "code": code, "number": lambda number: f"{number:,}"}
    return environment
