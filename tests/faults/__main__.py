"""`python -m tests.faults`: the campaigns with their full counts, one line of figures for each. Needs root."""

import argparse
import ctypes
import functools
import itertools
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.faults import (
    attackers,
    attacks,
    blind,
    clock,
    early,
    fleet,
    kills,
    names,
    passing,
    planted,
    power,
    results,
    review_cuts,
    reviews,
)
from tests.faults.figures import Figures
from tests.faults.launching import Launcher

Campaign = Callable[[Launcher, Path], Figures | list[Figures]]
MEMORY = Path("/dev/shm")
_CLONE_NEWNS = 0x20000
RANDOM_KILLS = 1_000
POWER_CUTS = {"ext4": 1_600, "xfs": 400}
"""Shared evenly by the layouts, with one and with two accounts."""
REVIEW_CUTS = 560
"""Shared evenly by seven actions, the layouts, and one or two accounts."""
ATTACK_SECONDS = 600.0
ATTACKS_AT_ONCE = 16
WHERE = [(apart, accounts) for accounts in (1, 2) for apart in (False, True)]
"""Whether destinations are on another device, and how many accounts there are."""
SLOW_UPLOADS = 500
EQUAL_NAMES = 10_000
BURST = 20_000
FLEET_ROUNDS = 60


def _kills(share: float) -> Iterator[Campaign]:
    for apart, accounts in WHERE:
        count = _part(RANDOM_KILLS / len(WHERE), share)
        yield lambda launcher, home, apart=apart, accounts=accounts, count=count: _with_elsewhere(
            apart, lambda folder: kills.kill_under_load(launcher, home, folder, count, accounts)
        )


def _calls(share: float) -> Iterator[Campaign]:
    for apart, accounts in WHERE:
        points = None if share >= 1 else kills.some(round(900 * share))
        yield lambda launcher, home, apart=apart, accounts=accounts, points=points: _with_elsewhere(
            apart, lambda folder: kills.kill_at_system_calls(launcher, home, folder, points, accounts)
        )


def _with_elsewhere(apart: bool, campaign: Callable[[Path | None], Figures]) -> Figures:
    if not apart:
        return campaign(None)
    with tempfile.TemporaryDirectory(prefix="imageguard-faults-", dir=MEMORY) as folder:
        return campaign(Path(folder))


def _power(share: float) -> Iterator[Campaign]:
    for file_system, cuts in POWER_CUTS.items():
        for accounts, layout in itertools.product((1, 2), power.LAYOUTS):
            count = _part(cuts / len(power.LAYOUTS) / 2, share)
            yield functools.partial(
                power.cut_power, layout=layout, rounds=count, file_system=file_system, accounts=accounts
            )


def _seeded(_share: float) -> Iterator[Campaign]:
    for fault, layout, within in power.SEEDED:
        yield lambda launcher, home, fault=fault, layout=layout, within=within: _caught(
            power.cut_power(launcher, home, layout, within, fault=fault, stop_when_caught=True)
        )


def _caught(figures: Figures) -> Figures:
    """Turn it round: a seeded fault that went unseen is what is wrong."""
    figures.violations = [] if figures.violations else ["went unseen"]
    figures.title += f", {'caught' if not figures.violations else 'unseen'}"
    return figures


def _planted(_share: float) -> Iterator[Campaign]:
    yield lambda _launcher, home: planted.plant_each(home)


def _early(share: float) -> Iterator[Campaign]:
    yield lambda launcher, home: early.upload_slowly(launcher, home, _part(SLOW_UPLOADS, share))


def _blind(share: float) -> Iterator[Campaign]:
    yield lambda launcher, home: blind.queue_overflow(launcher, home, _part(BURST, share))
    yield from (blind.watch_limit, blind.dead_thread, blind.mounted_over)
    for how in blind.ROOT_CHANGES:
        yield lambda launcher, home, how=how: blind.root_changes(launcher, home, how)


def _names(share: float) -> Iterator[Campaign]:
    yield lambda launcher, home: names.equal_names(launcher, home, _part(EQUAL_NAMES, share))
    yield lambda launcher, home: names.equal_names(launcher, home, _part(800, share), refuse_renames=True)
    yield names.destinations_in_the_way


def _passing(_share: float) -> Iterator[Campaign]:
    for cause in passing.CAUSES:
        yield lambda launcher, home, cause=cause: passing.pass_by(launcher, home, cause)
    yield passing.failed_fsync
    yield passing.doubtful_rename


