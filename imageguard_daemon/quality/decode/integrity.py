"""Damage that decoders pass over in silence; pure, standard library only.

Decoders notice data that ends too early or cannot be read. What else a file holds that tells damage is looked at here:
holes (whole sectors of zeros or of 0xFF where compressed data should be) and blocks that end too early.
"""

import re
import zlib
from collections.abc import Iterator

from imageguard_daemon.core.errors import ImageError

_SECTOR, _PAGE = 512, 4096
_SLICE = 1 << 16  # unpacks to 66 MB at most
_MISSING = (b"\0", b"\xff")
_RUNS = {byte: re.compile(re.escape(byte) + b"*") for byte in _MISSING}


def hole_in(data: bytes, start: int, end: int) -> int | None:
    """Give where sectors that were never written begin, or None.

    Every coder may repeat one byte for long, over a blank sky or a black border: that alone proves nothing. A run
    counts as a hole only if it begins and ends with a sector of 512 bytes, or begins with a page of 4096 and goes on
    to the end of the data. A run that an encoder wrote does so by chance once in 262 144, or in 4096 times.
    """
    for byte in _MISSING:
        at = data.find(byte * _SECTOR, start, end)
        while at != -1:
            stop = _end_of_run(data, byte, at, end)
            if at % _SECTOR == 0 and (stop % _SECTOR == 0 if stop < end else at % _PAGE == 0):
                return at
            at = data.find(byte * _SECTOR, stop, end)
    return None


def _end_of_run(data: bytes, byte: bytes, at: int, end: int) -> int:
    run = _RUNS[byte].match(data, at, end)
    return run.end() if run else at


def require_no_hole(data: bytes, start: int, end: int, name: str) -> None:
    """Refuse a hole within compressed pixels.

    Raises:
        ImageError: `corrupt`.
    """
    at = hole_in(data, start, end)
    if at is not None:
        fill = "zeros" if data[at] == 0 else "0xFF"
        raise ImageError("corrupt", f"{name}: a hole filled with {fill} at byte {at}")


def require_intact_webp(data: bytes) -> None:
    """Look for holes in the bit streams of a WebP file, of an animation in all frames.

    Raises:
        ImageError: `corrupt`.
    """
    for kind, start, end in _riff_chunks(data, 12, len(data)):
        if kind in (b"VP8 ", b"VP8L", b"ALPH"):
            require_no_hole(data, start, end, "WEBP")


def _riff_chunks(data: bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while at + 8 <= end:
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        stop = min(at + 8 + size, end)
        if kind == b"ANMF":
            yield from _riff_chunks(data, at + 24, stop)
        else:
            yield kind, at + 8, stop
        at += 8 + size + size % 2


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
