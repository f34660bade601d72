"""Maps of an image as transparent drawings to be laid over it; pure."""

from collections.abc import Iterable, Sequence

from imageguard_daemon.sandbox.answers import TILE_PX, Areas

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
