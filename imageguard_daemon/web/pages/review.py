"""The pages that act: how many first, then an action on exactly those; all of it through `review`."""

import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, unquote

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import QueryParams

from imageguard_daemon.audit.quarantine_queries import Selection, selected
from imageguard_daemon.core.errors import ImageguardError, UsageError
from imageguard_daemon.review import acting
from imageguard_daemon.review.rendering import size_in_words
from imageguard_daemon.review.values import Reviewed, Reviewer
from imageguard_daemon.web.cache import SingleFlight
from imageguard_daemon.web.filters import FILTERS, Filters
from imageguard_daemon.web.query_parameters import number_in, page_of, reads, require_known
from imageguard_daemon.web.security import cookie_of
from imageguard_daemon.web.site import HOLDER, Notice, Site
from imageguard_daemon.web.templating import Renderer

MAX_IMAGES = 5_000
"""Moving more takes longer than anybody waits for a page; the command line has no limit."""
EXAMPLES_SHOWN = 12
ALL_THAT_MATCH = "matching"
"""What the field `which` says when no image is ticked and the filters alone select."""
_TICKED = "ticked"
WHO = "imageguard_who"
"""The cookie with the name that was typed last, which the next form begins with."""
_FIELDS = frozenset({*FILTERS, "which", "action", "newest", "count", "csrf", "who", "why", "after", "trail", "back"})
_PLACE = frozenset(f"at_{name}" for name in FILTERS)
"""Where to go back to, which is another thing than what is acted on."""
_Function = Callable[[acting.Acting, Sequence[int], Reviewer], Iterator[Reviewed]]
ACTIONS: Mapping[str, _Function] = {
    "release": acting.release,
    "confirm": acting.confirm,
    "reject": acting.reject,
    "approve": acting.approve,
    "undo": acting.undo,
}
_WRONG = "This form is not from this server's pages, or the server was restarted. Go back, reload and try again."


@dataclass(slots=True)
class _Matching:
    """The images of a selection, newest first."""

    ids: list[int]
    reasons: Counter[str]
    size_bytes: int


def routes(site: Site, render: Renderer) -> APIRouter:
    """Give the routes of these pages."""
    router = APIRouter(include_in_schema=False)
    counts: SingleFlight[tuple[Filters, _Matching]] = SingleFlight()

    @router.get("/review")
    @reads(*FILTERS, "which", "after", "trail", many=("ids",))
    async def review(request: Request, action: str = "release") -> HTMLResponse:
        place, ids = Filters.of(request.query_params), _ids(request.query_params)
        _require_narrow(_known(action), place, ids)
        filters, matching = await counts.get((place, ids), lambda: _counted(site, place, ids))
        return render(
            request,
            "review.html",
            action=action,
            filters=filters,
            place=place,
            page=page_of(request.query_params),
            ids=ids,
            most=MAX_IMAGES,
            count=len(matching.ids),
            newest=max(matching.ids, default=0),
            examples=matching.ids[:EXAMPLES_SHOWN],
            reasons=matching.reasons.most_common(),
            size=size_in_words(matching.size_bytes),
            who=name_typed_last(site, request),
        )

    @router.post("/review")
    async def carry_out(request: Request) -> Response:
        async with request.form(max_files=0, max_fields=MAX_IMAGES + 50) as form:
            fields = QueryParams([(name, str(value)) for name, value in form.multi_items()])
        if not hmac.compare_digest(fields.get("csrf", "").encode(), site.csrf.encode()):
            raise HTTPException(403, _WRONG)
        require_known(fields.multi_items(), _FIELDS | _PLACE, {"ids"})
        return await run_in_threadpool(_carried_out, site, request, fields)

    return router


def name_typed_last(site: Site, request: Request) -> str:
    """Give the name that a form begins with, where nobody needs a token."""
    return unquote(cookie_of(request.headers, WHO)) or site.who


