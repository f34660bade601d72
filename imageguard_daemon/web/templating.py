"""Pages from templates: every name is escaped, and what is missing in a template is an error."""

import functools
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from imageguard_daemon import __version__
from imageguard_daemon.quality.scoring import ACCEPTED_FROM, rounded
from imageguard_daemon.reporting.templating import breakable, with_code
from imageguard_daemon.reporting.text import asked_for, percent, points, shown
from imageguard_daemon.web.site import HOLDER, Site

PAGES = (
    ("/", "Overview"),
    ("/quarantine", "Quarantine"),
    ("/accepted", "Accepted"),
    ("/check", "Check"),
    ("/thresholds", "Thresholds"),
)
"""What every page leads to."""
STATIC = tuple(
    Path(str(files(package))) / "static" for package in ("imageguard_daemon.web", "imageguard_daemon.reporting")
)
"""Folders of what pages load; htmx is as vendored from npm, its licence is beside it."""


class Renderer:
    """Renders templates with what all of them know."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._environment = _environment()

    def prepare(self) -> None:
        """Compile all templates, or the first load of each page would take that much longer."""
        for name in self._environment.list_templates():
            self._environment.get_template(name)

    def __call__(self, request: Request, template: str, status: Any = 200, **values: Any) -> HTMLResponse:
        """Give an answer with the page."""
        shared: dict[str, Any] = {
            "path": request.scope["path"],
            "csrf": self._site.csrf,
            "holder": request.scope.get(HOLDER) or "",
            "may_see": request.scope.get(HOLDER) is not None,
            "may_act": self._site.may_act,
            "root": self._site.shown_as,
            "pages": [one for one in PAGES if self._site.has_log or one[0] == "/check"],
        }
        return HTMLResponse(self._environment.get_template(template).render({**shared, **values}), status)


@functools.cache
def _environment() -> jinja2.Environment:
    """Give what templates are compiled in: once for all applications of a process, as compiling takes longest."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("imageguard_daemon.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "percent": percent,
        "shown": shown,
        "breakable": breakable,
        "with_code": with_code,
        "asked_for": asked_for,
        "points": points,
        "number": lambda number: f"{number:,}",
        "overall": lambda score: f"{rounded(score, ACCEPTED_FROM, 2):.2f}",
        "moment": lambda text: str(text)[:19].replace("T", " "),
    }
    made.globals |= {"static": _addresses(), "version": __version__}
    return made


def digest_of(file: Path) -> str:
    """Give what names a file's content in its address."""
    return sha256(file.read_bytes()).hexdigest()[:16]


def _addresses() -> dict[str, str]:
    """Give the address of each file that pages load; it changes with its content, which browsers can keep."""
    loaded = (file for folder in STATIC for file in folder.iterdir())
    return {file.name: f"/static/{file.name}?{digest_of(file)}" for file in loaded}
