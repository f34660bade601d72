"""A real image in a real engine; it runs where both are named.

    IMAGEGUARD_IMAGE=imageguard-daemon IMAGEGUARD_ENGINE="docker" python -m pytest tests/container

IMAGEGUARD_ENGINE may have options (`podman --root /elsewhere`), IMAGEGUARD_RUN some for `run` (`--runtime runc`).
"""

import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.container.conftest import ACCOUNT
from tests.faults.site import wait_until
from tests.helpers import images

IMAGE = os.environ.get("IMAGEGUARD_IMAGE", "")
ENGINE = shlex.split(os.environ.get("IMAGEGUARD_ENGINE", "docker"))
RUN = shlex.split(os.environ.get("IMAGEGUARD_RUN", ""))
HARDENED = [
    "--network",
    "none",
    "--read-only",
    "--tmpfs",
    "/tmp",  # noqa: S108 - the container's own
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
]

pytestmark = [
    pytest.mark.skipif(not IMAGE, reason="needs an image and an engine: IMAGEGUARD_IMAGE names one"),
    pytest.mark.skipif(os.geteuid() != 0, reason="gives a folder to the image's account"),
]


def engine(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of the engine."""
    command = [*ENGINE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 or not check, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done


class Container:
    """One container on a root folder."""

    def __init__(self, root: Path, *command: str, options: tuple[str, ...] = ()) -> None:
        self.root, self.name = root, f"imageguard-{uuid.uuid4().hex[:8]}"
        volume = ("--volume", f"{root}:/srv/ingest")
        engine("run", "--detach", "--name", self.name, *RUN, *HARDENED, *options, *volume, IMAGE, *command)

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return engine("exec", self.name, *command, check=False)

    def inspected(self) -> dict:
        """Give what the engine knows."""
        return json.loads(engine("inspect", self.name).stdout)[0]

    def said(self) -> str:
        """Give all that it has written."""
        logs = engine("logs", self.name)
        return logs.stdout + logs.stderr

    def told(self, event: str) -> dict:
        """Give the first line of a kind that it has written; empty as long as there is none."""
        lines = (line for line in self.said().splitlines() if f'"event": "{event}"' in line)
        return json.loads(next(lines, "{}"))

    def stop(self) -> int:
        """Stop it as an engine does, and give its exit code."""
        engine("stop", "--time", "45", self.name)
        return self.inspected()["State"]["ExitCode"]

    def remove(self) -> None:
        """Leave nothing behind."""
        engine("rm", "--force", self.name, check=False)


@pytest.fixture
def start(root: Path) -> Iterator[Callable[..., Container]]:
    """Give a way to start containers that are removed afterwards."""
    started: list[Container] = []

    def one(*command: str, **options: tuple[str, ...]) -> Container:
        started.append(Container(root, *command, **options))
        return started[-1]

    yield one
    for container in started:
        container.remove()


def test_images_are_judged_and_moved_by_nobody_in_particular(start, root):
    """Read-only, without capabilities or network: files move by rename, belong to the account; it ends in order."""
    before = (root / "inbox/cat/good.jpg").stat().st_ino
    daemon = start()
    wait_until((root / "accepted/cat/good.jpg").exists, "the good image is accepted")
    wait_until((root / "quarantine/cat/bad.jpg").exists, "the bad image is in quarantine")
    assert (root / "accepted/cat/good.jpg").stat().st_ino == before
    assert {path.lstat().st_uid for path in root.rglob("*")} == {ACCOUNT}
    told = json.loads(daemon.ask("imageguard-daemon", "status", "/srv/ingest", "--format", "json").stdout)
    assert told["daemon"]["confinement_lacks"] == []
    assert daemon.ask("touch", "/opt/x").returncode != 0
    assert daemon.stop() == 0


def test_the_health_check_of_the_image_follows_the_daemon(start):
    """It says well while the daemon works, and not well when the daemon hangs."""
    daemon = start()
    config = daemon.inspected()["Config"]
    test = config["Healthcheck"]["Test"]
    assert test[0] == "CMD"
    wait_until(lambda: daemon.ask(*test[1:]).returncode == 0, "the daemon is well")
    assert daemon.ask(*test[1:]).stdout.startswith("running (process")
    engine("kill", "--signal", "STOP", daemon.name)
    process_id = daemon.ask("cat", "/srv/ingest/.imageguard/daemon.lock").stdout.strip()
    daemon.ask("python3", "-c", f"import os, signal; os.kill({process_id}, signal.SIGSTOP)")
    wait_until(lambda: daemon.ask(*test[1:]).returncode == 69, "the daemon is not well")


def test_a_killed_worker_leaves_nothing_behind(start):
    """What a worker had started is reaped, and images are judged as before."""
    daemon = start()
    wait_until((daemon.root / "accepted/cat/good.jpg").exists, "the first image")
    (daemon.root / "inbox/cat/next.jpg").write_bytes(images.jpeg(images.photo(seed=7)))
    os.chown(daemon.root / "inbox/cat/next.jpg", ACCOUNT, ACCOUNT)
    daemon.ask("python3", "-c", KILL_WORKERS)
    wait_until((daemon.root / "accepted/cat/next.jpg").exists, "the next image")
    wait_until(lambda: not daemon.ask("python3", "-c", ZOMBIES).stdout.strip(), "no process is left unreaped")
    assert daemon.stop() == 0


def test_the_limits_of_a_container_decide_how_many_workers_start(start):
    """What it may have of memory and processors bounds their number and size, and the first lines say so."""
    daemon = start(options=("--memory", "600m", "--cpus", "1"))
    wait_until((daemon.root / "accepted/cat/good.jpg").exists, "it works within that")
    told = daemon.told("workers")
    assert (told["number"], told["megabytes_each"]) == (1, 600)
    assert told["limited_by"].endswith("the memory limit of 600 MB")
    assert os.cpu_count() == 1 or "the limit of 1 processors" in told["limited_by"]


def test_any_account_will_do(start, root):
    """One that the image does not know, as some orchestrators give it, needs the folder and nothing else."""
    for path in (root, *root.rglob("*")):
        os.chown(path, 4242, 4242)
    daemon = start(options=("--user", "4242:4242"))
    wait_until((root / "accepted/cat/good.jpg").exists, "the good image is accepted")
    assert {path.lstat().st_uid for path in root.rglob("*")} == {4242}
    assert daemon.stop() == 0


def test_refused_landlock_is_said(start, root, tmp_path):
    """Images are judged without it, and log and `status` say that it is the runtime that refuses it."""
    daemon = start(options=_refusing(tmp_path, names=["landlock_create_ruleset"]))
    wait_until((root / "accepted/cat/good.jpg").exists, "the good image is accepted")
    assert "Landlock (refused" in daemon.told("image decoders are not fully confined")["lacking"]
    assert "Landlock (refused" in " ".join(daemon.ask("imageguard-daemon", "status", "/srv/ingest").stdout.split())


def test_a_refused_filter_ends_the_daemon_and_is_no_verdict(start, root, tmp_path):
    """Where the runtime refuses the filter of system calls, the daemon says so and ends; images stay."""
    set_filter = [{"index": 0, "value": 22, "op": "SCMP_CMP_EQ"}]
    daemon = start(options=_refusing(tmp_path, names=["prctl"], args=set_filter))
    wait_until(lambda: daemon.inspected()["State"]["Status"] == "exited", "it has ended")
    assert daemon.inspected()["State"]["ExitCode"] == os.EX_UNAVAILABLE
    assert "seccomp" in daemon.said()
    assert (root / "inbox/cat/good.jpg").exists()
    assert not (root / "quarantine/cat").exists()


def _refusing(folder: Path, **calls: object) -> tuple[str, ...]:
    """Give options for a runtime that refuses these system calls."""
    rules = [calls | {"action": "SCMP_ACT_ERRNO"}]
    (folder / "profile.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    return ("--security-opt", f"seccomp={folder}/profile.json")


def test_pages_beside_the_daemon_ask_for_a_token(start, root):
    """Two containers on one volume: pages answer, act on nothing without a token, and the daemon goes on."""
    daemon = start()
    wait_until((root / "quarantine/cat/bad.jpg").exists, "the daemon works")
    token = start("web", "/srv/ingest", "--new-token", "anna")
    wait_until(lambda: token.inspected()["State"]["Status"] == "exited", "the token is made")
    pages = start("web", "/srv/ingest", "--host", "0.0.0.0")  # noqa: S104 - the container's own
    ask = "import urllib.request as u, sys; print(u.urlopen('http://127.0.0.1:8765' + sys.argv[1], timeout=5).url)"
    wait_until(lambda: pages.ask("python3", "-c", ask, "/healthz").returncode == 0, "the pages answer")
    assert pages.ask("python3", "-c", ask, "/quarantine").stdout.split("?")[0].endswith("/login")
    assert daemon.stop() == 0


KILL_WORKERS = """
import os, pathlib, signal
own = pathlib.Path("/srv/ingest/.imageguard/daemon.lock").read_text().strip()
for status in pathlib.Path("/proc").glob("[0-9]*/status"):
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    if fields["PPid"].strip() == own and b"sandbox.worker_process" in (status.parent / "cmdline").read_bytes():
        os.kill(int(status.parent.name), signal.SIGKILL)
"""
ZOMBIES = """
import pathlib
for status in pathlib.Path("/proc").glob("[0-9]*/status"):
    if "State:\\tZ" in status.read_text():
        print(status.parent.name)
"""
