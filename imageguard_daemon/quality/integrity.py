"""Damage that decoders pass over in silence; pure, standard library only.

Decoders notice data that ends too early or cannot be read. What else a file holds that tells damage is looked at here:
checksums, and holes: whole sectors of zeros or of 0xFF where compressed data should be.
"""

import re
import zlib
from collections.abc import Iterator

from imageguard_daemon.errors import ImageError

_SECTOR = 512
# The longest run of zeros that libwebp and AOM write into lossy data of blank pictures is 16 bytes.
_IMPOSSIBLE = 256
_SLICE = 1 << 16  # unpacks to 66 MB at most
_MISSING = (b"\0", b"\xff")
_RUNS = {byte: re.compile(re.escape(byte) + b"*") for byte in _MISSING}
_SPATIAL_EXTENT = re.compile(rb"\0\0\0\x14ispe\0{4}(.{4})(.{4})", re.DOTALL)
# Chunks in lower case are optional, and the picture is whole without them; but not without these.
_OPTIONAL_BUT_SEEN = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})


def hole_in(data: bytes, start: int, end: int, *, dense: bool) -> int | None:
    """Give where sectors that were never written begin, or None.

    Data that is `dense` never repeats one byte 256 times. Other compressed data may repeat zeros, for a blank sky;
    then a run counts as a hole only if it begins and ends with a sector of 512 bytes, which chance does once in
    262 144 times.
    """
    for byte in _MISSING:
        shortest = _IMPOSSIBLE if dense else _SECTOR
        at = data.find(byte * shortest, start, end)
        while at != -1:
            stop = _end_of_run(data, byte, at, end)
            if dense or (at % _SECTOR == 0 and stop % _SECTOR == 0):
                return at
            at = data.find(byte * shortest, stop, end)
    return None


def _end_of_run(data: bytes, byte: bytes, at: int, end: int) -> int:
    run = _RUNS[byte].match(data, at, end)
    return run.end() if run else at


def require_no_hole(data: bytes, start: int, end: int, name: str, *, dense: bool = False) -> None:
    """Refuse a hole within compressed pixels.

    Raises:
        ImageError: `corrupt`.
    """
    at = hole_in(data, start, end, dense=dense)
    if at is not None:
        fill = "zeros" if data[at] == 0 else "0xFF"
        raise ImageError("corrupt", f"{name}: a hole filled with {fill} at byte {at}")


def require_intact_webp(data: bytes) -> None:
    """Look for holes in the bit streams of a WebP file, of an animation in all frames.

    Raises:
        ImageError: `corrupt`.
    """
    for kind, start, end in _riff_chunks(data, 12, len(data)):
        if kind in (b"VP8 ", b"VP8L"):
            require_no_hole(data, start, end, "WEBP", dense=kind == b"VP8 ")


def _riff_chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        stop = min(at + 8 + size, end)
        if kind == b"ANMF":
            yield from _riff_chunks(data, at + 24, stop)
        else:
            yield kind, at + 8, stop
        at += 8 + size + size % 2


def require_intact_avif(data: bytes) -> None:
    """Look for holes in the media data of an AVIF file, save where its metadata lies.

    Raises:
        ImageError: `corrupt`.
    """
    for kind, start, end in _boxes(data):
        # EXIF lies in the same box and may have any bytes; it is named and then little else is checked.
        if kind == b"mdat" and data.find(b"Exif\0\0", start, end) == -1:
            require_no_hole(data, start, end, "AVIF", dense=True)


def avif_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """Give every width and height that the metadata of an AVIF file claims: of the picture and of its parts."""
    for kind, start, end in _boxes(data):
        if kind == b"meta":
            for size in _SPATIAL_EXTENT.finditer(data, start, end):
                yield int.from_bytes(size[1], "big"), int.from_bytes(size[2], "big")


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        head = 16 if size == 1 else 8
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        stop = len(data) if size == 0 else min(at + size, len(data))
        yield data[at + 4 : at + 8], at + head, stop
        at = max(stop, at + head)


def require_intact_gif(data: bytes) -> None:
    """Walk the blocks of a GIF: one that ends within a block, in whichever frame, was cut; a missing trailer is none.

    Raises:
        ImageError: `corrupt`.
    """
    at = 13 + _colours(data[10])
    while at < len(data) and data[at : at + 1] in (b"!", b","):
        if data[at : at + 1] == b"!":
            at += 2
        else:
            at += 11 + (_colours(data[at + 9]) if at + 9 < len(data) else 0)
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1  # the empty block that ends the others
    if at > len(data):
        raise ImageError("corrupt", "GIF: the file ends too early")


def _colours(flags: int) -> int:
    """Give the bytes of a colour table, if there is one."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def intact_png(data: bytes) -> bytes:
    """Check the CRC of every chunk up to IEND: decoders stop at the last row and miss damage after it.

    A wrong checksum of metadata (text, EXIF, profile, time) does not make the picture corrupt; those chunks are left
    out of what is given back, since decoders refuse them.

    Raises:
        ImageError: `corrupt`, when the file ends before IEND, or a chunk that matters for pixels is damaged.
    """
    damaged: list[tuple[int, int]] = []
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(view[at : at + 4], "big")
        if end > len(data):
            break
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            if not _is_metadata(kind):
                raise ImageError("corrupt", "PNG: a checksum does not fit its data")
            damaged.append((at, end))
        if kind == b"IEND":
            return _without(data, damaged)
        at = end
    raise ImageError("corrupt", "PNG: the file ends too early")


def _is_metadata(kind: bytes) -> bool:
    return kind.isalpha() and kind[:1].islower() and kind not in _OPTIONAL_BUT_SEEN


def _without(data: bytes, spans: list[tuple[int, int]]) -> bytes:
    kept, at = [], 0
    for start, end in spans:
        kept.append(data[at:start])
        at = end
    return b"".join([*kept, data[at:]]) if spans else data


def deflated_whole(part: bytes, expected_bytes: int) -> bool:
    """Tell whether a zlib stream ends and fits its checksum.

    One that its writer never finished is whole as long as it gives no more than expected. A bomb is not read to
    its end.
    """
    stream, seen, view = zlib.decompressobj(), 0, memoryview(part)
    try:
        for at in range(0, len(part), _SLICE):
            seen += len(stream.decompress(view[at : at + _SLICE]))
            if stream.eof or seen > expected_bytes:
                break
    except zlib.error:
        return False
    return stream.eof or seen <= expected_bytes
