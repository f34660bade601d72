"""`python -m tests.world.network.inside`: every trial on every mount, inside the small machine."""

import argparse
import platform
import shutil
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.figures import Figures
from tests.faults.launching import Launcher
from tests.faults.site import patience
from tests.world.network import trials
from tests.world.network.servers import EXPORT, KINDS, Share, shared

LOGS = Path("/mnt/host/out/logs")  # of the machine that this one runs on: they are there whatever happens


def main() -> int:
    """Run what was asked for, print one line of figures for each, and give 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--kills", type=int, default=10)
    asked = parser.parse_args()
    LOGS.mkdir(exist_ok=True)
    patience.seconds, patience.look_seconds = 900.0, 0.3  # a machine on another one: system calls are dear
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.release()} (user-mode), ", end="")
    print(f"Python {platform.python_version()}", flush=True)
    wrong = 0
    with Launcher() as launcher:
        for number, kind in enumerate(KINDS):
            for name, trial in trials.all_of(asked.kills).items():
                title = f"{kind.title}: {name}"
                if not asked.only or any(word in title for word in asked.only):
                    with shared(kind, f"{number}-{len(list(EXPORT.iterdir()))}") as share:
                        wrong += _try(title, trial, launcher, share)
    return 1 if wrong else 0


def _try(title: str, trial: trials.Trial, launcher: Launcher, share: Share) -> int:
    figures = Figures(title)
    home = Path("/run/world/sites") / share.here.name
    try:
        trial(launcher, home, share, figures)
    except Exception:  # noqa: BLE001 - told in full, and the next one is tried
        figures.note(f"{traceback.format_exc()}{launcher.running} daemons run\n{_last_words(home)}")
    launcher.end_all()
    for log in home.rglob("*.jsonl"):
        name = "-".join([*title.replace(":", "").split(), *log.relative_to(home).parts])
        shutil.move(log, LOGS / name)  # which are on different file systems
    print(figures, flush=True)
    for violation in figures.violations:
        print(f"  ! {violation}", flush=True)
    return len(figures.violations)


def _last_words(home: Path) -> str:
    return "".join("".join(log.read_text().splitlines(keepends=True)[-5:]) for log in sorted(home.rglob("*.jsonl")))


if __name__ == "__main__":
    sys.exit(main())
