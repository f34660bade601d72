"""Damage as storage, networks and broken uploaders do it: bytes in, bytes out, drawn from a seeded generator."""

from collections.abc import Callable
from random import Random

_BLOCK = 4096


def _block(data: bytes, rng: Random) -> tuple[int, int]:
    """Give start and end of 4 KiB (of a small file a quarter), anywhere but in the first 2 %, where headers are."""
    size = min(_BLOCK, max(len(data) // 4, 1))
    first = min(max(len(data) // 50, 32), len(data) - size)
    start = rng.randint(first, len(data) - size)
    return start, start + size


def truncated(data: bytes, rng: Random) -> bytes:
    """The upload broke off."""
    return data[: rng.randint(len(data) // 50, len(data) * 98 // 100)]


def tail_missing(data: bytes, rng: Random) -> bytes:
    """Only the last buffer was never flushed: 64 bytes to 4 KiB, at most a tenth."""
    most = min(_BLOCK, len(data) // 10)
    return data[: -rng.randint(min(64, most), most)]


def _overwritten(fill: Callable[[int, Random], bytes]) -> Callable[[bytes, Random], bytes]:
    def damage(data: bytes, rng: Random) -> bytes:
        start, end = _block(data, rng)
        return data[:start] + fill(end - start, rng) + data[end:]

    return damage


def zero_sectors(data: bytes, rng: Random) -> bytes:
    """Sectors of 512 bytes, up to 4 KiB, were never written: what a torn file has after a crash."""
    number = min(_BLOCK, len(data) // 4) // 512
    if not number:
        return data
    start = 512 * rng.randint(1, len(data) // 512 - number)
    return data[:start] + bytes(512 * number) + data[start + 512 * number :]


def zero_tail(data: bytes, rng: Random) -> bytes:
    """The space was allocated, and not all of it was written."""
    kept = rng.randint(len(data) // 50, len(data) * 98 // 100)
    return data[:kept] + bytes(len(data) - kept)


def flipped_bit(data: bytes, rng: Random) -> bytes:
    """One bit was read or sent wrong."""
    at = rng.randrange(max(len(data) // 50, 32), len(data))
    return data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :]


def changed_bytes(data: bytes, rng: Random) -> bytes:
    """Sixteen bytes in places of their own have other values."""
    damaged = bytearray(data)
    for _ in range(16):
        at = rng.randrange(max(len(data) // 50, 32), len(data))
        damaged[at] ^= rng.randint(1, 255)
    return bytes(damaged)


def swapped_blocks(data: bytes, rng: Random) -> bytes:
    """Two blocks of 4 KiB (of a small file an eighth) stand in each other's place."""
    size = min(_BLOCK, len(data) // 8)
    first = rng.randint(min(max(len(data) // 50, 32), len(data) - 2 * size), len(data) - 2 * size)
    second = rng.randint(first + size, len(data) - size)
    left, middle = data[first : first + size], data[first + size : second]
    return data[:first] + data[second : second + size] + middle + left + data[second + size :]


def lost_block(data: bytes, rng: Random) -> bytes:
    """A block in the middle is missing; the rest moved up."""
    start, end = _block(data, rng)
    return data[:start] + data[end:]


def doubled_block(data: bytes, rng: Random) -> bytes:
    """A block was sent twice, as a resumed upload at a wrong offset does."""
    start, end = _block(data, rng)
    return data[:end] + data[start:]


def strange_tail(data: bytes, rng: Random) -> bytes:
    """From somewhere on it is noise: another file's sectors, a decrypted half."""
    kept = rng.randint(len(data) // 50, len(data) * 98 // 100)
    return data[:kept] + rng.randbytes(len(data) - kept)


DAMAGES: dict[str, Callable[[bytes, Random], bytes]] = {
    "truncated": truncated,
    "tail missing": tail_missing,
    "zero block": _overwritten(lambda size, _: bytes(size)),
    "zero sectors": zero_sectors,
    "0xFF block": _overwritten(lambda size, _: b"\xff" * size),
    "random block": _overwritten(lambda size, rng: rng.randbytes(size)),
    "zero tail": zero_tail,
    "strange tail": strange_tail,
    "flipped bit": flipped_bit,
    "changed bytes": changed_bytes,
    "swapped blocks": swapped_blocks,
    "lost block": lost_block,
    "doubled block": doubled_block,
}
