"""Which disk a folder is on, by the UUID of its file system: device numbers change from boot to boot."""

import fcntl
import os
import uuid
from pathlib import Path

from imageguard_daemon.filing import mounts

_XFS_IOC_FSGEOMETRY_V1, _XFS_BYTES, _XFS_UUID_AT = 0x80705864, 112, 64
_BTRFS_IOC_FS_INFO, _BTRFS_BYTES, _BTRFS_UUID_AT = 0x8400941F, 1024, 16
_UUID_BYTES = 16


def disk_of(path: str) -> str:
    """Give the kind of file system that a path is on and an identity that only this one has, as one word.

    Empty where it has none that lasts: memory, networks, FUSE, containers' layers. The path need not exist.
    """
    kind = mounts.kind(path)
    try:
        identity = _identity(kind, _nearest_that_exists(path))
    except OSError:
        return ""
    return f"{kind}:{identity}" if identity else ""


def _identity(kind: str, path: str) -> str:
    if kind in {"ext2", "ext3", "ext4"}:  # made from the UUID
        return f"{os.statvfs(path).f_fsid:016x}"
    if kind == "xfs":  # its f_fsid is the number of the device
        return _asked(path, _XFS_IOC_FSGEOMETRY_V1, _XFS_BYTES, _XFS_UUID_AT)
    if kind == "btrfs":
        return _asked(path, _BTRFS_IOC_FS_INFO, _BTRFS_BYTES, _BTRFS_UUID_AT)
    return ""


def _asked(path: str, request: int, size_bytes: int, uuid_at: int) -> str:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(descriptor, request, bytes(size_bytes))
    finally:
        os.close(descriptor)
    return str(uuid.UUID(bytes=answer[uuid_at : uuid_at + _UUID_BYTES]))


def _nearest_that_exists(path: str) -> str:
    real = Path(os.path.realpath(path))
    return str(next(folder for folder in (real, *real.parents) if folder.is_dir()))
