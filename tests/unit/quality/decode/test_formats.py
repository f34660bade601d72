"""Which format some bytes are in."""

import pytest

from imageguard_daemon.quality.decode.formats import HANDLED, recognise, resemblance
from tests.helpers.images import jpeg, photo, png


def ftyp(*brands: bytes) -> bytes:
    size = 8 + 4 * (len(brands) + 1)
    return size.to_bytes(4, "big") + b"ftyp" + brands[0] + bytes(4) + b"".join(brands[1:])


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"8BPS\0\1", "Photoshop document"),
        (b"%PDF-1.7", "PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "SVG"),
        (b"<svg width='3'>", "SVG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"IIRO\x08\0\0\0", "Olympus RAW"),
        (ftyp(b"heic", b"mif1"), "HEIC"),
        (ftyp(b"mif1", b"avif"), "AVIF"),
        (ftyp(b"crx ", b"isom"), "Canon RAW (CR3)"),
        (ftyp(b"isom", b"mp42"), "MP4 or QuickTime video"),
        (b"\x1aE\xdf\xa3\x01", "Matroska or WebM video"),
        (b"RIFF\0\0\0\0AVI LIST", "AVI video"),
        (b"P6\n3 3\n255\n", "portable anymap (PNM)"),
        (b"", ""),
        (b"hello", ""),
        (b"RIFF\0\0\0\0????", ""),
    ],
)
def test_formats_are_recognised_by_content(data, name):
    """A format is told by its first bytes, in words a person knows."""
    assert recognise(data) == name


def test_handled_formats_are_recognised():
    """What the decoders read is what the allow-list says."""
    rgb = photo(40, 30)
    assert {recognise(jpeg(rgb)), recognise(png(rgb))} == {"JPEG", "PNG"} <= HANDLED


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b'{"error": "not found"}', "text"),
        (b"PK\x03\x04\x14\0", "a ZIP archive"),
        (bytes(64), "nothing but zero bytes"),
        (b"\x93\x8f\x01\x02\xfe", ""),
    ],
)
def test_what_is_no_image_is_described(data, words):
    """A scraper's error page is called one."""
    assert resemblance(data) == words
