"""The units under a real systemd: they start, are brought back, and say what they need."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.booted import booting, scenarios
from tests.booted.booting import UNIT
from tests.faults.site import wait_until

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


@pytest.fixture(scope="module")
def system():
    """One booted system for all scenarios; each leaves it with the service stopped."""
    if lacking := booting.lacking():
        pytest.skip(f"needs {lacking}")
    with booting.booted() as system:
        yield system


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", scenarios.QUICK, ids=lambda scenario: scenario.__name__)
def test_on_a_real_server(system, scenario):
    """Each promise is the scenario's own; `python -m tests.booted` has the others, also on bare roots of Debian."""
    scenario(system)


def test_each_scenario_is_in_the_operators_table():
    """docs/operations.md says of each what is seen and what to do, by its name."""
    table = UNIT_FILE.parents[1].joinpath("docs/operations.md").read_text()
    missing = [one.__name__ for one in scenarios.ALL if f"`{one.__name__}`" not in table]
    assert missing == []


@pytest.mark.timeout(600)
def test_browsers_of_this_machine_reach_the_pages(system):
    """With the drop-in for pages they answer, and let the daemon go first."""
    folder = system.root / f"etc/systemd/system/{UNIT}.service.d"
    shutil.copy(UNIT_FILE.with_name("web.conf"), folder / "web.conf")
    system.configure("web: {enabled: true}\n")
    system.start()
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8765/', timeout=5).read().decode())"
    libraries = "LD_LIBRARY_PATH=/opt/imageguard-daemon/python/lib"
    python = ("env", libraries, "/opt/imageguard-daemon/python/bin/python3", "-c", ask)
    pid = system.value_of("MainPID")
    wait_until(lambda: f"process {pid}" in system.run(*python, check=False), "the pages answer")
    own = int(system.run("ps", "-o", "nice=", "--pid", pid))
    assert own + 5 in map(int, system.run("ps", "-o", "nice=", "--ppid", pid).split())
    system.stop()
    (folder / "web.conf").unlink()
    system.configure()
