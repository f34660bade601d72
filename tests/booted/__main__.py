"""The campaign: every scenario, on this machine's own root or on bare ones of Debian. `--help` says how."""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.booted import booting, scenarios

PACKAGES = "systemd,dbus,python3,python3-venv,ca-certificates"
"""All that a bare root needs for the documented lines, and for looking at what they do."""


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
    asked = parser.parse_args()
    if lacking := booting.lacking():
        parser.error(f"needs {lacking}")
    failed = 0
    for root in [*asked.root, *asked.releases] or [None]:
        with _bare_root(root) as folder:
            failed += _run_all(str(root or "this machine's root"), folder, asked.only)
    return 1 if failed else 0


def _run_all(name: str, folder: Path | None, only: list[str] | None) -> int:
    failed = 0
    with booting.booted(folder) as system:
        print(f"{name}: {system.run('systemctl', '--version').splitlines()[0]}", flush=True)
        for scenario in scenarios.ALL:
            if only and not any(word in scenario.__name__ for word in only):
                continue
            started = time.monotonic()
            try:
                scenario(system)
            except Exception:  # noqa: BLE001 - told in full, and the next one is tried
                failed += 1
                traceback.print_exc()
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
