"""A systemd booted beside the machine's own, in namespaces and a control group, with the service installed."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

HERE = Path(__file__).resolve().parent
SYSTEMD = Path("/usr/lib/systemd/systemd")
PATIENCE_SECONDS = 60.0
UNIT = "imageguard-daemon"
SITE_PACKAGES = Path(typer.__file__).parents[1]
"""Where the dependencies are, also when an environment takes them from another one."""
_GROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))


def lacking() -> str:
    """Say what this machine lacks for it, or nothing."""
    if os.geteuid() != 0:
        return "root, for mounts and namespaces"
    if not SYSTEMD.exists():
        return f"systemd ({SYSTEMD})"
    return "" if _groups() else "control groups of version 2"


def _groups() -> Path | None:
    return next((one for one in _GROUPS if (one / "cgroup.procs").exists() and os.access(one, os.W_OK)), None)


def documented_lines() -> str:
    """Give the commands that docs/service.md says to install by."""
    text = (HERE.parents[1] / "docs/service.md").read_text()
    return text.split("## Install\n")[1].split("```sh\n")[1].split("```")[0]


class Booted:
    """A running systemd; `root` is its root folder as seen from here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path(f"/proc/{pid}/root")

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command inside and give what it prints."""
        entered = ["nsenter", "--target", str(self.pid), "--all", *command]
        done = subprocess.run(entered, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def install(self) -> None:
        """Install the service by the lines of docs/service.md, and set it to be quick."""
        self.run("sh", "-ec", f"cd /opt/imageguard-daemon/checkout\n{documented_lines()}")
        self.configure()
        self.run("systemctl", "daemon-reload")

    def configure(self, more: str = "") -> None:
        """Write the configuration: the documented one, quick, and with `more`."""
        text = f"root: /srv/ingest\nintake: {{settle_seconds: 0.3}}\n{more}"
        (self.root / "etc/imageguard-daemon/config.yaml").write_text(text)

    def property(self, name: str) -> str:
        """Give a property of the unit."""
        return self.run("systemctl", "show", UNIT, f"--property={name}", "--value")


def wait_until(condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> float:
    """Poll, and give the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"waited {seconds:.0f} s in vain: {what}"
        time.sleep(0.1)
    return time.monotonic() - started


@contextmanager
def booted() -> Iterator[Booted]:
    """Boot, give the system, and end all that came from it."""
    group = _groups() / f"imageguard-{os.getpid()}"
    group.mkdir()
    with tempfile.TemporaryDirectory(prefix="imageguard-boot-") as base:
        arguments = [base, sys.base_prefix, str(SITE_PACKAGES), str(HERE.parents[1])]
        spaces = ["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]
        enter = f'echo $$ > {group}/cgroup.procs && exec unshare {" ".join(spaces)} bash {HERE}/boot.sh "$@"'
        process = subprocess.Popen(["sh", "-c", enter, "sh", *arguments], stdout=subprocess.DEVNULL)
        try:
            yield Booted(_first_process_of(process))
        finally:
            process.kill()
            process.wait(PATIENCE_SECONDS)
            _remove(group)


def _first_process_of(process: "subprocess.Popen[bytes]") -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def systemd() -> int | None:
        assert process.poll() is None, "it did not boot"
        return next((int(p) for p in children.read_text().split() if _name(p) == "systemd"), None)

    wait_until(systemd, "systemd starts")
    one = Booted(systemd())
    wait_until(lambda: one.run("systemctl", "is-active", "only.target", check=False) == "active", "systemd is up")
    one.install()
    return one.pid


def _name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _remove(group: Path) -> None:
    (group / "cgroup.kill").write_text("1")
    wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text(), "all of it has ended")
    for folder in sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
        folder.rmdir()
    group.rmdir()
