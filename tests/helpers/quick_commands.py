"""Commands in processes that need no half second to start: forked from one that has loaded everything, as workers are.

    with Launcher() as launcher: launcher.run("imageguard_daemon", ["report", "ingest"], folder)

Each command has a process, a command line, an environment, standard streams and an exit code of its own, as from a
shell.
"""

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it wrote: first to standard output, then to standard error."""

    exit_code: int
    stdout: str
    stderr: str


class Launcher:
    """The process that commands are forked from."""

    def __enter__(self) -> Self:
        """Start it; loading takes about a second, in which others may go on."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.quick_commands", "-" * 2000],  # room for what workers are called
            cwd=_ROOT,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},  # as real workers have it
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._folder = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *reason: object) -> None:
        """End it."""
        self._process.communicate(timeout=60)
        self._folder.cleanup()

    def run(
        self,
        what: str,
        arguments: Sequence[str],
        folder: Path,
        until: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a module (or a file that ends in .py) as a command in a folder, as `python -m` does.

        With `until`, it is sent SIGTERM once it has written that. What takes longer than a minute is killed.
        """
        files = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        order = {"what": what, "arguments": list(arguments), "folder": str(folder), "until": until}
        order |= {"files": list(map(str, files)), "environment": dict(environment or os.environ)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        exit_code = int(self._process.stdout.readline())
        stdout, stderr = (file.read_text(encoding="utf-8") for file in files)
        return Done(exit_code, stdout, stderr)


def _serve() -> None:
    from tests.faults.launcher_process import load_everything

    load_everything()  # what is loaded here, no command has to load
    answers = os.fdopen(os.dup(1), "w")  # standard output becomes the command's
    orders = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for line in orders:
        answers.write(f"{_exit_code(json.loads(line))}\n")
        answers.flush()


def _exit_code(order: dict) -> int:
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        os._exit(_run(order))
    deadline = time.monotonic() + _PATIENCE_SECONDS
    until = order["until"]
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
        if until and any(until in _written(file) for file in order["files"]):
            os.kill(child, signal.SIGTERM)
            until = ""
        time.sleep(0.005)


def _written(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:  # not started yet
        return ""


def _run(order: dict) -> int:
    for number, file in enumerate(order["files"], 1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.path.insert(0, str(_ROOT))
    os.chdir(order["folder"])
    sys.argv = ["imageguard-daemon", *order["arguments"]]
    code = 0
    try:
        if order["what"].endswith(".py"):
            runpy.run_path(order["what"], run_name="__main__")
        else:
            runpy.run_module(order["what"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - a traceback is what the interpreter would print
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    _serve()
