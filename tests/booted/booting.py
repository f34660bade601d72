"""A systemd booted beside the machine's own, in namespaces and a control group, with the service installed."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.faults.site import patience, wait_until
from tests.helpers.images import jpeg, photo

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
SYSTEMD = Path("/usr/lib/systemd/systemd")
INSTALL_SECONDS = 900.0
UNIT = "imageguard-daemon"
FORWARDER = "imageguard-forward"
COMMAND = "/opt/imageguard-daemon/bin/imageguard-daemon"
SHIPPED = "/opt/imageguard-daemon/share/imageguard-daemon"
"""What the package brings along to be installed, below a system's root."""
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
    text = (REPOSITORY / "docs/service.md").read_text()
    return text.split("## Install\n")[1].split("```sh\n")[1].split("```")[0]


def documented_package_lines() -> str:
    """Give the commands at the top of the unit that install the package."""
    lines = (REPOSITORY / "systemd/imageguard-daemon.service").read_text().splitlines()
    (line,) = (line for line in lines if "pip install" in line)
    return line.lstrip("# ").replace("/path/to/this/checkout", "'/root/checkout[fleet]'")


def documented_forwarder_lines() -> list[str]:
    """Give the commands at the top of the forwarder's unit: the password's, and the unit's."""
    lines = (REPOSITORY / "systemd/imageguard-forward.service").read_text().splitlines()
    return [line.lstrip("# ").split("   #")[0] for line in lines if line.startswith("#   ")]


class Booted:
    """A running systemd; `root` is its root folder as seen from here."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.root = Path(f"/proc/{pid}/root")
        self.ingest = self.root / "srv/ingest"

    def run(self, *command: str, check: bool = True, seconds: float = 0.0) -> str:
        """Run a command inside and give what it prints."""
        done = self.ended(*command, seconds=seconds)
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def ended(self, *command: str, seconds: float = 0.0) -> subprocess.CompletedProcess[str]:
        """Run a command inside and give how it ended."""
        entered = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd", *command]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        options = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
        most = seconds or patience.seconds
        return subprocess.run(entered, timeout=most, env=environment, check=False, **options)

    def install(self, *, package: bool) -> None:
        """Install the service by the lines of docs/service.md, the package too if need be, and set it to be quick."""
        if package:
            self.run("sh", "-ec", documented_package_lines(), seconds=INSTALL_SECONDS)
        self.run("sh", "-ec", documented_lines())
        watchdog_seconds = patience.seconds / 15
        quick = f"[Service]\nWatchdogSec={watchdog_seconds:.0f}\nRestartSec=1\n"
        (self.root / f"etc/systemd/system/{UNIT}.service.d/quick.conf").write_text(quick)
        self.configure()

    def configure(self, more: str = "", drop_in: str = "") -> None:
        """Write the configuration: the documented one, quick, and with `more`; and what a drop-in adds to the unit."""
        text = f"root: /srv/ingest\nintake: {{settle_seconds: 0.3}}\n{more}"
        (self.root / "etc/imageguard-daemon/config.yaml").write_text(text)
        path = self.root / f"etc/systemd/system/{UNIT}.service.d/scenario.conf"
        path.unlink(missing_ok=True)
        if drop_in:
            path.write_text(drop_in)
        self.run("systemctl", "daemon-reload")

    def told(self, event: str) -> dict[str, Any]:
        """Give the last line of a kind that the service wrote to the journal."""
        lines = [line for line in self.journal().splitlines() if f'"event": "{event}"' in line]
        last: dict[str, Any] = json.loads(lines[-1])
        return last

    def value_of(self, name: str, unit: str = UNIT) -> str:
        """Give a property of a unit."""
        return self.run("systemctl", "show", unit, f"--property={name}", "--value")

    @property
    def is_ready(self) -> bool:
        """Whether the service has said that it is ready."""
        return self.value_of("SubState") == "running"

    def need_controllers(self, *names: str) -> None:
        """Skip where units cannot be limited: the kernel has given these controllers to the first version of groups."""
        having = (self.root / "sys/fs/cgroup/cgroup.controllers").read_text().split()
        if lacking := set(names) - set(having):
            pytest.skip(f"no controller of control groups for: {', '.join(sorted(lacking))}")

    def start(self) -> None:
        """Start the service, and wait until it is ready."""
        self.run("systemctl", "start", UNIT)
        assert self.is_ready

    def stop(self) -> None:
        """Stop the service, and forget how it failed."""
        self.run("systemctl", "stop", UNIT)
        self.run("systemctl", "reset-failed", UNIT, check=False)

    def install_forwarder(self, password: str) -> None:
        """Install the forwarder's unit by the lines at its top, with a password as it would be typed, and start it."""
        give_password, *others = documented_forwarder_lines()
        self.run("sh", "-ec", f"printf '%s\\n' '{password}' | {give_password}")
        self.run("sh", "-ec", f"cd {SHIPPED}\n" + "\n".join(others))
        self.run("systemctl", "restart", FORWARDER)

    def upgrade(self) -> str:
        """Install another version as is documented, and give what it calls itself; without pip, replace a file."""
        project = self.root / "root/checkout/pyproject.toml"
        if not project.exists():
            (module,) = (self.root / "opt/imageguard-daemon").glob("*/imageguard_daemon/core/model.py")
            module.touch()
            return ""
        project.write_text(re.sub('^version = ".*"', 'version = "99.0"', project.read_text(), flags=re.MULTILINE))
        self.run("sh", "-ec", documented_package_lines(), seconds=INSTALL_SECONDS)
        return "99.0"

    def status(self) -> dict[str, Any]:
        """Give what the daemon last wrote of itself."""
        written: dict[str, Any] = json.loads((self.ingest / ".imageguard/status.json").read_text())
        return written

    def journal(self, *options: str, unit: str = UNIT) -> str:
        """Give what the journal has of a unit, as it was written."""
        return self.run("journalctl", "--unit", unit, "--output=cat", "--no-pager", *options)

    def as_account(self, *arguments: str) -> str:
        """Give a command of ours, in a shell beside the unit, as the service's account."""
        return self.run("setpriv", "--reuid=imageguard", "--regid=imageguard", "--init-groups", COMMAND, *arguments)

    def send(self, name: str, data: bytes | None = None) -> Path:
        """Let an image arrive, owned by the service's account; give its path in the inbox."""
        inbox = self.ingest / "inbox"
        upload = inbox / f".{name}"
        upload.write_bytes(jpeg(photo(640, 480, seed=len(name)), 95) if data is None else data)
        os.chown(upload, inbox.stat().st_uid, inbox.stat().st_gid)
        return upload.rename(inbox / f"{name}.jpg")

    def judge(self, name: str) -> None:
        """Let an image arrive, and wait until it has been accepted."""
        self.send(name)
        wait_until((self.ingest / f"accepted/{name}.jpg").exists, f"{name} is accepted")


