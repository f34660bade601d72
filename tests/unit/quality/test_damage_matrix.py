"""Every format, colour type and depth against every kind of damage: each cell is decided."""

from functools import cache

import numpy as np
import pytest

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.decoder import decode
from tests.helpers.matrix import CELLS, HARMLESS, KINDS, Kind

_EVERY_VALUE_IS_A_PIXEL = ("bmp 24", "tiff rgb 8", "tiff rgb 12", "tiff 5 bands 16")
_ANYTHING_IS_READ = ("webp lossy", "webp lossy and alpha", "webp lossless and alpha", "avif", "avif grey")
_GARBLED, _HOLE, _TAIL = "garbled, checksums repaired", "hole of sectors", "tail of zeros"
NOT_FOUND = {
    *((kind, cell) for kind in _EVERY_VALUE_IS_A_PIXEL for cell in (_GARBLED, _HOLE)),
    *((kind, _GARBLED) for kind in _ANYTHING_IS_READ),
    ("bmp 24", _TAIL),
    *((kind, "rows missing") for kind in ("avif", "avif grey")),  # AV1 has no rows to miss: libavif scales to the size
}
"""What nothing in the file tells; docs/formats.md says why."""


@cache
def kind_of(name: str) -> Kind:
    return KINDS[name]()


def said_of(data: bytes) -> str:
    try:
        decode(data, Limits())
    except ImageError as error:
        return f"{error.issue}: {error.detail}"
    return ""


@pytest.mark.parametrize("cell", HARMLESS)
@pytest.mark.parametrize("kind", KINDS)
def test_whole_pictures_are_judged_whatever_their_metadata(kind: str, cell: str):
    """Broken or huge metadata changes neither verdict nor pixels."""
    data = CELLS[cell](kind_of(kind))
    if data is None:
        pytest.skip("it has no metadata")
    assert said_of(data) == ""
    assert np.array_equal(decode(data, Limits()).grey, decode(kind_of(kind).whole, Limits()).grey)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell not in HARMLESS])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_found_or_listed(kind: str, cell: str):
    """Damaged pictures are corrupt; what cannot be found is listed, and the list has nothing that is found."""
    data = CELLS[cell](kind_of(kind))
    said = said_of(data)
    if (kind, cell) in NOT_FOUND:
        assert not said
    else:
        assert said.startswith("corrupt")
