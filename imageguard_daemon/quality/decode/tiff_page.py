"""The first page of a TIFF file: what its tags say, and its samples where Pillow has no mode for them.

Samples may be of any depth and number: floating point, 12 bits, five bands, planes. libtiff unpacks them, whatever the
codec, if it is told that there is nothing but grey bytes; NumPy makes samples of those.
Source: TIFF 6.0, sections 8 (compression), 14 (predictor), 15 (tiles) and 19 (sample formats); Adobe's TIFF
Technical Note 3 for the predictor of floating point.
"""

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.quality.decode.pillow import Image, TiffImagePlugin
from imageguard_daemon.quality.decode.pillow_pixels import pillow_guard

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_ORIENTATION, _BANDS, _ROWS_PER_STRIP, _PLANES, _PREDICTOR = 274, 277, 278, 284, 317
_TILE_WIDTH, _TILE_ROWS, _EXTRA_SAMPLES, _SAMPLE_FORMAT, _JPEG_TABLES = 322, 323, 338, 339, 347
_STARTS, _SIZES = (324, 273), (325, 279)  # of tiles or strips
_NO_DATA = 42113  # GDAL's, as text
_NEEDED = frozenset({*range(254, 260), 262, 266, 273, 277, 278, 279, 284, 317, 320, *range(322, 326)})
_BYTES_OF_TYPE = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BIG_TIFF = (b"II+\0", b"MM\0+")
_BLACK_IS_ZERO, _YCBCR = 1, 6
_OLD_JPEG, _JPEG = 6, 7

