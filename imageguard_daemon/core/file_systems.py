"""Which kind of file system an open file is on (fstatfs(2)), and who can write to it without this kernel's knowledge.

The answer may come from a server: asking waits as long as any other access to the same file system.
"""

import ctypes
import os
from dataclasses import dataclass
from enum import Enum


class Reach(Enum):
    """From where files of a file system can be written to."""

    local = "local"
    """Only through this kernel, which knows all writers."""
    relayed = "relayed"
    """Through a program (FUSE) that may serve what others write to as well: the kernel knows the writers here alone."""
    network = "network"
    """From other machines, too; locks and leases mean something else there."""
    unknown = "unknown"


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A kind of file system: its name as people know it, and from where its files can be written to."""

    name: str
    reach: Reach

    @property
    def keeps_numbers(self) -> bool:
        """Whether a file surely has one inode number under all its names, for as long as it is there."""
        return self.reach is Reach.local


_LOCAL = {
    0xEF53: "ext4",
    0x58465342: "xfs",
    0x9123683E: "btrfs",
    0x01021994: "tmpfs",
    0x858458F6: "ramfs",
    0x794C7630: "overlayfs",
    0xF2F52010: "f2fs",
    0x2FC12FC1: "zfs",
    0xCA451A4E: "bcachefs",
    0x3153464A: "jfs",
    0x52654973: "reiserfs",
    0x3434: "nilfs2",
    0x24051905: "ubifs",
    0x4D44: "vfat",
    0x2011BAB0: "exfat",
    0x5346544E: "ntfs",
    0x7366746E: "ntfs3",
    0x482B: "hfs+",
    0x15013346: "udf",
}
_RELAYED = {0x65735546: "FUSE"}
_NETWORK = {
    0x6969: "NFS",
    0xFF534D42: "SMB (CIFS)",
    0xFE534D42: "SMB",
    0x517B: "SMB (smbfs)",
    0x01021997: "9p",
    0x00C36400: "Ceph",
    0x5346414F: "AFS",
    0x6B414653: "AFS (kAFS)",
    0x73757245: "Coda",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x786F4256: "a VirtualBox folder",
}
_KINDS = {
    magic: FileSystem(name, reach)
    for names, reach in ((_LOCAL, Reach.local), (_RELAYED, Reach.relayed), (_NETWORK, Reach.network))
    for magic, name in names.items()
}
_StatFs = ctypes.c_long * 64
"""More than any `struct statfs` has; its first one is the kind."""
_libc = ctypes.CDLL(None, use_errno=True)


def magic_of(descriptor: int) -> int:
    """Give the number by which the kernel calls the kind of file system that an open file is on.

    Raises:
        OSError: the file system does not say.
    """
    answer = _StatFs()
    if _libc.fstatfs(descriptor, answer) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer[0] & 0xFFFF_FFFF


def file_system_of(descriptor: int) -> FileSystem:
    """Say on which kind of file system an open file or folder is; `Reach.unknown` for one that is not in the list."""
    try:
        magic = magic_of(descriptor)
    except OSError:
        return FileSystem("a file system that does not say its kind", Reach.unknown)
    return _KINDS.get(magic) or FileSystem(f"a file system of kind {magic:#x}", Reach.unknown)


def file_system_at(path: str | os.PathLike[str]) -> FileSystem:
    """Say on which kind of file system a folder or file is; OSError when it cannot be opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return file_system_of(descriptor)
    finally:
        os.close(descriptor)
