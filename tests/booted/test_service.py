"""The unit under a real systemd: it starts, is brought back when it hangs, and writes only where it may."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.booted import booting
from tests.booted.booting import UNIT, wait_until
from tests.helpers.images import jpeg, photo

UNIT_FILE = Path(__file__).resolve().parents[2] / "systemd" / "imageguard-daemon.service"
UNITS = sorted(UNIT_FILE.parent.glob("*.service"))
MOST_EXPOSED = 1.0
SINCE_254 = ("RestartSteps", "RestartMaxDelaySec")
"""Older ones say that they pass over these, which is meant."""

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def _analyzed(*arguments):
    """Give what systemd-analyze says, and whether it is content; but for settings that an older one does not know."""
    command = ["systemd-analyze", *map(str, arguments)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (told.stdout + told.stderr).splitlines()
    new = [f"Unknown key {quote}{key}{quote}" for key in SINCE_254 for quote in ("'", "")]
    return told.returncode == 0, "\n".join(line for line in lines if not any(known in line for known in new))


@needs_analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
@pytest.mark.parametrize("with_pages", [False, True])
def test_a_unit_has_no_mistake(tmp_path, unit, with_pages):
    """`systemd-analyze verify` has nothing to say; it passes unknown keys, so its silence is what counts."""
    if with_pages:
        (tmp_path / f"{unit.name}.d").mkdir()
        shutil.copy(UNIT_FILE.with_name("web.conf"), tmp_path / f"{unit.name}.d")
    text = unit.read_text().replace("/opt/imageguard-daemon/bin/imageguard-daemon", "/bin/true")
    (tmp_path / unit.name).write_text(text)
    assert _analyzed("verify", tmp_path / unit.name) == (True, "")


@needs_analyze
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_exposes_next_to_nothing(unit):
    """`systemd-analyze security` finds an exposure of at most 1.0 of 10, for every unit that is shipped."""
    is_content, told = _analyzed("security", "--offline=true", f"--threshold={MOST_EXPOSED * 10:.0f}", unit)
    assert is_content, told


@pytest.mark.skipif(bool(booting.lacking()), reason=f"needs {booting.lacking()}")
def test_under_a_real_systemd_it_starts_comes_back_when_hung_and_writes_only_where_it_may():
    """Ready, judging, killed by the watchdog when it hangs and back by itself; everything else is read-only."""
    with booting.booted() as system:
        system.run("systemctl", "start", UNIT)
        assert system.property("ActiveState") == "active"
        _send(system, "first")
        hung = int(system.property("MainPID"))
        system.run("kill", f"-{signal.SIGSTOP.value}", str(hung))
        wait_until(lambda: system.property("NRestarts") == "1" and _is_ready(system), "it comes back")
        assert int(system.property("MainPID")) != hung
        _send(system, "second")
        inside = ["nsenter", "--target", system.property("MainPID"), "--mount"]
        for folder in ("/etc", "/usr", "/var", "/opt/imageguard-daemon", "/srv"):
            assert "Read-only" in system.run(*inside, "sh", "-c", f"touch {folder}/written 2>&1", check=False), folder
        system.run(*inside, "touch", "/srv/ingest/written")
        assert "not fully confined" not in system.run("cat", "/run/imageguard.log")
        _show_pages(system)
        system.run("systemctl", "stop", UNIT)
        assert system.property("Result") == "success"
        assert system.property("TasksCurrent") in {"", "0", "[not set]"}


def _show_pages(system: booting.Booted) -> None:
    """With the drop-in for pages this machine's browsers reach them, and they let the daemon go first."""
    folder = system.root / f"etc/systemd/system/{UNIT}.service.d"
    shutil.copy(UNIT_FILE.with_name("web.conf"), folder / "web.conf")
    system.configure("web: {enabled: true}\n")
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", UNIT)
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8765/', timeout=5).read().decode())"
    libraries = "LD_LIBRARY_PATH=/opt/imageguard-daemon/python/lib"
    python = ("env", libraries, "/opt/imageguard-daemon/python/bin/python3", "-c", ask)
    pid = system.property("MainPID")
    wait_until(lambda: f"process {pid}" in system.run(*python, check=False), "the pages answer", 30)
    own = int(system.run("ps", "-o", "nice=", "--pid", pid))
    assert own + 5 in map(int, system.run("ps", "-o", "nice=", "--ppid", pid).split())


def _is_ready(system: booting.Booted) -> bool:
    return system.property("SubState") == "running"


def _send(system: booting.Booted, name: str) -> None:
    """Let an image arrive, owned by the service's account, and wait until it has been filed."""
    inbox, accepted = (system.root / "srv/ingest" / folder for folder in ("inbox", "accepted"))
    data, upload = jpeg(photo(640, 480, seed=len(name)), 95), inbox / f".{name}"
    upload.write_bytes(data)
    os.chown(upload, inbox.stat().st_uid, inbox.stat().st_gid)
    upload.rename(inbox / f"{name}.jpg")
    wait_until((accepted / f"{name}.jpg").exists, f"{name} is accepted", 30)
