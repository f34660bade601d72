"""Power cuts while images are acted on or records archived, beside a daemon that files and without one."""

import os
import random
import threading
import time
from pathlib import Path

from tests.faults import power, reviews
from tests.faults.disks import disks
from tests.faults.figures import Figures
from tests.faults.launching import Launcher
from tests.faults.oracle import sha256_of
from tests.faults.site import Site

_seconds: dict[str, float] = {}
"""How long each command takes that nothing cuts."""


def cut_power(
    launcher: Launcher, home: Path, layout: str, rounds: int, *, file_system: str = "ext4", accounts: int = 1
) -> Figures:
    """Cut the power in the middle of a command so many times, each action in turn; recover and judge."""
    figures = Figures(f"power cuts of reviews, {file_system}, {layout}{', two accounts' if accounts > 1 else ''}")
    with disks(power.disks_of(layout), file_system) as all_disks:
        site = power.site_on(all_disks, home, layout, accounts, sidecars=True)
        for number in range(rounds):
            action = reviews.ACTIONS[number % len(reviews.ACTIONS)]
            if action not in _seconds:
                _seconds[action] = _uncut(launcher, site, action)
            power.begin_anew(site)
            contents = reviews.file_two(launcher, site, action)
            os.sync()
            uploads = power.Uploads()
            figures.counts["in the middle"] += _one_cut(launcher, site, all_disks, uploads, action)
            figures.rounds += 1
            figures.files += len(contents) + len(uploads.sent)
            for violation in _recovered(launcher, site, uploads, contents, action):
                figures.note(f"cut {number} of {action}: {violation}")
        launcher.end_all()
    return figures


def _uncut(launcher: Launcher, site: Site, action: str) -> float:
    power.begin_anew(site)
    reviews.file_two(launcher, site, action)
    began_at = time.monotonic()
    assert launcher.start(site, arguments=reviews.arguments_of(site, action)).wait() == 0, site.last_words()
    return time.monotonic() - began_at


def _one_cut(launcher: Launcher, site: Site, all_disks, uploads: power.Uploads, action: str) -> bool:
    """Cut once; every second time, a daemon runs beside the command. Give whether the command had not ended."""
    uploader = threading.Thread(target=uploads.run, args=(str(site.inbox),))
    daemon = launcher.start_and_wait(site) if random.random() < 0.5 else None
    if daemon is not None:
        uploader.start()
    command = launcher.start(site, arguments=reviews.arguments_of(site, action))
    time.sleep(random.uniform(0, 1.1 * _seconds[action]))
    uploads.enough.set()
    is_running = command.running
    processes = [command, *([daemon] if daemon else [])]
    power.cut_all_at_once(processes, all_disks)
    for process in processes:
        process.kill()
    if daemon is not None:
        uploader.join()
    power.bring_back(all_disks)
    return is_running


def _recovered(
    launcher: Launcher, site: Site, uploads: power.Uploads, contents: dict[str, str], action: str
) -> list[str]:
    """Let the next start finish what was cut, and give what is wrong."""
    try:
        launcher.recover(site)
    except AssertionError as error:
        return [str(error)]
    wrong = reviews.wrong(site, contents, action)
    filed = (site.accepted, site.quarantine)
    present = [sha256_of(str(path)) for folder in filed for path in folder.rglob("*") if path.is_file()]
    wrong += [f"lost: {one.name}" for one in uploads.sent if one.complete and one.sha256 not in present]
    return wrong + [f"doubled: {one.name}" for one in uploads.sent if present.count(one.sha256) > 1]