def _clock(_share: float) -> Iterator[Campaign]:
    yield clock.jump


def _reviews(share: float) -> Iterator[Campaign]:
    points = None if share >= 1 else kills.some(round(100 * share))
    chosen = [(action, False) for action in reviews.ACTIONS] + [("release", True), ("reject", True)]
    for (action, apart), accounts in itertools.product(chosen, (1, 2)):
        yield lambda launcher, home, action=action, apart=apart, accounts=accounts: _with_elsewhere(
            apart, lambda folder: reviews.kill_at_system_calls(launcher, home, folder, action, points, accounts)
        )


def _review_cuts(share: float) -> Iterator[Campaign]:
    for accounts, layout in itertools.product((1, 2), power.LAYOUTS):
        count = _part(REVIEW_CUTS / len(power.LAYOUTS) / 2, share)
        file_system = "xfs" if layout == "log on a disk of its own" else "ext4"
        yield functools.partial(
            review_cuts.cut_power, layout=layout, rounds=count, file_system=file_system, accounts=accounts
        )


def _results(share: float) -> Iterator[Campaign]:
    points = None if share >= 1 else kills.some(_part(40, share))
    for name in results.WRITERS:
        yield lambda launcher, home, name=name: results.kill_at_system_calls(
            launcher, results.begun(launcher, home), name, points
        )


def _fleet(share: float) -> Iterator[Campaign]:
    for seed in (1, 2):
        yield lambda launcher, home, seed=seed: fleet.outages(launcher, home, _part(FLEET_ROUNDS / 2, share), seed)
    yield fleet.full_disk


def _attacks(share: float) -> Iterator[Campaign]:
    names = list(attackers.ATTACKS)
    for begin in range(0, len(names), ATTACKS_AT_ONCE):
        some = names[begin : begin + ATTACKS_AT_ONCE]
        yield functools.partial(attacks.attack_side_by_side, names=some, seconds=ATTACK_SECONDS * share)


CAMPAIGNS: dict[str, Callable[[float], Iterator[Campaign]]] = {
    "seeded": _seeded,
    "planted": _planted,
    "passing": _passing,
    "clock": _clock,
    "blind": _blind,
    "names": _names,
    "early": _early,
    "kills": _kills,
    "calls": _calls,
    "reviews": _reviews,
    "review-cuts": _review_cuts,
    "results": _results,
    "power": _power,
    "attacks": _attacks,
    "fleet": _fleet,
}


def _part(count: float, share: float) -> int:
    return max(8, round(count * share))


def main() -> int:
    """Run the chosen campaigns and give 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("campaigns", nargs="*", default=[], metavar="CAMPAIGN", help=f"of {', '.join(CAMPAIGNS)}")
    parser.add_argument("--share", type=float, default=1.0, help="part of the full counts, such as 0.1 (default: 1)")
    chosen = parser.parse_args()
    unknown = set(chosen.campaigns) - set(CAMPAIGNS)
    if unknown or not chosen.share > 0:
        parser.error(f"no such campaign: {', '.join(sorted(unknown))}" if unknown else "--share is more than 0")
    if os.geteuid() != 0:
        parser.error("needs root, for mounts")
    _keep_mounts_to_ourselves()
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {platform.system()} {platform.release()}, ", end="")
    print(f"Python {platform.python_version()}, {chosen.share:g} of the full counts", flush=True)
    wrong = [_run(one) for name in chosen.campaigns or CAMPAIGNS for one in CAMPAIGNS[name](chosen.share)]
    return 1 if any(wrong) else 0


def _keep_mounts_to_ourselves() -> None:
    """Have a mount namespace of our own: a container that begins meanwhile would hold our disks as long as it runs."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def _run(campaign: Campaign) -> int:
    with Launcher() as launcher, tempfile.TemporaryDirectory(prefix="imageguard-faults-") as home:
        found = campaign(launcher, Path(home))
        all_figures = [found] if isinstance(found, Figures) else found
        for figures in all_figures:  # before all is deleted, which takes minutes after some attacks
            print(figures, flush=True)
            for violation in figures.violations:
                print(f"  ! {violation}", file=sys.stderr, flush=True)
    return sum(len(figures.violations) for figures in all_figures)


if __name__ == "__main__":
    raise SystemExit(main())
