"""compose.yaml by the lines of docs/containers.md, in a real engine; it runs where that is named.

    IMAGEGUARD_COMPOSE="docker compose" python -m pytest tests/container/test_compose.py

The images that compose.yaml names must be there; campaign.sh makes them where no registry is in reach.
"""

import os
import shlex
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.site import wait_until

COMPOSE = os.environ.get("IMAGEGUARD_COMPOSE", "")
REPOSITORY = Path(__file__).resolve().parents[2]
COUNT = ("psql", "--username=postgres", "--dbname=imageguard", "-Atc", "SELECT count(*) FROM decisions")
PATIENCE_SECONDS = 300.0

pytestmark = [
    pytest.mark.skipif(not COMPOSE, reason="needs an engine with compose: IMAGEGUARD_COMPOSE names it"),
    pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to the image's account"),
    pytest.mark.timeout(1800),
]


def _documented() -> list[str]:
    text = (REPOSITORY / "docs/containers.md").read_text().split("## With compose\n")[1]
    return text.split("```sh\n")[1].split("```")[0].replace("docker compose", COMPOSE).splitlines()


@pytest.fixture
def run(tmp_path: Path, root: Path) -> Iterator[Callable[..., str]]:
    """Give a way to run commands beside compose.yaml, whose services are gone afterwards."""
    shutil.copy(REPOSITORY / "compose.yaml", tmp_path)
    shutil.copytree(REPOSITORY / "contrib/container", tmp_path / "contrib/container")

    def one(command: str, *, check: bool = True) -> str:
        environment = os.environ | {"INGEST": str(root)}
        shell = ["bash", "-c", command]
        done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    yield one
    one(f"{COMPOSE} down --volumes")


def test_all_services_start_by_the_documented_lines(run, root):
    """A token, images judged, pages that ask for it, and the log in a database whose roles may do what they must."""
    *prepared, make_token, up = _documented()
    for line in prepared:
        run(line)
    token = run(make_token).split()[0]
    run(up)
    wait_until((root / "accepted/cat/good.jpg").exists, "an image is accepted", PATIENCE_SECONDS)
    ask = f"{COMPOSE} exec -T database {shlex.join(COUNT)}"
    wait_until(lambda: run(ask, check=False).strip() == "2", "both records are in the database", PATIENCE_SECONDS)
    status = f"{COMPOSE} exec -T daemon imageguard-daemon status /srv/ingest"
    wait_until(lambda: "up to date" in run(status), "`status` says so", PATIENCE_SECONDS)
    wait_until(lambda: _asked("/healthz") == 200, "the pages answer", PATIENCE_SECONDS)
    assert (_asked("/api/decisions"), _asked("/api/decisions", token)) == (401, 200)
    run(up)  # as after an upgrade: what makes the tables and the grants does no harm
    assert run(ask).strip() == "2"


def _asked(path: str, token: str = "") -> int:
    """Give the status with which the pages answer; 0 as long as nobody does."""
    request = urllib.request.Request(f"http://127.0.0.1:8765{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - of this machine
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return 0
