"""Facts from JPEG headers."""

import pytest

from imageguard_daemon.errors import ImageError
from imageguard_daemon.quality.jpeg import luma_table, nearest_quality, read_header
from tests.helpers.images import jpeg, photo


@pytest.mark.parametrize("quality", [1, 5, 10, 25, 49, 50, 51, 75, 92, 95, 100])
def test_libjpeg_quality_is_read_back(quality):
    """The quality a file was saved with is told exactly from its tables."""
    header = read_header(jpeg(photo(64, 48), quality))
    assert header.libjpeg_quality == quality
    assert (header.width, header.height, header.components) == (64, 48, 3)


def test_tables_order_as_qualities_do():
    """A lower quality never has a finer step."""
    for quality in range(2, 101):
        steps = zip(luma_table(quality), luma_table(quality - 1), strict=True)
        assert all(finer <= coarser for finer, coarser in steps)


def test_foreign_tables_get_the_nearest_quality():
    """A table of another encoder is placed between libjpeg's."""
    table = tuple(step + 1 for step in luma_table(60))
    assert 50 <= nearest_quality(table) <= 62


@pytest.mark.parametrize("data", [b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\xff\xd8" + b"\xff" * 50])
def test_headers_without_a_frame_are_corrupt(data):
    """A JPEG that announces no frame is corrupt, not an accident."""
    with pytest.raises(ImageError, match="frame"):
        read_header(data)
