"""Holes, which decoders pass over in silence: sectors of zeros or of 0xFF where compressed data should be; pure.

They are left by uploads and disks that lost power. Decoders notice only data that ends too early or cannot be read.
"""

import re

from imageguard_daemon.core.errors import ImageError

_SECTOR, _PAGE = 512, 4096
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
