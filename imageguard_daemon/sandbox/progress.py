"""Where a worker notes which file it is at, for the daemon to read when it is lost or hangs."""

import mmap
import os

_BYTES = 8


class Progress:
    """A number in memory that two processes share: 0 at first, a file's number while it is read, its negative after.

    It is memory without a name: /dev/shm, which every account may fill, is not needed. One process writes, and eight
    bytes at once, so that the other never reads half of a number.
    """

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, _BYTES)
        self._number = memoryview(self._map).cast("q")

    @staticmethod
    def make() -> int:
        """Give the descriptor of new memory; the caller closes it."""
        descriptor = os.memfd_create("imageguard-progress", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _BYTES)
        return descriptor

    def begin_reading(self, number: int) -> None:
        """Note that the disk is waited for from now on, to give the file of this number."""
        self._number[0] = number

    def end_reading(self) -> None:
        """Note that the disk is no longer waited for."""
        self._number[0] = -abs(self._number[0])

    @property
    def value(self) -> int:
        """What was noted last; it differs for each step of each file."""
        return self._number[0]

    @property
    def at(self) -> int:
        """The number of the file that the worker was last heard of being at."""
        return abs(self._number[0])

    @property
    def is_reading(self) -> bool:
        """Whether the worker was last heard of waiting for the disk."""
        return self._number[0] > 0
