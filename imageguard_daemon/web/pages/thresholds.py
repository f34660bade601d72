"""What other thresholds would have decided, from recorded scores; copied out as YAML, never applied from here."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.config import Source
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import THRESHOLD_NAMES
from imageguard_daemon.quality.policy import PRESETS, spread, thresholds_for
from imageguard_daemon.quality.scoring import LIMITS, SCALES
from imageguard_daemon.reporting.period import PARAMETERS, parse_period
from imageguard_daemon.reporting.query import simulation_of
from imageguard_daemon.reporting.simulation import Rules, Simulation
from imageguard_daemon.web.cache import CachePolicy, StaleWhileRevalidate
from imageguard_daemon.web.filters import number_of
from imageguard_daemon.web.query_parameters import reads
from imageguard_daemon.web.site import Site
from imageguard_daemon.web.templating import Renderer

PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "": "the whole log"}
IN_FORCE = ""
"""In place of a preset: what is in force for the source."""
DECIMALS = 1
"""Of the steps of a slider; one that begins with more moves by finer steps: the browser rounds to them."""
_POLICY = CachePolicy(fresh_seconds=30.0, stale_seconds=60.0, max_answers=64)


@dataclass(frozen=True, slots=True)
class Trial:
    """The thresholds that are tried: what is in force for a source, or a preset, with some of them replaced."""

    source: Source
    preset: str
    since: str
    base: Mapping[str, float]
    values: Mapping[str, float]
    """What the sliders show, by `LIMITS`."""

    @property
    def moved(self) -> dict[str, float]:
        """What differs from where the sliders began."""
        return {name: value for name, value in self.values.items() if value != self.base[name]}

    @property
    def rules(self) -> Rules:
        """Judge again by what was in force when each image was judged: nothing moved, then nothing changes."""
        return Rules(self.moved, self.preset or None)

    @property
    def address(self) -> str:
        """What keeps this trial in the address bar."""
        named = {"source": self.source.name, "preset": self.preset, "since": self.since}
        return urlencode({**named, **{name: plain(value) for name, value in self.moved.items()}})

    @property
    def sliders(self) -> dict[str, tuple[str, str]]:
        """The value of each slider, and the step that has it, and where it began, among its places."""
        return {name: (plain(value), _step(value, self.base[name])) for name, value in self.values.items()}

    @property
    def yaml(self) -> str:
        """Give the lines for the configuration, with what the source has of its own already."""
        preset = self.preset or self.source.preset
        own = thresholds_for(preset)
        values = {**{name: self.base[name] for name in LIMITS}, **self.moved}
        pairs = ", ".join(f"{name}: {plain(value)}" for name, value in values.items() if value != own[name])
        thresholds = f"\n    thresholds: {{{pairs}}}" if pairs else ""
        return f"sources:\n  - name: {self.source.name}\n    preset: {preset}{thresholds}\n"


class Thresholds:
    """The page, and what was simulated for it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._simulations: StaleWhileRevalidate[Simulation] = StaleWhileRevalidate(_POLICY)

    def pages(self, render: Renderer) -> APIRouter:
        """Give the routes of this page."""
        router = APIRouter(include_in_schema=False)

        @router.get("/thresholds")
        @router.get("/thresholds/effect")
        @reads("was", "source", "preset", "since", *THRESHOLD_NAMES)
        def thresholds(request: Request) -> HTMLResponse:
            trial = _trial({one.name: one for one in self._site.settings.sources}, request.query_params)
            simulation = self._simulations.soon(trial.address, lambda: self._simulated(trial))
            is_whole = not request.url.path.endswith("/effect")
            page = render(
                request,
                "thresholds.html" if is_whole else "effect.html",
                trial=trial,
                made=simulation,
                limits=_limits(trial.values),
                sources=[source.name for source in self._site.settings.sources],
                presets=tuple(PRESETS),
                periods=PERIODS,
            )
            if not is_whole:
                page.headers["HX-Replace-Url"] = f"/thresholds?{trial.address}"
            return page

        return router

    def close(self) -> None:
        """Begin no more."""
        self._simulations.close()

    def _simulated(self, trial: Trial) -> Simulation:
        period = parse_period(trial.since or None, None, self._site.now(), PARAMETERS)
        scope = Scope(*period, source=None if self._site.is_fleet else trial.source.name)
        try:
            with self._site.log() as log:
                return simulation_of(log, scope, trial.rules)
        except UsageError:  # nothing of this source has been judged yet
            return Simulation()


def _trial(sources: Mapping[str, Source], query: Mapping[str, str]) -> Trial:
    """Read a trial from an address.

    Raises:
        UsageError: it names a source, a preset or a period that there is not, or a threshold that is not a number.
    """
    name, preset, since = (
        query.get("source", next(iter(sources))),
        query.get("preset", IN_FORCE),
        query.get("since", "7d"),
    )
    for what, value, known in (
        ("source", name, sources),
        ("preset", preset, ("", *PRESETS)),
        ("period", since, PERIODS),
    ):
        if value not in known:
            raise UsageError(f"there is no {what} {value!r} here; known are {', '.join(filter(None, known))}")
    source = sources[name]
    base = thresholds_for(preset) if preset else thresholds_for(source.preset, source.thresholds)
    # Where another preset or source was picked, the sliders still send where they stood for the one before.
    is_other = query.get("was", f"{preset} {name}") != f"{preset} {name}"
    try:
        moved = {} if is_other else {name: number_of(query[name]) for name in THRESHOLD_NAMES if query.get(name)}
        values = thresholds_for(source.preset, {**base, **spread(moved)})
    except ValueError:
        raise UsageError("a threshold is a number from 0 to 100") from None
    return Trial(source, preset, since, base, {one: values[one] for one in LIMITS})


def plain(value: float) -> str:
    """Write a threshold with all its digits, and no more: the page, the address and the YAML have the same."""
    return f"{Decimal(repr(float(value))).normalize():f}"


def _step(*values: float) -> str:
    decimals = max(DECIMALS, *(len(plain(one).partition(".")[2]) for one in values))
    return f"{Decimal(1).scaleb(-decimals):f}"


def _limits(values: Mapping[str, float]) -> dict[str, str]:
    """Say what each threshold means in the unit of its measure, such as `blur of 2.0 px`."""
    return {one.threshold: f"{one.wording} {one.phrase(one.limit(values[one.threshold]))}" for one in SCALES}
