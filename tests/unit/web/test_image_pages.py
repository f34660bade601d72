"""Drawings show each tile once, in its place."""

import xml.etree.ElementTree as ET

from imageguard_daemon.sandbox.answers import Areas
from imageguard_daemon.web.pages.images import BLACK, SHARPNESS, WHITE, clipping_map, sharpness_map

AREAS = Areas(72, 48, 3, (0.5, 1.5, 2.5, 8.0, None, None), (0, 0, 0, 0, 0.3, 0.9), (0.04, 0.05, 0, 0, 0, 0))


def _paths(svg):
    found = ET.fromstring(svg).findall("{http://www.w3.org/2000/svg}path")  # noqa: S314 - our own drawing
    return [(one.get("fill"), one.get("fill-opacity"), one.get("d")) for one in found]


def test_blur_goes_from_blue_to_red():
    """Each tile has the colour of its step; one in which nothing could be sharp has none."""
    colours = [colour for _, colour in SHARPNESS]
    assert [path[0] for path in _paths(sharpness_map(AREAS))] == colours
    assert [path[2][:8] for path in _paths(sharpness_map(AREAS))] == ["M0 0h24v", "M24 0h24", "M48 0h24", "M0 24h24"]


def test_clipped_tiles_are_stronger_the_more_of_them_is():
    """Below 5 % nothing is shown."""
    found = _paths(clipping_map(AREAS))
    assert [(colour, d[:9]) for colour, _, d in found] == [
        (BLACK, "M24 24h24"),
        (BLACK, "M48 24h24"),
        (WHITE, "M24 0h24v"),
    ]
    assert found[0][1] < found[1][1]
