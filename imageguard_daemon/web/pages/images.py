"""Pictures for pages: small ones, whole ones, and a drawing that says why there is none."""

from collections.abc import Callable
from hashlib import sha256

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from imageguard_daemon.sandbox.answers import Areas, read_areas
from imageguard_daemon.sandbox.pictures import is_too_large_to_show
from imageguard_daemon.web.image_cache import MadeOnce, Place, place_of, whole
from imageguard_daemon.web.map_drawing import clipping_map, sharpness_map
from imageguard_daemon.web.pages.decision import DecisionId
from imageguard_daemon.web.site import Site

PICTURES_AT_ONCE = 4
PICTURE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-cache",  # the address names the decision, not the content
    "Content-Disposition": "inline",
}
_PLACEHOLDER_HEADERS = PICTURE_HEADERS | {"Cache-Control": "no-store"}
_PLACEHOLDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="160" viewBox="0 0 160 160" font-family="sans-serif" '
    'font-size="15" text-anchor="middle"><rect width="160" height="160" fill="#8884"/>'
    '<path d="M58 38h44v44H58zM58 82l44-44" fill="none" stroke="#888" stroke-width="3"/>'
    '<g fill="#808080"><text x="80" y="108">{}</text><text x="80" y="128">{}</text></g></svg>'
)
_HAS_NO_MAP = ("no map:", "too small, or gone")
_CANNOT_BE_SHOWN, _IS_NOT_THERE = ("no picture:", "cannot be decoded"), ("no picture:", "gone or changed")
_IS_TOO_LARGE = ("no picture:", "too large to show")


class _NoPictureError(Exception):
    """There is nothing to show; `words` say so in two lines."""

    def __init__(self, words: tuple[str, str]) -> None:
        super().__init__(words)
        self.words = words


def pictures(site: Site, thumbnails: MadeOnce, maps: MadeOnce) -> APIRouter:
    """Give the routes of pictures."""
    router = APIRouter(include_in_schema=False)

    # Few at a time, and in threads of their own: pages must not wait behind pictures that are being decoded.
    room = CapacityLimiter(PICTURES_AT_ONCE)

    async def shown(request: Request, make: Callable[..., Response], *given: object) -> Response:
        try:
            return _unless_known(request, await run_sync(make, site, *given, limiter=room))
        except _NoPictureError as error:
            if "text/html" in request.headers.get("accept", ""):  # a person opened it by itself
                raise HTTPException(404, f"There is no such picture: {error.words[1]}.") from error
            # With status 404 a drawing, which browsers show all the same.
            return Response(_PLACEHOLDER.format(*error.words), 404, _PLACEHOLDER_HEADERS, "image/svg+xml")

    @router.get("/decisions/{number}/thumbnail")
    async def thumbnail(request: Request, number: DecisionId) -> Response:
        return await shown(request, _thumbnail, number, thumbnails)

    @router.get("/decisions/{number}/image")
    async def image(request: Request, number: DecisionId) -> Response:
        return await shown(request, _image, number)

    @router.get("/decisions/{number}/sharpness.svg")
    async def sharpness(request: Request, number: DecisionId) -> Response:
        return await shown(request, _map, number, maps, sharpness_map)

    @router.get("/decisions/{number}/clipping.svg")
    async def clipping(request: Request, number: DecisionId) -> Response:
        return await shown(request, _map, number, maps, clipping_map)

    return router


def _picture(content: str | bytes, media_type: str) -> Response:
    """Give a picture with a tag by its content; made in a thread, since large images take their time."""
    answer = Response(content, media_type=media_type, headers=PICTURE_HEADERS)
    answer.headers["ETag"] = f'"{sha256(answer.body).hexdigest()}"'
    return answer


def _unless_known(request: Request, answer: Response) -> Response:
    """Say that nothing has changed, where the browser has that picture already."""
    known = request.headers.get("if-none-match", "").split(",")
    tag = answer.headers["ETag"]
    is_known = tag in (one.strip().removeprefix("W/") for one in known)
    return Response(status_code=304, headers=PICTURE_HEADERS | {"ETag": tag}) if is_known else answer


def _map(site: Site, number: int, maps: MadeOnce, draw: Callable[[Areas], str]) -> Response:
    place = _place(site, number)
    answer = maps.of(*place) if place else None
    areas = read_areas(answer) if answer else None
    if areas is None:
        raise _NoPictureError(_HAS_NO_MAP)
    return _picture(draw(areas), "image/svg+xml")


def _thumbnail(site: Site, number: int, thumbnails: MadeOnce) -> Response:
    place = _place(site, number)
    jpeg = thumbnails.of(*place) if place else None
    if not jpeg:
        raise _NoPictureError(_CANNOT_BE_SHOWN if jpeg is not None else _why_not_there(place))
    return _picture(jpeg, "image/jpeg")


def _image(site: Site, number: int) -> Response:
    place = _place(site, number)
    data, media_type = whole(*place) if place else (b"", "")
    if not data:
        raise _NoPictureError(_why_not_there(place))
    return _picture(data, media_type)


def _why_not_there(place: Place | None) -> tuple[str, str]:
    """Say why there are no bytes to show: an intact file may only be too large for it."""
    return _IS_TOO_LARGE if place and is_too_large_to_show(place[0]) else _IS_NOT_THERE


def _place(site: Site, number: int) -> Place | None:
    with site.log() as engine:
        return place_of(engine, site.settings, number)
