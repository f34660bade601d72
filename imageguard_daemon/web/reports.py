"""Reports and their charts for pages and API, each made once in a while however many ask."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.errors import UsageError
from imageguard_daemon.reporting.gathering import report_on
from imageguard_daemon.reporting.page import charts_over_time
from imageguard_daemon.reporting.period import PARAMETERS, parse_period
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.web.remembered import Keeping, Remembered
from imageguard_daemon.web.site import Site

if TYPE_CHECKING:
    from collections.abc import Callable

PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "365d": "a year"}
_KEEPING = Keeping(fresh_seconds=15.0, stale_seconds=60.0)
_SHOWN = 32
"""Reports whose charts can still be asked for: a page asks a moment after it came."""
_PATIENCE_SECONDS = 0.12
"""A page that took longer than this would feel slow; it then says that it is counting, and asks again by itself."""


class Asked(NamedTuple):
    """What a report is to be about, as options of the command; without any, the whole log."""

    since: str = ""
    until: str = ""
    source: str | None = None
    class_name: str | None = None
    camera: str | None = None
    host: str | None = None
    preset: str | None = None

    def scope(self, now: datetime) -> Scope:
        """Give the decisions that are meant; UsageError for what is not a period."""
        return Scope(*parse_period(self.since or None, self.until or None, now, PARAMETERS), *self[2:])


class Drawn(NamedTuple):
    """A report with its charts as SVG, by name, all of one moment; `key` finds them again."""

    report: Report
    charts: Mapping[str, str]
    at: datetime
    key: str


class Reports:
    """What was made of the log of one site; any thread may ask."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reports: Remembered[Report] = Remembered(_KEEPING)
        self._drawn: Remembered[Drawn] = Remembered(_KEEPING)
        self._shown: OrderedDict[str, Drawn] = OrderedDict()

    def of(self, asked: Asked, by: tuple[Dimension, ...] = (Dimension.class_,)) -> Report:
        """Give the report on what was asked for, however long it takes; UsageError for what there is not."""
        return self._reports.get((asked, by), lambda: self._make(asked, by))

    def soon(self, since: str) -> Drawn:
        """Give report and charts of one of `PERIODS` at once.

        Raises:
            UsageError: it is none of them.
            NotYetError: it is being made.
        """
        if since not in PERIODS:
            raise UsageError(f"there is no period {since!r} here; known are {', '.join(PERIODS)}")
        return self._drawn.get(since, self._drawing(since), _PATIENCE_SECONDS)

    def made(self, key: str) -> Drawn | None:
        """Give the report that a page shows, for its charts; None when it is long gone."""
        return self._shown.get(key)

    def close(self) -> None:
        """Begin no more."""
        self._reports.close()
        self._drawn.close()

    def _drawing(self, since: str) -> "Callable[[], Drawn]":
        def draw() -> Drawn:
            report = self._make(Asked(since), (Dimension.class_,))
            charts = {name: str(svg) for name, svg in charts_over_time(report).items()}
            drawn = Drawn(report, charts, self._site.now(), secrets.token_urlsafe(12))
            self._shown[drawn.key] = drawn  # from the one thread that makes them
            while len(self._shown) > _SHOWN:
                self._shown.popitem(last=False)
            return drawn

        return draw

    def _make(self, asked: Asked, by: tuple[Dimension, ...]) -> Report:
        now = self._site.now()
        with self._site.log() as engine:
            return report_on(engine, by, asked.scope(now), self._site.settings.reporting, now)
