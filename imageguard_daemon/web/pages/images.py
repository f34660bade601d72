"""Pictures of filed images: small ones and maps from confined processes, whole ones; or why there is none."""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from imageguard_daemon import __version__
from imageguard_daemon.audit.quarantine_queries import reviewable_image
from imageguard_daemon.audit.queries import decision_row
from imageguard_daemon.audit.store import Store
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import RetryableError, UnavailableError
from imageguard_daemon.core.names import original
from imageguard_daemon.quality.decode.formats import recognise
from imageguard_daemon.sandbox.answers import TILE_PX, Areas, read_areas
from imageguard_daemon.sandbox.pictures import MapMaker, ThumbnailMaker, contents_of, is_too_large_to_show
from imageguard_daemon.web.query_parameters import DecisionId
from imageguard_daemon.web.site import Site

MAX_BYTES = 48 * 1024 * 1024
"""Memory for small pictures: some thousands of them."""
MAX_RENDERS = 20_000
"""What cannot be decoded takes hardly any memory, and is remembered, too."""
SHOWABLE = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
}
"""What browsers show, by its content and never by its name; none of these can run anything."""
ImageFile = tuple[Path, str]
"""Where a file is, and what its SHA-256 must be."""
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


class RenderCache:
    """Makes and remembers small pictures, or maps, by the content of their image; any thread may ask."""

    def __init__(self, maker: ThumbnailMaker | MapMaker) -> None:
        self._maker = maker
        self._making, self._lock = threading.Lock(), threading.Lock()
        self._renders: OrderedDict[str, bytes] = OrderedDict()
        self._bytes = 0

    def of(self, path: Path, sha256: str) -> bytes | None:
        """Give what was made; empty when it cannot be decoded, None when there is no such content there."""
        with self._lock:
            if sha256 in self._renders:
                self._renders.move_to_end(sha256)
                return self._renders[sha256]
        with self._making:  # one decoder: a gallery must not take the processors from the daemon
            data = contents_of(path, sha256)
            if not data:
                return None
            try:
                render = self._maker.make(data)
            except (RetryableError, UnavailableError):  # says nothing about the image: not remembered
                return b""
        self._keep(sha256, render)
        return render

    def _keep(self, sha256: str, render: bytes) -> None:
        with self._lock:
            self._bytes += len(render) - len(self._renders.pop(sha256, b""))
            self._renders[sha256] = render
            while self._bytes > MAX_BYTES or len(self._renders) > MAX_RENDERS:
                self._bytes -= len(self._renders.popitem(last=False)[1])

    def close(self) -> None:
        """End the process."""
        self._maker.close()


def place_of(
    log: Store, settings: Settings, decision_id: int, row: Mapping[str, object] | None = None
) -> ImageFile | None:
    """Say where an image's file is now and what its SHA-256 must be; None when it is nowhere.

    Paths come from the log alone, and none leads out of the folders of the configuration.
    """
    held = reviewable_image(log, decision_id)
    if held is not None and (held.last_review is not None or held.verdict == "quarantined"):
        place: ImageFile | None = next(((Path(f.path), f.sha256) for f in held.files if f.role == "image"), None)
    else:
        row = row or decision_row(log, decision_id)
        place = (settings.root / original(str(row["destination"] or "")), str(row["sha256"])) if row else None
    folders = [folder for source in settings.sources for folder in source.folders[1:]]
    return place if place and any(_is_below(place[0], folder) for folder in folders) else None


def _is_below(path: Path, folder: Path) -> bool:
    return os.path.normpath(path).startswith(os.path.join(os.path.normpath(folder), ""))


def whole(path: Path, sha256: str) -> tuple[bytes, str]:
    """Give an image's bytes and media type for a browser; nothing where it is changed, gone or not for browsers."""
    data = contents_of(path, sha256)
    media_type = SHOWABLE.get(recognise(data), "") if data else ""
    return (data, media_type) if media_type else (b"", "")


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
