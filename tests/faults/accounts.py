"""Two accounts, as the service's unit has it: the daemon's own, and the one that uploads.

The kernel then refuses leases on what others uploaded, so the daemon does not know who writes.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMON_ID, UPLOADER_ID, OTHER_UPLOADER_ID = 61_001, 61_002, 61_004
GROUP_ID = 61_003
"""Of the inboxes: all may write into them."""
_PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 4, 8
_MAY_READ_ALL = 1 << 2  # CAP_DAC_READ_SEARCH
_libc = ctypes.CDLL(None, use_errno=True)


def give_to_daemon(folder: Path, mode: int = 0o755) -> None:
    """Make a folder the daemon's, and those above it passable."""
    os.chown(folder, DAEMON_ID, GROUP_ID)
    folder.chmod(mode)
    for above in folder.parents:
        if above.stat().st_mode & 0o001 == 0:
            above.chmod(above.stat().st_mode | 0o055)


def become_daemon() -> None:
    """Turn this process into one of the daemon's account.

    It may still read everything: its interpreter may lie in root's home folder.
    """
    os.umask(0o002)
    os.setgroups([GROUP_ID])
    os.setresgid(DAEMON_ID, DAEMON_ID, DAEMON_ID)
    _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setresuid(DAEMON_ID, DAEMON_ID, DAEMON_ID)
    set_capabilities(_MAY_READ_ALL, _MAY_READ_ALL)
    _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # as a process that was started by its account


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def capabilities() -> tuple[int, int]:
    """Give those in force and those permitted, of the first 32, of this thread."""
    header, sets = _Header(0x20080522, 0), (_Sets * 2)()
    _libc.capget(ctypes.byref(header), sets)
    return sets[0].effective, sets[0].permitted


def set_capabilities(effective: int, permitted: int) -> None:
    """Have these of the first 32 capabilities in force and permitted, in this thread."""
    header, sets = _Header(0x20080522, 0), (_Sets * 2)()
    sets[0].effective, sets[0].permitted = effective, permitted
    if _libc.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capset")


@contextmanager
def uploading_into(inbox: Path | str, account: int = UPLOADER_ID) -> Iterator[None]:
    """Make and change files, in this thread alone, as the uploader where the inbox is of another account's daemon."""
    if os.stat(inbox).st_uid != DAEMON_ID:
        yield
        return
    os.umask(0o002)  # of all threads, which is why it stays
    _libc.setfsgid(GROUP_ID)
    _libc.setfsuid(account)  # takes away all that root may do to files
    try:
        yield
    finally:
        _libc.setfsuid(0)
        _libc.setfsgid(0)
