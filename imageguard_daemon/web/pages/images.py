"""Pictures for pages: small ones, whole ones, maps to be laid over them, and a drawing that says why there is none."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from imageguard_daemon import __version__
from imageguard_daemon.sandbox.answers import TILE_PX, Areas, read_areas
from imageguard_daemon.sandbox.pictures import is_too_large_to_show
from imageguard_daemon.web.image_cache import ImageFile, RenderCache, place_of, whole
from imageguard_daemon.web.query_parameters import DecisionId
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
SHARPNESS = (
    ("up to 1 px", "#2c7bb6"),
    ("1 to 2 px", "#7fc0e0"),
    ("2 to 3 px", "#fdae61"),
    ("more than 3 px", "#d7191c"),
)
"""How the blur of a tile is shown: from blue to red, which everybody tells apart."""
_LIMITS_PX = (1.0, 2.0, 3.0)
WHITE, BLACK = "#d7191c", "#2c7bb6"
_SHARES = ((0.05, "0.35"), (0.25, "0.6"), (0.75, "0.85"))


class _NoPictureError(Exception):
    """There is nothing to show; `words` say so in two lines."""

    def __init__(self, words: tuple[str, str]) -> None:
        super().__init__(words)
        self.words = words


def pictures(site: Site, thumbnails: RenderCache, maps: RenderCache) -> APIRouter:
    """Give the routes of pictures."""
    router = APIRouter(include_in_schema=False)

    # Few at a time, and in threads of their own: pages must not wait behind pictures that are being decoded.
    limiter = CapacityLimiter(PICTURES_AT_ONCE)

    async def shown(request: Request, number: int, make: Callable[[ImageFile | None], Response]) -> Response:
        try:
            return await run_sync(_unless_known, site, request, number, make, limiter=limiter)
        except _NoPictureError as error:
            if "text/html" in request.headers.get("accept", ""):  # a person opened it by itself
                raise HTTPException(404, f"There is no such picture: {error.words[1]}.") from error
            # With status 404 a drawing, which browsers show all the same.
            return Response(_PLACEHOLDER.format(*error.words), 404, _PLACEHOLDER_HEADERS, "image/svg+xml")

    @router.get("/decisions/{number}/thumbnail")
    async def thumbnail(request: Request, number: DecisionId) -> Response:
        return await shown(request, number, partial(_thumbnail, thumbnails))

    @router.get("/decisions/{number}/image")
    async def image(request: Request, number: DecisionId) -> Response:
        return await shown(request, number, _image)

    @router.get("/decisions/{number}/sharpness.svg")
    async def sharpness(request: Request, number: DecisionId) -> Response:
        return await shown(request, number, partial(_map, maps, sharpness_map))

    @router.get("/decisions/{number}/clipping.svg")
    async def clipping(request: Request, number: DecisionId) -> Response:
        return await shown(request, number, partial(_map, maps, clipping_map))

    return router


def _unless_known(site: Site, request: Request, number: int, make: Callable[[ImageFile | None], Response]) -> Response:
    """Make a picture, or say that nothing has changed where the browser has it already: then no file is read."""
    with site.log() as log:
        place = place_of(log, site.settings, number)
    tag = _tag(request.url.path, place) if place else ""
    known = (one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(","))
    if tag and tag in known:
        return Response(status_code=304, headers=PICTURE_HEADERS | {"ETag": tag})
    answer = make(place)
    if tag:
        answer.headers["ETag"] = tag
    return answer


def _tag(address: str, place: ImageFile) -> str:
    """Name what is shown by what it is made from: the image's content, and the state of the file that was found right.

    Taken before the file is read: had it been written to since, the tag would be that of a state that is over.
    """
    path, sha256 = place
    try:
        status = os.lstat(path)
    except OSError:
        return ""
    state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return f'"{hashlib.sha256(repr((__version__, address, sha256, state)).encode()).hexdigest()}"'


def _picture(content: str | bytes, media_type: str) -> Response:
    return Response(content, media_type=media_type, headers=PICTURE_HEADERS)


def _map(maps: RenderCache, draw: Callable[[Areas], str], place: ImageFile | None) -> Response:
    answer = maps.of(*place) if place else None
    areas = read_areas(answer) if answer else None
    if areas is None:
        raise _NoPictureError(_HAS_NO_MAP)
    return _picture(draw(areas), "image/svg+xml")


def _thumbnail(thumbnails: RenderCache, place: ImageFile | None) -> Response:
    jpeg = thumbnails.of(*place) if place else None
    if not jpeg:
        raise _NoPictureError(_CANNOT_BE_SHOWN if jpeg is not None else _why_not_there(place))
    return _picture(jpeg, "image/jpeg")


def _image(place: ImageFile | None) -> Response:
    data, media_type = whole(*place) if place else (b"", "")
    if not data:
        raise _NoPictureError(_why_not_there(place))
    return _picture(data, media_type)


def _why_not_there(place: ImageFile | None) -> tuple[str, str]:
    """Say why there are no bytes to show: an intact file may only be too large for it."""
    return _IS_TOO_LARGE if place and is_too_large_to_show(place[0]) else _IS_NOT_THERE


def sharpness_map(areas: Areas) -> str:
    """Colour each tile by how blurred it is; one in which nothing could be sharp stays as it is."""
    steps = [None if sigma is None else sum(sigma > limit for limit in _LIMITS_PX) for sigma in areas.blur_sigma_px]
    shapes = [_shape(areas, _places(steps, step), colour, "0.55") for step, (_, colour) in enumerate(SHARPNESS)]
    return _svg(areas, shapes)


def clipping_map(areas: Areas) -> str:
    """Colour the tiles in which pixels are blown out or crushed, the stronger the more of them."""
    shapes = []
    for shares, colour in ((areas.black, BLACK), (areas.white, WHITE)):
        steps = [sum(share >= limit for limit, _ in _SHARES) for share in shares]
        shapes += [_shape(areas, _places(steps, step), colour, opacity) for step, (_, opacity) in enumerate(_SHARES, 1)]
    return _svg(areas, shapes)


def _places(steps: Sequence[int | None], wanted: int) -> list[int]:
    return [place for place, step in enumerate(steps) if step == wanted]


def _shape(areas: Areas, places: Iterable[int], colour: str, opacity: str) -> str:
    squares = "".join(
        f"M{place % areas.columns * TILE_PX} {place // areas.columns * TILE_PX}h{TILE_PX}v{TILE_PX}h-{TILE_PX}z"
        for place in places
    )
    return f'<path fill="{colour}" fill-opacity="{opacity}" d="{squares}"/>' if squares else ""


def _svg(areas: Areas, shapes: Sequence[str]) -> str:
    size = f'width="{areas.width}" height="{areas.height}" viewBox="0 0 {areas.width} {areas.height}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} preserveAspectRatio="none" shape-rendering="crispEdges">'
        + "".join(shapes)
        + "</svg>"
    )
