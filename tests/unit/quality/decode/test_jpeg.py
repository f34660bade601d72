"""Facts from JPEG headers."""

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.jpeg import MAX_SCANS, equivalent_quality, has_more_scans, luma_table, read_header
from imageguard_daemon.quality.measurement import measure_bytes
from tests.helpers.images import encoded, jpeg, photo


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


def test_foreign_tables_get_the_equivalent_quality():
    """A table of another encoder is placed between libjpeg's."""
    table = tuple(step + 1 for step in luma_table(60))
    assert 50 <= equivalent_quality(table) <= 62


def test_a_table_of_mpeg_is_read_as_the_harm_it_does():
    """Steps that grow slowly with the frequency spare detail: qualities of 41 and 19 do as much harm, by SSIM."""
    mpeg = np.array([8, 16, 16, 19, 16, 19, *[22] * 6, 26, 24, 26, *[27] * 3, *[26] * 4, *[27] * 3, *[29] * 3,
                     *[34] * 3, *[29] * 3, 27, 27, 29, 29, 32, 32, 34, 34, 37, 38, 37, 35, 35, 34, 35, 38, 38,
                     40, 40, 40, 48, 48, 46, 46, 56, 56, 58, 69, 69, 83])  # fmt: skip
    assert len(mpeg) == 64
    qualities = [equivalent_quality(tuple(int(step) for step in mpeg * scale // 8)) for scale in (12, 20)]
    assert abs(qualities[0] - 41) <= 3
    assert abs(qualities[1] - 19) <= 2


@pytest.mark.parametrize("data", [b"\xff\xd8", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"\xff\xd8" + b"\xff" * 50])
def test_headers_without_a_frame_are_corrupt(data):
    """A JPEG that announces no frame is corrupt, not an accident."""
    with pytest.raises(ImageError, match="frame"):
        read_header(data)


def _with_scans_again(again, *between):
    """Give a progressive JPEG whose last scan comes `again` times more, each after these bytes."""
    data = encoded(Image.new("L", (64, 64), 128), "JPEG", progressive=True)
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:end] + b"".join((*between, data[last:end])) * again + b"\xff\xd9"


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded():
    """Ten bytes a scan, each over all pixels: such a bomb of time is `too_large`, however the scans are dressed up."""
    comment = b"\xff\xfe\x00\x06\xff\xd9\xff\xd9"  # holds what looks like the picture's end
    for data in (_with_scans_again(5000), _with_scans_again(200, comment), _with_scans_again(200, b"\xff" * 9)):
        found = measure_bytes(data, Limits())
        assert (found.issue, found.detail) == ("too_large", f"more than {MAX_SCANS} scans over 64 x 64 pixels")


def test_of_a_picture_that_is_whole_in_its_first_scan_no_other_is_decoded():
    """So there is nothing to count: decoders end at a second one."""
    data = encoded(Image.new("L", (64, 64), 128), "JPEG")
    scans = data[data.rindex(b"\xff\xda") : -2] * 500
    found = measure_bytes(data[:-2] + scans + data[-2:], Limits())
    assert (found.issue, found.detail) == ("corrupt", "JPEG: Didn't expect more than one scan")


def test_only_scans_of_the_picture_count():
    """What looks like scans in comments, after the end, and in previews is none; a progressive JPEG has about ten."""
    for data in (
        _with_scans_again(0) + b"\xff\xda" * 500,
        _with_scans_again(1, b"\xff\xfe\x03\xea" + b"\xff\xda" * 500),
        encoded(Image.fromarray(photo(96, 80)), "JPEG", progressive=True),
    ):
        assert not has_more_scans(data, read_header(data), MAX_SCANS)
        assert has_more_scans(data, read_header(data), 3)