@contextmanager
def booted(bare_root: Path | None = None) -> Iterator[Booted]:
    """Boot, install, give the system, and end all that came from it.

    What is booted is this machine's own root, or a bare one, which gets the package as is documented.
    """
    groups = _groups()
    assert groups is not None
    group = groups / f"imageguard-{os.getpid()}"
    group.mkdir()
    _give_controllers(groups)
    with tempfile.TemporaryDirectory(prefix="imageguard-boot-") as base:
        arguments = [base, str(REPOSITORY), str(bare_root or "/")]
        if bare_root is None:
            arguments += [sys.base_prefix, str(SITE_PACKAGES)]
        spaces = ["--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup"]
        enter = f'echo $$ > {group}/cgroup.procs && exec unshare {" ".join(spaces)} bash {HERE}/boot.sh "$@"'
        process = subprocess.Popen(["sh", "-c", enter, "sh", *arguments], stdout=subprocess.DEVNULL)
        try:
            _leave(process, groups)
            system = Booted(_first_process_of(process))
            system.install(package=bare_root is not None)
            yield system
        finally:
            process.kill()
            process.wait(patience.seconds)
            _remove(group)


def _give_controllers(groups: Path) -> None:
    """Let what is booted limit its units, as far as this machine's own first process may."""
    for name in (groups / "cgroup.controllers").read_text().split():
        with suppress(OSError):
            (groups / "cgroup.subtree_control").write_text(f"+{name}")


def _leave(process: "subprocess.Popen[bytes]", groups: Path) -> None:
    """Take what waits for the system out of its group: a group with processes of its own lends no controllers."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: process.poll() is not None or children.read_text(), "the system's first process is there")
    with suppress(OSError):  # it has ended, which is told where it is waited for
        (groups / "cgroup.procs").write_text(str(process.pid))


def _first_process_of(process: "subprocess.Popen[bytes]") -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def systemd() -> int | None:
        assert process.poll() is None, "it did not boot"
        return next((int(p) for p in children.read_text().split() if _name(p) == "systemd"), None)

    wait_until(systemd, "systemd starts")
    pid = systemd()
    assert pid is not None
    one = Booted(pid)
    try:
        wait_until(lambda: one.run("systemctl", "is-active", "only.target", check=False) == "active", "systemd is up")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{one.run('systemctl', 'list-jobs', check=False)}") from error
    return pid


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
