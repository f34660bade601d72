"""Takes everything from a process but its processor, its memory and what it already holds open.

Three layers, each enough for most attacks: Landlock (no file, no TCP, no signal to others), a filter of system calls
(seccomp-bpf: only those that reading, computing and answering need) and resource limits. All are one-way: nothing
in the process can undo them. Written by hand because each is a few numbers to the kernel; see docs/security.md.
"""

import ctypes
import errno
import os
import platform
import resource
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.syscall.restype = ctypes.c_long

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE = 22, 38, 65
_PR_GET_SECCOMP = 21
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_CREATE_RULESET, _LANDLOCK_RESTRICT_SELF = 444, 446
_LANDLOCK_VERSION = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_FILE_RIGHTS_NOW = 16
"""How many kinds of access to files each version of Landlock knows (landlock(7)); from 5 on there are sixteen."""

_REFUSED = "refused, perhaps by a container's or a unit's filter of system calls"

_AUDIT_ARCH_X86_64 = 0xC000003E
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the second is EPERM: a library that tries something gets an error
_ALLOWED = {
    "read": 0,
    "write": 1,
    "close": 3,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "pread64": 17,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "nanosleep": 35,
    "getpid": 39,
    "sendto": 44,
    "recvfrom": 45,
    "sendmsg": 46,
    "recvmsg": 47,
    "exit": 60,
    "gettimeofday": 96,
    "getrlimit": 97,
    "getrusage": 98,
    "sigaltstack": 131,
    "gettid": 186,
    "futex": 202,
    "sched_getaffinity": 204,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "getcpu": 309,
    "getrandom": 318,
    "membarrier": 324,
}
_TGKILL, _PRLIMIT = 234, 302
"""Allowed with one first argument: abort() signals its own process, and limits are those of process 0, itself."""


_CLONE, _CLONE3 = 56, 435
_THREAD_FLAGS = 0x3D0F00
"""How glibc starts a thread of the same process (pthread_create); any other flag makes clone() something else."""
_THREAD_CALLS = {"set_robust_list": 273, "rseq": 334}
_NO_SUCH_CALL = 0x00050026
"""ENOSYS: the flags of clone3 cannot be seen by a filter, and glibc then asks for clone."""


def lacking() -> list[str]:
    """Name what this kernel and machine lack for full confinement; changes nothing."""
    lacks = []
    if _landlock_version() <= 0:
        is_refused = ctypes.get_errno() in {errno.EPERM, errno.EACCES}
        lacks.append(f"Landlock ({_REFUSED if is_refused else 'needs Linux 5.13 with it switched on'})")
    if not _filter_known():
        lacks.append(f"a system call filter (none for {platform.machine()})")
    return lacks


def confine(memory_bytes: int, *, threads_needed: bool = False) -> None:
    """Lock the calling process for good. It must have one thread, and all it will ever need open or loaded.

    What the kernel lacks is left out: `lacking` tells. With `threads_needed` it may start threads, which are confined
    as it is, but still no process.

    Raises:
        OSError: the kernel has a layer and refuses it.
        RuntimeError: there are further threads, which would stay free.
    """
    threads = len(os.listdir("/proc/self/task"))
    if threads != 1:
        raise RuntimeError(f"a process with {threads} threads cannot be confined")
    _limit(memory_bytes, threads_needed=threads_needed)
    # The kernel confines whoever is not root only where no program that it starts can gain rights (landlock(7)).
    _require(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _LIBC.prctl(_PR_SET_MDWE, 1, 0, 0, 0)  # since Linux 6.3: memory is never writable and then executable
    if (version := _landlock_version()) > 0:
        _deny_files_and_network(version)
    if _filter_known():  # last: it refuses the calls that the layers above are made of
        _filter_system_calls(threads_needed=threads_needed)


def _limit(memory_bytes: int, *, threads_needed: bool) -> None:
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: 8,
    }
    if not threads_needed:  # it counts both, for all of the user's processes
        limits[resource.RLIMIT_NPROC] = 0
    for limit, most in limits.items():
        resource.setrlimit(limit, (most, most))


def _landlock_version() -> int:
    return int(_LIBC.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_VERSION))


def _deny_files_and_network(version: int) -> None:
    """Handle every right there is and grant none."""
    files = (1 << _FILE_RIGHTS.get(version, _FILE_RIGHTS_NOW)) - 1
    network = 0b11 if version >= 4 else 0
    others = 0b11 if version >= 6 else 0  # signals to, and abstract sockets of, processes outside
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = struct.pack("=QQQ", files, network, others)[:size]
    rules = _LIBC.syscall(_LANDLOCK_CREATE_RULESET, attributes, size, 0)
    _require(rules, "landlock_create_ruleset")
    _require(_LIBC.syscall(_LANDLOCK_RESTRICT_SELF, rules, 0), "landlock_restrict_self")
    os.close(rules)


def _filter_known() -> bool:
    is_known_machine = platform.machine() == "x86_64" and ctypes.sizeof(ctypes.c_void_p) == 8
    return is_known_machine and _LIBC.prctl(_PR_GET_SECCOMP) >= 0


def _filter_system_calls(*, threads_needed: bool) -> None:
    program = _program(os.getpid(), threads_needed=threads_needed)
    count = len(program) // 8
    buffer = ctypes.create_string_buffer(program)
    header = struct.pack("@HxxxxxxP", count, ctypes.addressof(buffer))
    _require(_LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0), "seccomp")


def _program(pid: int, *, threads_needed: bool = False) -> bytes:
    """Give the filter: another architecture's calls are refused, then one comparison for each call allowed."""
    steps = [(_LOAD, 0, 0, _ARCH_AT), (_JUMP_IF_EQUAL, 1, 0, _AUDIT_ARCH_X86_64), (_RETURN, 0, 0, _REFUSE)]
    steps.append((_LOAD, 0, 0, _NUMBER_AT))
    allowed, with_argument = [*_ALLOWED.values()], [(_TGKILL, pid), (_PRLIMIT, 0)]
    if threads_needed:
        steps += [(_JUMP_IF_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _NO_SUCH_CALL)]
        allowed += _THREAD_CALLS.values()
        with_argument.append((_CLONE, _THREAD_FLAGS))
    for number in allowed:
        steps += [(_JUMP_IF_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for number, argument in with_argument:
        steps += [
            (_JUMP_IF_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
            (_JUMP_IF_EQUAL, 0, 1, argument),
            (_RETURN, 0, 0, _ALLOW),
            (_RETURN, 0, 0, _REFUSE),
        ]
    steps.append((_RETURN, 0, 0, _REFUSE))
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _require(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
