"""The real command as another account, which need not be allowed to see where this interpreter lies."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

REPOSITORY = Path(__file__).resolve().parents[2]
SITE_PACKAGES = Path(typer.__file__).parents[1]
NOBODY = 65534
_PREPARED = """
mount -t tmpfs -o mode=755 tmpfs /mnt && mkdir /mnt/python /mnt/site /mnt/code
mount --bind "$1" /mnt/python && mount --bind "$2" /mnt/site && mount --bind "$3" /mnt/code
shift 3
export PYTHONPATH=/mnt/code:/mnt/site PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/mnt/python/lib
"""
_AS_NOBODY = f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups"


def own_folders(path: Path) -> list[Path]:
    """Give a folder of a test with those around it that were made for tests: opened, other accounts reach the file."""
    around = Path(tempfile.gettempdir()).resolve()
    return [folder for folder in (path, *path.parents) if folder != around and folder.is_relative_to(around)]


def lacking() -> str:
    """Say what this machine lacks for it, or nothing."""
    return "" if os.geteuid() == 0 else "root, to be another account"


def run_as_nobody(*arguments: object, cwd: Path | None = None, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run `imageguard-daemon` with these arguments; `before` are commands of a shell, run as root in its mounts."""
    program = f'set -e\n{_PREPARED}\n{before}\nexec {_AS_NOBODY} /mnt/python/bin/python3 -m imageguard_daemon "$@"'
    places = [sys.base_prefix, str(SITE_PACKAGES), str(REPOSITORY)]
    command = ["unshare", "--mount", "bash", "-c", program, "bash", *places, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
