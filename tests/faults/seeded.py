"""Mistakes put into a daemon's process on purpose, by name: the test of the test, and causes that need a hand inside.

The package has no hooks for this. A function here replaces something in the daemon's process before it starts, and
fails loudly when what it replaces is no longer there.
"""

import ctypes
import datetime as dt
import encodings
import errno
import importlib
import multiprocessing
import os
import pkgutil
import stat
import sys
import time
from collections.abc import Callable

from tests.faults.accounts import become_daemon, capabilities, set_capabilities

_real_datetime = dt.datetime
_OF_ANOTHER_SYSTEM = {"mbcs", "oem", "popen_spawn_win32"}

# --- the seeded faults that the harness must notice ---------------------------------------------------------------


def move_before_record() -> None:
    """Commit the intents only with the outcomes, as slowly as a busy disk: files move before anything says so."""
    from imageguard_daemon.audit import database
    from imageguard_daemon.audit.writer import AuditWriter

    begin, record_intents = database._begin_immediately, AuditWriter.record_intents

    def begin_unless_begun(connection) -> None:
        if connection.connection.dbapi_connection.in_transaction:
            time.sleep(0.05)
        else:
            begin(connection)

    def record_without_commit(self, judged):
        dialect = self._engine.dialect
        real = dialect.do_commit, dialect.do_rollback
        dialect.do_commit = dialect.do_rollback = lambda _connection: None
        try:
            return record_intents(self, judged)
        finally:
            dialect.do_commit, dialect.do_rollback = real

    database._begin_immediately = begin_unless_begun
    AuditWriter.record_intents = record_without_commit


def synchronous_normal() -> None:
    """Let SQLite return from a commit before it is on disk."""
    from imageguard_daemon.audit import database

    prepare = database._prepare_writer

    def prepare_carelessly(connection, record) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA synchronous=NORMAL")

    database._prepare_writer = prepare_carelessly


def copy_without_fsync() -> None:
    """Sync no file of our own; folders and the database still are."""
    _skip_fsync(stat.S_ISREG)


def no_directory_fsync() -> None:
    """Sync no folder; files and the database still are."""
    _skip_fsync(stat.S_ISDIR)


def _skip_fsync(applies: Callable[[int], bool]) -> None:
    real = os.fsync
    os.fsync = lambda descriptor: None if applies(os.fstat(descriptor).st_mode) else real(descriptor)


# --- causes that can only be brought about from inside --------------------------------------------------------------


def mortal_inotify_thread() -> None:
    """Let watchdog's reading thread die of the event of a file called `.poison`, as an error in it would."""
    from watchdog.observers.inotify_c import InotifyFD

    handle = InotifyFD.handle_event

    def handle_or_die(self, event) -> None:
        if event.name == b".poison":
            sys.stderr.write("the inotify thread dies\n")
            raise SystemExit
        handle(self, event)

    InotifyFD.handle_event = handle_or_die


def rename_fails_after_it_happened() -> None:
    """Let the second rename answer EIO although it took place, as one does on a disk that fails at that moment."""
    from imageguard_daemon.filing import renaming

    real, calls = renaming.rename, []

    def rename(*arguments) -> None:
        real(*arguments)
        calls.extend(name for name in arguments[1:2] if not str(name).startswith(".imageguard-"))  # a file's, no probe
        if len(calls) == 2 and arguments[1] == calls[-1]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    renaming.rename = rename


def few_watches() -> None:
    """Allow this daemon 20 inotify watches, by a user namespace of its own: no other process notices."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(0x10000000):  # CLONE_NEWUSER
        raise OSError(ctypes.get_errno(), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    with open("/proc/sys/user/max_inotify_watches", "w") as file:
        file.write("20")


def bound_by_permissions() -> None:
    """Take the superuser's right to ignore permissions away, as the service's unit does."""
    overriding = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    effective, permitted = capabilities()
    set_capabilities(effective & ~overriding, permitted)


def account_of_its_own() -> None:
    """Run as the account that the inboxes belong to, and uploaders do not."""
    become_daemon()


def no_more_right_to_read() -> None:
    """Let an account of its own read no more than others do: all that is loaded late is loaded now."""
    for package in (encodings, multiprocessing):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name not in _OF_ANOTHER_SYSTEM:
                importlib.import_module(f"{package.__name__}.{module.name}")
    set_capabilities(0, 0)


def movable_clock() -> None:
    """Let the daemon's calendar clock be as many days off as a file `clock` beside its log file says.

    Its monotonic clock goes on as the kernel's does. (libfaketime cannot do that: under it every `time.sleep` of Python
    fails with EINVAL as soon as the monotonic clock is left alone.)
    """
    clock = os.path.join(os.path.dirname(os.readlink("/proc/self/fd/2")), "clock")

    def days_off() -> int:
        with open(clock, encoding="ascii") as file:
            return int(file.read())

    class MovedDatetime(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return _real_datetime.now(tz) + dt.timedelta(days=days_off())

    real_time, real_time_ns = time.time, time.time_ns
    time.time = lambda: real_time() + 86_400 * days_off()
    time.time_ns = lambda: real_time_ns() + 86_400 * 10**9 * days_off()
    for name, module in list(sys.modules.items()):
        if name.startswith("imageguard_daemon") and getattr(module, "datetime", None) is _real_datetime:
            module.datetime = MovedDatetime
