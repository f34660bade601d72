"""What other thresholds would have decided, from recorded scores; copied out as YAML, never applied from here."""

import threading
from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.errors import UsageError
from imageguard_daemon.model import SCORE_NAMES
from imageguard_daemon.quality.policy import PRESETS
from imageguard_daemon.reporting.gathering import simulation_of
from imageguard_daemon.reporting.period import parse_period
from imageguard_daemon.reporting.simulation import Rules, Simulation
from imageguard_daemon.web.rendering import Renderer
from imageguard_daemon.web.site import Remembered, Site

PERIODS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days", "": "the whole log"}


def routes(site: Site, render: Renderer) -> APIRouter:
    """Give the routes of this page."""
    router = APIRouter(include_in_schema=False)
    simulations: Remembered[Simulation] = Remembered(30.0)
    turn = threading.Lock()

    @router.get("/thresholds")
    @router.get("/thresholds/effect")
    def thresholds(request: Request, preset: str = "general", since: str = "7d") -> HTMLResponse:
        chosen = _chosen(dict(request.query_params), preset)
        if since not in PERIODS:
            raise UsageError(f"there is no period {since!r} here; known are 24h, 7d, 30d")
        key = (since, tuple(chosen.values()))
        with turn:
            made = simulations.get(key, lambda: _simulated(site, chosen, since))
        only_effect = request.url.path.endswith("/effect")
        changed = {name: value for name, value in chosen.items() if value != PRESETS[preset][name]}
        given = {
            "preset": preset,
            "presets": tuple(PRESETS),
            "since": since,
            "periods": PERIODS,
            "yaml": _yaml(preset, changed),
        }
        return render(request, "effect.html" if only_effect else "thresholds.html", chosen=chosen, made=made, **given)

    return router


def _chosen(query: dict[str, str], preset: str) -> dict[str, float]:
    if preset not in PRESETS:
        raise UsageError(f"there is no preset {preset!r}; known are {', '.join(PRESETS)}")
    is_other = query.get("was", preset) != preset  # another preset was picked: its thresholds, not those on the sliders
    try:
        chosen = {n: float(PRESETS[preset][n] if is_other else query.get(n) or PRESETS[preset][n]) for n in SCORE_NAMES}
    except ValueError:
        raise UsageError("a threshold is a number from 0 to 100") from None
    if not all(0 <= value <= 100 for value in chosen.values()):
        raise UsageError("a threshold is a number from 0 to 100")
    return chosen


def _simulated(site: Site, chosen: dict[str, float], since: str) -> Simulation:
    scope = Scope(parse_period(since, None, datetime.now(UTC))[0] if since else None)
    with site.log() as engine:
        return simulation_of(engine, scope, Rules(chosen, "general"))


def _yaml(preset: str, changed: dict[str, float]) -> str:
    pairs = ", ".join(f"{name}: {value:g}" for name, value in changed.items())
    return f"preset: {preset}\nthresholds: {{{pairs}}}\n"
