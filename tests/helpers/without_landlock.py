"""`python -m tests.helpers.without_landlock COMMAND...`: run a command as a kernel without Landlock would."""

import ctypes
import os
import struct
import sys

_ENOSYS = 0x00050000 | 38
_ALLOW = 0x7FFF0000
_PROGRAM = [(0x20, 0, 0, 0), (0x15, 0, 1, 444), (0x06, 0, 0, _ENOSYS), (0x06, 0, 0, _ALLOW)]


def main() -> None:
    """Refuse landlock_create_ruleset in this process and all that come from it, then become the command."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM))
    libc = ctypes.CDLL(None)
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.prctl(22, 2, struct.pack("@HxxxxxxP", len(_PROGRAM), ctypes.addressof(program)), 0, 0) == 0
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
