"""The package with the oldest versions that it says it works with: `python -m tests.lowest`, some ten minutes.

Makes an environment with exactly the lower bounds of pyproject.toml, of the dependencies and of the extras that the
tests use, with the package installed from here as for development, and runs the unit tests, or what is named.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
EXTRAS = ("web", "heic", "parquet", "fleet", "object-stores")
FOR_TESTS = ("httpx", "hypothesis", "pytest", "pytest-randomly", "pytest-timeout", "pytest-xdist", "setuptools")
"""What runs the tests is no part of what is tried: its newest versions."""
_BOUND = re.compile(r"(?P<name>[a-z0-9-]+)(?P<extras>\[[a-z,]+\])?>=(?P<version>[0-9.]+)[^;]*(?P<marker>;.*)?")


def lowest(requirements: Iterable[str]) -> Iterator[str]:
    """Give each requirement at its lower bound alone."""
    for one in requirements:
        found = _BOUND.fullmatch(one)
        if found is None:
            raise ValueError(f"{one} has no lower bound")
        yield f"{found['name']}{found['extras'] or ''}=={found['version']}{found['marker'] or ''}"


def requirements() -> list[str]:
    """Give what is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = (one for extra in EXTRAS for one in project["optional-dependencies"][extra])
    own = f"{project['name']}["  # an extra that names others of the package, which are listed above
    return sorted({*lowest(project["dependencies"]), *lowest(one for one in extras if not one.startswith(own))})


def main() -> int:
    """Install, then run tests; the exit code is theirs."""
    parser = argparse.ArgumentParser(prog="python -m tests.lowest", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter to try (default: this one)")
    parser.add_argument("--list", action="store_true", help="only say what would be installed")
    parser.add_argument("tests", nargs="*", default=["tests/unit"], help="default: tests/unit")
    chosen = parser.parse_args()
    sys.stdout.write("\n".join(requirements()) + "\n")
    if chosen.list:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([chosen.python, "-m", "venv", folder], check=True)
        python = f"{folder}/bin/python"
        pip = [python, "-m", "pip", "install", "-q"]
        subprocess.run([*pip, *requirements(), *FOR_TESTS], check=True)
        subprocess.run([*pip, "--no-deps", "-e", str(ROOT)], check=True)
        # What old versions call of others is not ours to mend.
        quiet = ("-W", "ignore::DeprecationWarning", "-W", "ignore::PendingDeprecationWarning")
        command = [python, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", *quiet, *chosen.tests]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
