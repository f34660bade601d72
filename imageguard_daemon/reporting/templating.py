"""The templates of reports: every name is escaped, and what is missing in a template is an error."""

import re
from functools import cache

import jinja2
from markupsafe import Markup, escape

from imageguard_daemon.reporting.text import percent, points, shown

_BETWEEN = re.compile(r"([_/.-]+)(?=\w)")
_COMMAND = re.compile(r"`([^`]+)`")


def template(name: str) -> jinja2.Template:
    """Give one of them."""
    return _environment().get_template(name)


def breakable(name: str) -> Markup:
    """Show a key or a path to a person; where a line is too short for it, it breaks between words."""
    return Markup(_BETWEEN.sub(r"\1<wbr>", str(escape(shown(name)))))  # noqa: S704 - escaped here


def with_code(text: str) -> Markup:
    """Show a text of ours whose commands stand between backticks."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped here


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
    environment.filters |= {"with_code": with_code, "number": lambda number: f"{number:,}"}
    return environment
