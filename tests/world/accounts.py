"""A daemon to which the kernel does not say who writes, as it is to the unit's account, and uploaders of another."""

import os
import subprocess
from pathlib import Path
from typing import Self

from tests.e2e.daemon_process import COMMAND, Ingest, wait_until
from tests.faults.requirements import need_root, need_tools

UPLOADER_ID = 61_002


class IngestWithoutLeases(Ingest):
    """A root folder whose daemon may have leases on its own files alone.

    It stays root otherwise: the interpreter of a checkout need not be readable for other accounts.
    """

    def start(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start the daemon and wait until it watches."""
        need_root()
        need_tools("setpriv")
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *("setpriv", "--bounding-set", "-lease", "--inh-caps", "-lease"),
                    *(*COMMAND, "run", "--config", str(self.config_file), *arguments),
                ],
                stderr=log,
                stdout=log,
                env=os.environ | (env or {}),
            )
        wait_until(lambda: self.events("started") or self.process.poll() is not None, "start")
        return self.process


class Uploader:
    """Writes into the inbox under an account of its own, a piece at a time, and keeps its file open meanwhile."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.chown(path, UPLOADER_ID, UPLOADER_ID)
        self._path, self._size = path, 0
        account = ["setpriv", "--clear-groups", f"--reuid={UPLOADER_ID}", f"--regid={UPLOADER_ID}"]
        with path.open("ab") as file:
            self._process = subprocess.Popen([*account, "cat"], stdin=subprocess.PIPE, stdout=file)

    def write(self, data: bytes) -> None:
        """Write a piece, and wait until it is written."""
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()
        self._size += len(data)
        wait_until(lambda: not self._path.exists() or self._path.stat().st_size >= self._size, "it is written")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        """Close the file."""
        try:
            self._process.communicate(timeout=60)
        finally:
            self._process.kill()
            self._process.wait(60)
