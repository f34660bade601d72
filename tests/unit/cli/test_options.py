"""A Tab in a real shell offers commands, options and their values."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from imageguard_daemon.cli import options
from imageguard_daemon.core.model import THRESHOLD_NAMES

PROGRAMS = Path(sys.executable).parent
PATIENCE_SECONDS = 60.0
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$({show})"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -Uz compinit && compinit -u && eval "$({show})"'),
    "fish": (["fish", "--no-config", "-i"], "{show} | source"),
}
"""How each is started without anybody's settings, and what turns completion on."""


class Terminal:
    """A shell on a terminal of its own, and what it has shown since the last question."""

    def __init__(self, command: Sequence[str], home: Path) -> None:
        environment = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}", "HOME": str(home), "TERM": "dumb"}
        self._ours, theirs = pty.openpty()
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=home
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        """Type some keys."""
        os.write(self._ours, keys.encode())

    def shows(self, text: str, seconds: float = PATIENCE_SECONDS) -> bool:
        """Wait until a text is on the screen."""
        deadline, screen = time.monotonic() + seconds, ""
        while text not in screen:
            if not select.select([self._ours], [], [], max(deadline - time.monotonic(), 0))[0]:
                return False
            try:
                screen += os.read(self._ours, 65536).decode(errors="replace")
            except OSError:  # the shell has ended
                return False
        return True

    def close(self) -> None:
        """End the shell."""
        self._shell.kill()
        self._shell.wait()
        os.close(self._ours)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_tab_completes_commands_options_and_values(shell, tmp_path):
    """Commands, options and the names of presets are completed by the shell that people type in."""
    command, turn_on = SHELLS[shell]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    variable = f"_IMAGEGUARD_DAEMON_COMPLETE=source_{shell}"
    terminal = Terminal(command, tmp_path)
    try:
        terminal.type(turn_on.format(show=f"env {variable} imageguard-daemon") + " && echo is'-'on\n")
        assert terminal.shows("is-on")
        for typed, completed in (("simu", "late"), ("report --deta", "ils"), ("simulate --preset fi", "ne_grained")):
            terminal.type(f"imageguard-daemon {typed}\t")
            assert terminal.shows(completed), typed
            terminal.type("\x15")  # Ctrl-U: a new line
    finally:
        terminal.close()


def test_installing_completion_changes_the_settings_of_the_shell(tmp_path):
    """`--install-completion` tells the shell it is typed in where to look."""
    environment = os.environ | {"HOME": str(tmp_path), "PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    script = "imageguard-daemon --install-completion; :"
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "completion installed" in done.stdout, done
    assert str(tmp_path) in (tmp_path / ".bashrc").read_text()


def test_values_are_offered_by_their_beginning():
    """Presets, reasons, thresholds and what a report is grouped by."""
    assert options.offer_presets("s") == ["segmentation", "small_images"]
    assert options.offer_issues("lo") == ["low_resolution"]
    assert options.offer_thresholds("") == [f"{name}=" for name in THRESHOLD_NAMES]
    assert options.offer_score_ranges("sc") == ["score="]
    assert options.offer_dimensions("c") == ["class", "camera"]
    assert options.offer_dimensions("class,re") == ["class,reason"]
    assert "class,class" not in options.offer_dimensions("class,")


def test_completing_loads_no_image_or_database_library():
    """A Tab answers at once: what takes long to load is not loaded."""
    program = (
        "import sys; from imageguard_daemon.cli import app, options;"
        "options.offer_presets(''); options.offer_dimensions('');"
        "print(sorted({'numpy', 'cv2', 'sqlalchemy', 'pydantic', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