CODECS = {
    1: "no compression", 2: "CCITT", 3: "group 3 fax", 4: "group 4 fax", 5: "LZW", 6: "old JPEG", 7: "JPEG",
    8: "Deflate", 9: "JBIG", 10: "JBIG", 32766: "NeXT", 32773: "PackBits", 32809: "ThunderScan", 32946: "Deflate",
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGI LogLuv",
    34677: "SGI LogLuv", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of a camera", 34925: "LZMA",
    34926: "Zstandard", 34927: "WebP", 34933: "PNG", 34934: "JPEG XR", 22610: "JPEG XR", 48124: "Jetraw",
    50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
_FORMATS = {1: "", 2: "signed ", 3: "floating-point ", 4: "", 5: "complex ", 6: "complex "}

_UNSIGNED, _SIGNED, _REAL, _UNDEFINED = 1, 2, 3, 4
_KIND = {_UNSIGNED: "u", _SIGNED: "i", _REAL: "f", _UNDEFINED: "u"}
_WHOLE_BYTES = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}
_MAX_ODD_BITS = 32
_OF_DIFFERENCES, _OF_FLOATS = 2, 3
_CODECS_OF_BYTES = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})
"""None, LZW, Deflate (twice), PackBits, LZMA, Zstandard: what is packed are bytes, whatever they stand for."""
_BAND_ROWS = 64
_LONG = 4


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
        return self.photometric == _YCBCR and self.compression not in (_OLD_JPEG, _JPEG)

    @property
    def parts_across(self) -> int:
        """How many parts stand side by side."""
        return -(-self.width // self.part_width)

    @property
    def parts_down(self) -> int:
        """How many parts stand one below another."""
        return -(-self.height // self.part_rows)

    @property
    def parts_in_a_plane(self) -> int:
        """How many parts the picture needs, or each of its planes."""
        return self.parts_across * self.parts_down


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
    next_page = data[end : end + value]
    directory = len(sound).to_bytes(head, order) + b"".join(sound) + next_page
    # In the place of the old one, which is longer: all that the tags point to stays where it is.
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


# --- samples


@dataclass(frozen=True, slots=True)
class _Part:
    """The strips or tiles of one plane; a strip is a tile as wide as the picture."""

    width: int
    rows: int
    across: int
    down: int
    row_bytes: int
    samples_in_a_row: int


def can_read(tags: Tags) -> bool:
    """Check whether the samples can be made of bytes."""
    kind = _KIND.get(tags.sample_format, "")
    is_plain = tags.bits in _WHOLE_BYTES.get(kind, ()) or (kind == "u" and 1 <= tags.bits <= _MAX_ODD_BITS)
    return is_plain and tags.has_equal_bits and tags.compression in _CODECS_OF_BYTES


def samples_of(data: bytes, tags: Tags, most_bands: int) -> NDArray[np.generic]:
    """Give the samples of the first page as stored, height x width x bands, of the first bands only.

    The caller guards against what Pillow raises on damage.
    """
    planes = min(tags.bands, most_bands) if tags.is_planar else 1
    bands = 1 if tags.is_planar else tags.bands
    part = _part(tags, bands)
    each = part.across * part.down  # parts of a plane, all of the first plane before those of the second
    chosen = [slice(number * each, (number + 1) * each) for number in range(planes)]
    made = [_plane(data, tags, part, bands, parts) for parts in chosen]
    samples = made[0] if planes == 1 else np.concatenate(made, axis=2)
    return samples[:, :, :most_bands]


def _part(tags: Tags, bands: int) -> _Part:
    row_samples = tags.part_width * bands
    return _Part(
        width=tags.part_width,
        rows=tags.part_rows,
        across=tags.parts_across,
        down=tags.parts_down,
        row_bytes=-(-row_samples * tags.bits // 8),  # each row begins with a byte of its own
        samples_in_a_row=row_samples,
    )


def _plane(data: bytes, tags: Tags, part: _Part, bands: int, chosen: slice) -> NDArray[np.generic]:
    packed = _unpacked(data, tags, part, chosen)
    rows = len(packed)
    packed = packed.reshape(rows * part.across, part.row_bytes)
    # A few rows at a time: of an odd depth each bit takes a byte meanwhile.
    step = _BAND_ROWS * part.across
    parts = [_samples(packed[top : top + step], tags, part, bands) for top in range(0, len(packed), step)]
    plane = np.concatenate(parts).reshape(rows, part.across * part.width, bands)
    return plane[: tags.height, : tags.width]


def _unpacked(data: bytes, tags: Tags, part: _Part, chosen: slice) -> NDArray[np.uint8]:
    """Have the bytes of a plane unpacked, rows x bytes, those of all tiles that stand side by side in one row."""
    width = part.row_bytes * part.across
    height = part.rows * part.down if tags.is_tiled else tags.height
    entries: dict[int, tuple[int, ...]] = {
        _WIDTH: (width,),
        _HEIGHT: (height,),
        _BITS: (8,),
        _COMPRESSION: (tags.compression,),
        _PHOTOMETRIC: (_BLACK_IS_ZERO,),
        _FILL_ORDER: (tags.fill_order,),
        _BANDS: (1,),
        _STARTS[not tags.is_tiled]: tags.starts[chosen],
        _SIZES[not tags.is_tiled]: tags.sizes[chosen],
    }
    if tags.is_tiled:
        entries |= {_TILE_WIDTH: (part.row_bytes,), _TILE_ROWS: (part.rows,)}
    else:
        entries |= {_ROWS_PER_STRIP: (part.rows,)}
    # Behind all else, and at an even place: so the parts stay where `starts` has them.
    at = len(data) + len(data) % 2
    head = b"II*\0" + at.to_bytes(4, "little")
    filling = bytes(at - len(data))
    file = b"".join((head, data[8:], filling, _written_directory(entries, at)))
    with Image.open(io.BytesIO(file), formats=["TIFF"]) as image:
        return np.asarray(image, np.uint8)


def _written_directory(entries: dict[int, tuple[int, ...]], at: int) -> bytes:
    """Write the tags of a page, in rising order as libtiff wants them, for the place where they will stand."""
    values_at = at + 2 + 12 * len(entries) + 4
    written, values = struct.pack("<H", len(entries)), b""
    for tag, numbers in sorted(entries.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        where = packed if len(numbers) == 1 else struct.pack("<I", values_at + len(values))
        values += packed if len(numbers) > 1 else b""
        written += struct.pack("<HHI", tag, _LONG, len(numbers)) + where
    return written + bytes(4) + values


def _samples(packed: NDArray[np.uint8], tags: Tags, part: _Part, bands: int) -> NDArray[np.generic]:
    """Make samples of some rows of bytes: rows x samples."""
    kind, order = _KIND[tags.sample_format], tags.byte_order
    if tags.bits not in _WHOLE_BYTES[kind]:
        return _of_odd_bits(packed, tags.bits, part.samples_in_a_row)
    size = tags.bits // 8
    if tags.predictor == _OF_FLOATS and kind == "f":
        # Technical Note 3: in each row the highest bytes of all samples come first, then the next; as differences.
        summed = np.cumsum(packed.reshape(len(packed), -1, bands), axis=1, dtype=np.uint8)
        by_bytes = summed.reshape(len(packed), size, -1)
        by_samples = np.ascontiguousarray(by_bytes.transpose(0, 2, 1))
        return by_samples.view(f">{kind}{size}")[:, :, 0]
    samples = packed.view(f"{order}{kind}{size}")
    if tags.predictor == _OF_DIFFERENCES and kind != "f":
        # Each differs from the one on its left in its band, with overflow: sums must have as many bits.
        native = samples.astype(f"={kind}{size}").reshape(len(packed), -1, bands)
        return np.cumsum(native, axis=1, dtype=native.dtype).reshape(len(packed), -1)
    return samples


def _of_odd_bits(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint32]:
    """Make samples that end within bytes; what is left of the last byte of a row is filling."""
    in_a_row = np.unpackbits(packed, axis=1)[:, : count * bits]
    single = in_a_row.reshape(len(packed), count, bits)
    values = np.zeros((len(packed), count), np.uint32)
    for bit in range(bits):
        values = (values << np.uint32(1)) | single[:, :, bit]
    return values
