"""What other thresholds would have decided, from recorded scores; copied out as YAML, never applied from here."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.errors import UsageError
from imageguard_daemon.model import THRESHOLD_NAMES
from imageguard_daemon.quality.policy import PRESETS, thresholds_for
from imageguard_daemon.quality.scoring import LIMITS
from imageguard_daemon.reporting.gathering import simulation_of
from imageguard_daemon.reporting.period import parse_period
from imageguard_daemon.reporting.simulation import Rules, Simulation
from imageguard_daemon.web.remembered import Keeping, NotYetError, Remembered
from imageguard_daemon.web.rendering import Renderer
from imageguard_daemon.web.site import Site

PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "": "the whole log"}


_KEEPING = Keeping(fresh_seconds=30.0, stale_seconds=60.0, most=64)
_PATIENCE_SECONDS = 0.12


class Thresholds:
    """The page, and what was simulated for it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: Remembered[Simulation] = Remembered(_KEEPING)

    def pages(self, render: Renderer) -> APIRouter:
        """Give the routes of this page."""
        router = APIRouter(include_in_schema=False)

        @router.get("/thresholds")
        @router.get("/thresholds/effect")
        def thresholds(request: Request, preset: str = "general", since: str = "7d") -> HTMLResponse:
            chosen = _chosen(dict(request.query_params), preset)
            if since not in PERIODS:
                raise UsageError(f"there is no period {since!r} here; known are 24h, 7d, 30d")
            is_whole = not request.url.path.endswith("/effect")
            made = self._soon(chosen, since)
            given: dict[str, Any] = {"preset": preset, "presets": tuple(PRESETS), "since": since, "periods": PERIODS}
            given |= {"chosen": chosen, "made": made, "yaml": _yaml(preset, chosen), "query": request.url.query}
            return render(request, "thresholds.html" if is_whole else "effect.html", **given)

        return router

    def close(self) -> None:
        """Begin no more."""
        self._made.close()

    def _soon(self, chosen: dict[str, float], since: str) -> Simulation | None:
        try:
            key = (since, tuple(chosen.values()))
            return self._made.get(key, lambda: _simulated(self._site, chosen, since), _PATIENCE_SECONDS)
        except NotYetError:
            return None


def _chosen(query: dict[str, str], preset: str) -> dict[str, float]:
    if preset not in PRESETS:
        raise UsageError(f"there is no preset {preset!r}; known are {', '.join(PRESETS)}")
    is_other = query.get("was", preset) != preset  # another preset was picked: its thresholds, not those on the sliders
    try:
        given = {} if is_other else {name: float(query[name]) for name in THRESHOLD_NAMES if query.get(name)}
        chosen = thresholds_for(preset, given)
    except ValueError:
        raise UsageError("a threshold is a number from 0 to 100") from None
    return {name: chosen[name] for name in LIMITS}


def _simulated(site: Site, chosen: dict[str, float], since: str) -> Simulation:
    scope = Scope(parse_period(since, None, site.now())[0] if since else None)
    with site.log() as engine:
        return simulation_of(engine, scope, Rules(chosen, "general"))


def _yaml(preset: str, chosen: dict[str, float]) -> str:
    of_preset = thresholds_for(preset)
    changed = {name: value for name, value in chosen.items() if value != of_preset[name]}
    pairs = ", ".join(f"{name}: {value:g}" for name, value in changed.items())
    return f"preset: {preset}\nthresholds: {{{pairs}}}\n"
