"""TIFF samples of any depth and number, for which Pillow has no mode: float, 12 bits, five bands, planes.

libtiff unpacks, whatever the codec, if it is told that there is nothing but grey bytes; NumPy makes samples of them.
Source: TIFF 6.0, sections 8 (compression), 14 (predictor), 15 (tiles) and 19 (sample formats); Adobe's TIFF
Technical Note 3 for the predictor of floating point.
"""

import io
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from imageguard_daemon.quality.decode.pillow import Image
from imageguard_daemon.quality.decode.tiff_tags import Tags

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
    each = part.across * part.down
    made = [_plane(data, tags, part, bands, slice(number * each, (number + 1) * each)) for number in range(planes)]
    return np.concatenate(made, axis=2)[:, :, :most_bands] if planes > 1 else made[0][:, :, :most_bands]


def _part(tags: Tags, bands: int) -> _Part:
    row_samples = tags.part_width * bands
    across, down = -(-tags.width // tags.part_width), -(-tags.height // tags.part_rows)
    return _Part(tags.part_width, tags.part_rows, across, down, -(-row_samples * tags.bits // 8), row_samples)


def _plane(data: bytes, tags: Tags, part: _Part, bands: int, chosen: slice) -> NDArray[np.generic]:
    packed = _unpacked(data, tags, part, chosen)
    rows = len(packed)
    packed = packed.reshape(rows * part.across, part.row_bytes)
    parts = [
        _samples(packed[top : top + _BAND_ROWS * part.across], tags, part, bands)
        for top in range(0, len(packed), _BAND_ROWS * part.across)
    ]
    plane = np.concatenate(parts).reshape(rows, part.across * part.width, bands)
    return plane[: tags.height, : tags.width]


def _unpacked(data: bytes, tags: Tags, part: _Part, chosen: slice) -> NDArray[np.uint8]:
    """Have the bytes of a plane unpacked, rows x bytes, those of all tiles that stand side by side in one row."""
    width = part.row_bytes * part.across
    height = part.rows * part.down if tags.is_tiled else tags.height
    entries: dict[int, tuple[int, ...]] = {256: (width,), 257: (height,), 258: (8,), 262: (1,), 277: (1,)}
    entries |= {259: (tags.compression,), 266: (tags.fill_order,)}
    starts, sizes = tags.starts[chosen], tags.sizes[chosen]
    if tags.is_tiled:
        entries |= {322: (part.row_bytes,), 323: (part.rows,), 324: starts, 325: sizes}
    else:
        entries |= {278: (part.rows,), 273: starts, 279: sizes}
    at = len(data) + len(data) % 2
    head = b"II*\0" + at.to_bytes(4, "little")
    file = b"".join((head, data[8:], bytes(at - len(data)), _directory(entries, at)))
    with Image.open(io.BytesIO(file), formats=["TIFF"]) as image:
        return np.asarray(image, np.uint8)


def _directory(entries: dict[int, tuple[int, ...]], at: int) -> bytes:
    """Write the tags of a page, all of 32 bits, for the place where they will stand."""
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
        summed = np.cumsum(packed.reshape(len(packed), -1, bands), axis=1, dtype=np.uint8)
        apart = summed.reshape(len(packed), size, -1)
        return np.ascontiguousarray(apart.transpose(0, 2, 1)).view(f">{kind}{size}")[:, :, 0]
    samples = packed.view(f"{order}{kind}{size}")
    if tags.predictor == _OF_DIFFERENCES and kind != "f":
        native = samples.astype(f"={kind}{size}").reshape(len(packed), -1, bands)
        return np.cumsum(native, axis=1, dtype=native.dtype).reshape(len(packed), -1)
    return samples


def _of_odd_bits(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint32]:
    single = np.unpackbits(packed, axis=1)[:, : count * bits].reshape(len(packed), count, bits)
    values = np.zeros((len(packed), count), np.uint32)
    for bit in range(bits):
        values = (values << np.uint32(1)) | single[:, :, bit]
    return values