def _carried_out(site: Site, request: Request, fields: QueryParams) -> Response:
    if not site.may_act:
        raise HTTPException(403, "With --db the log is only looked at.")
    action, filters, ids = _known(fields.get("action", "")), Filters.of(fields), _ids(fields)
    _require_narrow(action, filters, ids)
    counted, way_back = number_in("count", fields.get("count", "")), _way_back(fields, filters)
    # Selected once more: between looking and acting somebody else may have acted, and new images may have come. Only
    # what was shown is acted on, or nothing.
    matching = _matching(site, filters.selection(site.now(), ids))
    newest = number_in("newest", fields.get("newest", "0"))
    meant = [number for number in matching.ids if number <= newest]  # what came since was not counted
    if len(meant) != counted:
        message = (
            f"The selection changed meanwhile: there are {len(meant):,} images now. Nothing was done; count again."
        )
        raise HTTPException(409, message)
    if len(meant) > MAX_IMAGES:
        raise HTTPException(400, f"At most {MAX_IMAGES:,} images at once.")
    reviewer = _reviewer(site, request, fields)
    results, stopped = _act(site, ACTIONS[action], meant, reviewer)
    notice = site.notices.add(Notice(action, tuple(results), stopped, len(meant) - len(results)))
    answer = RedirectResponse(way_back(notice), 303)
    answer.set_cookie(WHO, quote(reviewer.who), httponly=True, samesite="strict")
    return answer


def _way_back(fields: QueryParams, filters: Filters) -> Callable[[str], str]:
    """Give what makes the address of the page that the images were chosen on, or of the next image.

    Nobody loses the place; and whatever is wrong with it is said before anything is done.
    """
    at = {name.removeprefix("at_"): value for name, value in fields.items() if name.startswith("at_")}
    back, page = fields.get("back", ""), page_of(fields)
    seen = Filters.of(at) if at or back else filters
    place = f"/decisions/{number_in('back', back.removeprefix('/decisions/'))}" if back else seen.gallery
    return lambda notice: f"{place}?{seen.query(notice=notice, **page)}"


def _act(site: Site, function: _Function, ids: Sequence[int], reviewer: Reviewer) -> tuple[list[Reviewed], str]:
    """Act, and say why it ended early if it did; what was done until then is done."""
    results: list[Reviewed] = []
    try:
        with acting.acting_on(site.settings) as opened:
            results.extend(function(opened, ids, reviewer))
    except ImageguardError as error:
        return results, str(error)
    return results, ""


def _reviewer(site: Site, request: Request, fields: QueryParams) -> Reviewer:
    """Name the holder of the token; only where nobody needs one, the name is what was typed."""
    who = request.scope.get(HOLDER) or " ".join(fields.get("who", "").split())[:100]
    return Reviewer(who or site.who, " ".join(fields.get("why", "").split())[:500])


def _counted(site: Site, place: Filters, ids: tuple[int, ...] | None) -> tuple[Filters, _Matching]:
    """Count what is asked about; of all that match, the last hour stays the hour that was counted."""
    now = site.now()
    filters = place.fixed(now) if ids is None else place
    return filters, _matching(site, replace(filters.selection(now, ids), limit=MAX_IMAGES + 1))


def _matching(site: Site, selection: Selection) -> _Matching:
    matching = _Matching([], Counter(), 0)
    with site.log() as log:
        for decision_id, reason, size_bytes in selected(log, selection):
            matching.ids.append(decision_id)
            matching.reasons[reason] += 1
            matching.size_bytes += size_bytes
    return matching


def _ids(fields: QueryParams) -> tuple[int, ...] | None:
    """Give the images that were ticked, or None where all that match are meant, which has to be said."""
    which, ticked = fields.get("which", ""), fields.getlist("ids")
    if which not in {"", _TICKED, ALL_THAT_MATCH}:
        raise UsageError(f"there is no choice {which[:30]!r}; known are {_TICKED}, {ALL_THAT_MATCH}")
    if which == ALL_THAT_MATCH:
        if ticked:
            raise UsageError("images are ticked, and all that match are asked for: it is the one or the other")
        return None
    ids = tuple(dict.fromkeys(number_in("ids", one) for one in ticked))
    if not ids:
        raise UsageError("no image is ticked: tick those that are meant, or choose all that match")
    return ids


def _require_narrow(action: str, filters: Filters, ids: tuple[int, ...] | None) -> None:
    """Refuse to act on all accepted images; of rejected ones there are few."""
    if action in {"reject", "approve"} and ids is None and not filters.narrows:
        raise UsageError(f"{action} all accepted images? Tick those that are meant, or filter them")


def _known(action: str) -> Any:
    if action not in ACTIONS:
        raise UsageError(f"there is no action {action!r}; known are {', '.join(ACTIONS)}")
    return action
