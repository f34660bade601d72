"""What a test needs of the machine: in CI its lack is a failure, elsewhere a skip that says why."""

import os
import shutil
from pathlib import Path

import pytest

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")


def need(present: object, what: str) -> None:
    """Go on only with what is needed."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"this machine lacks what CI must have: {what}")
    pytest.skip(f"needs {what}")


def need_tools(*names: str) -> None:
    """Go on only when these commands are installed."""
    for name in names:
        need(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin"), f"the command {name}")


def need_root() -> None:
    """Go on only as root."""
    need(os.geteuid() == 0, "root, for mounts and the like")


def need_strace() -> None:
    """Go on only when strace is installed and may attach to processes that it has not started."""
    need_tools("strace")
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    need(os.geteuid() == 0 or not scope.exists() or scope.read_text().strip() == "0", "the right to attach strace")
