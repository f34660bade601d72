"""The campaign: every scenario, on this machine's own root or on bare ones of Debian. `--help` says how."""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.booted import booting, scenarios
from tests.faults.site import patience
from tests.world.network import machine

PACKAGES = "systemd,dbus,python3,python3-venv,ca-certificates"
"""All that a bare root needs for the documented lines, and for looking at what they do."""
LIMITS = "on this machine's root under a kernel of its own (user-mode Linux) whose control groups can limit"
LIMITED = ["limits_decide", "memory_runs_out", "workers_go_first"]
"""Scenarios that show how the service lives within the limits of its unit."""

_PATIENCE_SECONDS = 1800
"""In a machine whose every system call is one of another: it boots in two minutes, on a busy one in ten."""


def main() -> int:
    """Run what was asked for; the exit code is 1 when a scenario failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.booted", description=__doc__)
    parser.add_argument(
        "releases", nargs="*", metavar="RELEASE", help="bookworm, trixie: made by mmdebstrap; none: own root"
    )
    parser.add_argument(
        "--root", action="append", default=[], type=Path, metavar="TAR", help="a root that was made before"
    )
    parser.add_argument("--only", action="append", metavar="WORD", help="scenarios whose name has this word")
    parser.add_argument(
        "--patience", type=float, default=300.0, metavar="SECONDS", help="for each thing that is waited for"
    )
    parser.add_argument("--limits", action="store_true", help=LIMITS)
    parser.add_argument("--tools", type=Path, help="a folder to keep the packages of --limits in, for the next time")
    asked = parser.parse_args()
    if asked.limits:
        return _under_another_kernel(asked.only or LIMITED, asked.tools)
    if lacking := booting.lacking():
        parser.error(f"needs {lacking}")
    patience.seconds, patience.look_seconds = asked.patience, 0.2
    failed = 0
    for root in [*asked.root, *asked.releases] or [None]:
        with _bare_root(root) as folder:
            failed += _run_all(Path(root).stem if root else "this machine's root", folder, asked.only)
    return 1 if failed else 0


def _under_another_kernel(only: list[str], tools: Path | None) -> int:
    if lacking := machine.lacking():
        sys.exit(f"needs {lacking}")
    with tempfile.TemporaryDirectory(prefix="imageguard-limits-") as base:
        unpacked = machine.unpacked(tools or Path(base) / "tools")
        command = ["tests.booted", f"--patience={_PATIENCE_SECONDS}", *(f"--only={word}" for word in only)]
        return machine.run(Path(base), unpacked, command)


def _run_all(name: str, folder: Path | None, only: list[str] | None) -> int:
    failed = 0
    with booting.booted(folder) as system:
        version = system.run("systemctl", "--version").splitlines()[0]
        print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, Linux {platform.release()}, {name}, {version}", flush=True)
        for scenario in scenarios.ALL:
            if only and not any(word in scenario.__name__ for word in only):
                continue
            started = time.monotonic()
            try:
                scenario(system)
            except pytest.skip.Exception as lacking:
                outcome = f"skipped: {lacking}"
            except Exception:  # noqa: BLE001 - told in full, and the next one is tried
                failed += 1
                traceback.print_exc()
                print(system.run("systemctl", "status", "--no-pager", "--lines=0", booting.UNIT, check=False))
                print(system.journal("--lines=12"), flush=True)
                system.stop()
                system.configure()
                outcome = "FAILED"
            else:
                outcome = "ok"
            print(f"  {scenario.__name__:34} {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    return failed


@contextmanager
def _bare_root(source: Path | str | None) -> Iterator[Path | None]:
    """Give a folder with a root: unpacked from an archive, or made of a release's packages."""
    if source is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="imageguard-root-") as folder:
        root = Path(folder) / "root"
        if isinstance(source, Path):
            root.mkdir()
            subprocess.run(["tar", "-xf", str(source), "-C", str(root)], check=True)
        else:
            program = shutil.which("mmdebstrap")
            if program is None:
                sys.exit("making a root needs mmdebstrap")
            command = [program, "--variant=minbase", f"--include={PACKAGES}", source, str(root)]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        yield root


if __name__ == "__main__":
    sys.exit(main())
