"""Jumps of the clock by ten years, both ways, while the daemon runs."""

from pathlib import Path

from tests.faults.figures import Figures
from tests.faults.launching import Launcher
from tests.faults.site import Site, wait_until
from tests.faults.uploading import offered, picture

DAYS_OFF = (0, 3650, -3650)
KINDS = ("good", "blurry", "tiny", "cut")


def jump(launcher: Launcher, home: Path) -> Figures:
    """Let the same pictures arrive before, after a jump forward and after one backward; all decisions are the same."""
    figures = Figures("clock jumps of ten years", rounds=len(DAYS_OFF) - 1)
    site = Site(home, intake={"canary_seconds": 1.0})
    _set(home / "clock", 0)
    daemon = launcher.start_and_wait(site, faults=["movable_clock"])
    sent = []
    for number, days in enumerate(DAYS_OFF):
        _set(home / "clock", days)
        for kind in KINDS:
            name, data = f"cat/{number}-{kind}.jpg", picture(kind) + b"%d" % number
            path = site.inbox / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            sent.append(offered(name, data))
        _wait_for_decisions(site, len(sent), figures, days)
    if daemon.stop() != 0:
        figures.note(f"did not stop well: {site.last_words()}")
    figures.files = len(sent)
    figures.judge("clock jumps", site, sent)
    _compare(site, figures)
    return figures


def _set(clock: Path, days: int) -> None:
    fresh = clock.with_suffix(".new")
    fresh.write_text(f"{days}\n")
    fresh.rename(clock)


def _wait_for_decisions(site: Site, count: int, figures: Figures, days: int) -> None:
    try:
        wait_until(lambda: len(site.decisions()) >= count, f"decisions after a jump by {days} days")
    except AssertionError as error:
        figures.note(f"{error}; {site.last_words()}")


def _compare(site: Site, figures: Figures) -> None:
    rows = site.decisions("relative_path, verdict, reason, score, measures, decided_at")
    by_jump = [sorted((r[0].split("-")[1], *r[1:5]) for r in rows if r[0].startswith(f"cat/{n}-")) for n in range(3)]
    if not by_jump[0] == by_jump[1] == by_jump[2]:
        figures.note(f"decisions differ: {by_jump}")
    years = {row[5][:4] for row in rows}
    if len(years) != len(DAYS_OFF):
        figures.note(f"the clock did not jump: {years}")
    if [row[0][4] for row in rows] != sorted(row[0][4] for row in rows):
        figures.note("the order of the log is not the order of the decisions")
