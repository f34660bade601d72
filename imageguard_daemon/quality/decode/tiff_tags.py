"""What the tags of a TIFF file say of its first page, in words that do not depend on who decodes it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.quality.decode.pillow import TiffImagePlugin
from imageguard_daemon.quality.decode.pillow_pixels import pillow_guard

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_ORIENTATION, _BANDS, _ROWS_PER_STRIP, _PLANES, _PREDICTOR = 274, 277, 278, 284, 317
_TILE_WIDTH, _TILE_ROWS, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES = 322, 323, 338, 339, 347
_STARTS, _SIZES = (324, 273), (325, 279)  # of tiles or strips
_NO_DATA = 42113  # GDAL's, as text
_NEEDED = frozenset({*range(254, 260), 262, 266, 273, 277, 278, 279, 284, 317, 320, *range(322, 326)})
_BYTES_OF_TYPE = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BIG_TIFF = (b"II+\0", b"MM\0+")

CODECS = {
    1: "no compression", 2: "CCITT", 3: "group 3 fax", 4: "group 4 fax", 5: "LZW", 6: "old JPEG", 7: "JPEG",
    8: "Deflate", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 32773: "PackBits", 32809: "ThunderScan", 32946: "Deflate",
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGI LogLuv",
    34677: "SGI LogLuv", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of a camera", 34925: "LZMA",
    34926: "Zstandard", 34927: "WebP", 34933: "PNG", 34934: "JPEG XR", 22610: "JPEG XR", 48124: "Jetraw",
    50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_FORMATS = {1: "", 2: "signed ", 3: "floating-point ", 4: "", 5: "complex ", 6: "complex "}


@dataclass(frozen=True, slots=True)
class Tags:
    """The first page of a TIFF file. A strip is a part as wide as the page."""

    width: int
    height: int
    bits: int
    has_equal_bits: bool
    bands: int
    sample_format: int
    photometric: int
    compression: int
    predictor: int
    fill_order: int
    orientation: int
    is_planar: bool
    is_tiled: bool
    part_width: int
    part_rows: int
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    extra_samples: tuple[int, ...]
    jpeg_tables: bytes
    no_data: float | None
    byte_order: str
    directory: Mapping[int, Any]

    @property
    def in_words(self) -> str:
        """Say what the page is made of."""
        codec = CODECS.get(self.compression, f"codec {self.compression}")
        planes = ", in planes" if self.is_planar and self.bands > 1 else ""
        bands = f"{self.bands} band{'s' if self.bands != 1 else ''}"
        return f"{bands} of {self.bits} {_FORMATS.get(self.sample_format, 'unknown ')}bits ({codec}{planes})"

    @property
    def has_plain_colour_differences(self) -> bool:
        """Whether it is YCbCr, in 8 bits and not packed as JPEG."""
        return self.photometric == 6 and self.compression not in (6, 7)

    @property
    def parts_across(self) -> int:
        """How many parts stand side by side."""
        return -(-self.width // self.part_width)

    @property
    def parts_in_a_plane(self) -> int:
        """How many parts the picture needs, or each of its planes."""
        return self.parts_across * -(-self.height // self.part_rows)


def without_broken_tags(data: bytes) -> bytes:
    """Give the file without the tags of its first page whose values lie outside of it, if pixels do not need them.

    Pillow reads no tag that comes after such a one, and libtiff goes on.
    """
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    is_big = data[:4] in _BIG_TIFF
    at = int.from_bytes(data[8:16] if is_big else data[4:8], order)
    head, entry, value = (8, 20, 8) if is_big else (2, 12, 4)
    count = int.from_bytes(data[at : at + head], order)
    first, end = at + head, at + head + count * entry
    entries = [data[start : start + entry] for start in range(first, min(end, len(data)), entry)]
    sound = [each for each in entries if not _is_broken(each, order, value, len(data))]
    if len(sound) == len(entries) or end + value > len(data):
        return data
    directory = len(sound).to_bytes(head, order) + b"".join(sound) + data[end : end + value]
    return data[:at] + directory + data[at + len(directory) :]


def _is_broken(entry: bytes, order: Literal["little", "big"], value: int, file_bytes: int) -> bool:
    tag, kind = int.from_bytes(entry[:2], order), int.from_bytes(entry[2:4], order)
    size = int.from_bytes(entry[4 : 4 + value], order) * _BYTES_OF_TYPE.get(kind, 1)
    at = int.from_bytes(entry[4 + value :], order)
    return tag not in _NEEDED and size > value and at + size > file_bytes


def read(data: bytes) -> Tags:
    """Read the tags of the first page.

    Raises:
        ImageError: `corrupt`, when they make no sense.
    """
    with pillow_guard("TIFF"):
        return _tags(_directory(data), "<" if data[:2] == b"II" else ">")


def _directory(data: bytes) -> Mapping[int, Any]:
    head = 16 if data[:4] in _BIG_TIFF else 8
    reader: Any = TiffImagePlugin.ImageFileDirectory_v2(data[:head])
    file = io.BytesIO(data)
    file.seek(reader.next)
    reader.load(file)
    directory: Mapping[int, Any] = reader
    return directory


def _tags(directory: Mapping[int, Any], byte_order: str) -> Tags:
    width, height = _one(directory, _WIDTH, 0), _one(directory, _HEIGHT, 0)
    if width <= 0 or height <= 0:
        raise ImageError("corrupt", f"TIFF: the header claims {width} x {height} pixels")
    bits = tuple(_all(directory, _BITS)) or (1,)
    is_tiled = _STARTS[0] in directory
    rows = min(max(_one(directory, _TILE_ROWS if is_tiled else _ROWS_PER_STRIP, height), 1), 1 << 31)
    return Tags(
        width=width,
        height=height,
        bits=int(bits[0]),
        has_equal_bits=len(set(bits)) == 1,
        bands=max(_one(directory, _BANDS, 1), 1),
        sample_format=_one(directory, _SAMPLE_FORMAT, 1),
        photometric=_one(directory, _PHOTOMETRIC, 1),
        compression=_one(directory, _COMPRESSION, 1),
        predictor=_one(directory, _PREDICTOR, 1),
        fill_order=_one(directory, _FILL_ORDER, 1),
        orientation=_one(directory, _ORIENTATION, 1),
        is_planar=_one(directory, _PLANES, 1) == 2,
        is_tiled=is_tiled,
        part_width=max(_one(directory, _TILE_WIDTH, width), 1) if is_tiled else width,
        part_rows=rows if is_tiled else min(rows, height),
        starts=tuple(_all(directory, _STARTS[not is_tiled])),
        sizes=tuple(_all(directory, _SIZES[not is_tiled])),
        extra_samples=tuple(_all(directory, _EXTRA_SAMPLES)),
        jpeg_tables=bytes(directory.get(_JPEG_TABLES, b"")),
        no_data=_number(directory.get(_NO_DATA)),
        byte_order=byte_order,
        directory=directory,
    )


def _all(directory: Mapping[int, Any], tag: int) -> Sequence[int]:
    """Give the numbers of a tag; a damaged one may have bytes or text instead, which are none."""
    value = directory.get(tag, ())
    values: Sequence[Any] = value if isinstance(value, tuple) else (value,)
    return [one for one in values if not isinstance(one, (bytes, str))]


def _one(directory: Mapping[int, Any], tag: int, default: int) -> int:
    values = _all(directory, tag)
    return int(values[0]) if values else default


def _number(text: object) -> float | None:
    try:
        return float(str(text).strip("\0 ")) if text is not None else None
    except ValueError:
        return None
