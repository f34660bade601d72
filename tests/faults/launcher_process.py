"""The process that daemons are forked from. Reads requests from standard input, one JSON object a line."""

import ctypes
import importlib
import itertools
import json
import logging
import multiprocessing
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

NOT_OURS_TO_LOAD = {"migrations", "fleet_migrations", "integrations", "__main__"}


def load_everything() -> None:
    """Import what a daemon would, so that a fork needs no disk to begin; its workers are forked too."""
    import imageguard_daemon
    from imageguard_daemon.quality import measurement

    for name in ("alembic.command", "alembic.config", "rich.console", "sqlalchemy.dialects.sqlite"):
        importlib.import_module(name)  # these the package imports only when it needs them
    for module in pkgutil.walk_packages(imageguard_daemon.__path__, "imageguard_daemon."):
        if not {"migrations", "fleet_migrations", "integrations"} & set(
            module.name.split(".")
        ) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    measurement.prepare_worker()
    from imageguard_daemon.sandbox import client, processes

    client.start_process = processes.start_process = _forked


class _Forked:
    """A forked process, with what is used of `subprocess.Popen`."""

    def __init__(self, process: multiprocessing.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.kill = process.kill

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a forked process", timeout or 0.0)
        return self._process.exitcode


def _forked(module: str, *descriptors: int) -> tuple[_Forked, socket.socket]:
    """Start a module as `start_process` does, but from what is loaded already."""
    from imageguard_daemon.sandbox import wire

    ours, theirs = wire.pair()
    with theirs:
        given = (theirs.fileno(), *descriptors)
        process = multiprocessing.get_context("fork").Process(target=_become_module, args=(module, given))
        process.start()
    return _Forked(process), ours


def _be_called(*arguments: str) -> None:
    """Have /proc show this command line, as that of a process which was not forked: locks and tests go by it."""
    fields = Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    begins, ends = int(fields[45]), int(fields[46])
    words = b"".join(os.fsencode(one) + b"\0" for one in (sys.executable, "-m", *arguments))
    ctypes.memmove(begins, words[: ends - begins - 1].ljust(ends - begins, b"\0"), ends - begins)


def _become_module(module: str, given: tuple[int, ...]) -> None:
    _be_called(module, *map(str, given))
    limit = os.sysconf("SC_OPEN_MAX")
    edges = [2, *sorted(given), limit]
    for below, above in itertools.pairwise(edges):
        os.closerange(below + 1, above)
    logging.root.handlers.clear()  # those are the daemon's: a new process has none
    sys.argv = [module, *map(str, given)]
    importlib.import_module(module).main()
    os._exit(0)


def _become_daemon(request: dict) -> None:
    from imageguard_daemon.__main__ import main
    from tests.faults import seeded

    os.setsid()
    log = os.open(request["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    for name in request["faults"]:
        getattr(seeded, name)()
    os.environ.update(request["environment"])
    _be_called("imageguard_daemon", *request["start"])
    if request["held"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    sys.argv = ["imageguard-daemon", *request["start"]]
    main()


def _fork(request: dict) -> dict:
    pid = os.fork()
    if pid:
        return {"pid": pid}
    code = 99
    try:
        _become_daemon(request)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _answer(request: dict) -> dict:
    if "reap" in request:
        return {"code": os.waitstatus_to_exitcode(os.waitpid(request["reap"], 0)[1])}
    return _fork(request)


def serve() -> None:
    """Answer requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a test run that is interrupted ends its daemons itself
    load_everything()
    real = multiprocessing.get_context
    multiprocessing.get_context = lambda _method=None: real("fork")
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
