"""`python -m bench.races`: an attacker who swaps files, folders and links between any two steps of a move.

In each round one to three attacks strike at random moments: before any call that the code under attack makes. The
attacker wins a round when something he chose is published as judged, a file outside is touched, or a file of others
at the destination is replaced.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.model import Candidate, Intent, RecordedIntent
from imageguard_daemon.daemon.move_group import FileMove, carry_out
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.quality.measurement import fingerprint_file

JUDGED, EVIL, SECRET, FOREIGN = b"judged", b"evil", b"secret", b"foreign"
MOST_ATTACKS = 3


class Site:
    """The folders of one round: an inbox, a destination, and what lies outside and must stay as it is."""

    def __init__(self, home: Path) -> None:
        self.inbox, self.accepted, self.outside = (home / name for name in ("inbox", "accepted", "outside"))
        for folder in (self.inbox / "cat", self.accepted / "cat", self.outside):
            folder.mkdir(parents=True)
        self.file, self.target = self.inbox / "cat" / "a.png", self.accepted / "cat" / "a.png"
        self.file.write_bytes(JUDGED)
        (self.outside / "a.png").write_bytes(SECRET)
        self.planted = False

    def move(self) -> bool:
        """Measure the file and move it, as the daemon does; tell whether it says that it has moved."""
        measured = fingerprint_file(str(self.file))
        intent = Intent("image", str(self.file), str(self.target), measured.sha256, measured.identity)
        move = FileMove(Candidate("default", "cat/a.png"), [RecordedIntent(1, intent)])
        with Folders([str(self.inbox), str(self.accepted)]) as folders:
            carry_out([move], folders)
        return move.moved

    def won(self, moved: bool, judged: bytes) -> str:
        """Say what the attacker has won, if anything."""
        secret = self.outside / "a.png"  # a mover by path may have put a link in its place, which leads to itself
        is_untouched = [p.name for p in self.outside.iterdir()] == ["a.png"] and not secret.is_symlink()
        if not is_untouched or secret.read_bytes() != SECRET:
            return "a file outside was touched"
        published = [p.read_bytes() for p in self.accepted.rglob("*") if p.is_file() and not p.is_symlink()]
        if any(content not in {judged, FOREIGN} for content in published):
            return f"published {published}"
        if moved and judged not in published:
            return "said to have moved, and is not there"
        return "a file of others was replaced" if self.planted and FOREIGN not in published else ""

    # --- what the attacker does

    def leads_outside(self) -> bool:
        """Tell whether he would have to reach outside himself, where he has no rights, to go on."""
        return self.file.parent.is_symlink() or self.target.parent.is_symlink()

    def swap_file(self) -> None:
        """Put another file in its place."""
        (self.inbox / "evil").write_bytes(EVIL)
        (self.inbox / "evil").rename(self.file)

    def swap_link(self) -> None:
        """Put a link to a secret in its place."""
        (self.inbox / "link").symlink_to(self.outside / "a.png")
        (self.inbox / "link").rename(self.file)

    def swap_hard_link(self) -> None:
        """Put another name of a secret in its place."""
        os.link(self.outside / "a.png", self.inbox / "name")
        (self.inbox / "name").rename(self.file)

    def rewrite(self) -> None:
        """Write into it, unless it is the secret itself."""
        if self.file.stat().st_nlink > 1:
            return
        descriptor = os.open(self.file, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        os.write(descriptor, EVIL)
        os.close(descriptor)

    def swap_inbox_folder(self) -> None:
        """Put a link to the outside in place of the folder."""
        (self.inbox / "cat").rename(self.inbox / "away")
        (self.inbox / "cat").symlink_to(self.outside)

    def swap_destination_folder(self) -> None:
        """Do the same at the destination."""
        (self.accepted / "cat").rename(self.accepted / "away")
        (self.accepted / "cat").symlink_to(self.outside)

    def plant_file(self) -> None:
        """Take the name at the destination."""
        descriptor = os.open(self.target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        os.write(descriptor, FOREIGN)
        os.close(descriptor)
        self.planted = True

    def plant_link(self) -> None:
        """Let the name at the destination lead outside."""
        self.target.symlink_to(self.outside / "new.png")

    def undo(self) -> None:
        """Put a folder back, so that the next look finds nothing odd."""
        for root in (self.inbox, self.accepted):
            if (root / "away").exists():
                (root / "cat").unlink()
                (root / "away").rename(root / "cat")


class LinkedSite(Site):
    """The file has a second name elsewhere, which the attacker keeps: it is copied instead of renamed."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.other_name = home / "other name"
        os.link(self.file, self.other_name)

    def rewrite(self) -> None:
        """Write into it by its other name."""
        descriptor = os.open(self.other_name, os.O_WRONLY | os.O_NONBLOCK)  # waits for no lease
        os.write(descriptor, EVIL)
        os.close(descriptor)


ATTACKS: tuple[Callable[[Site], None], ...] = (
    *(Site.swap_file, Site.swap_link, Site.swap_hard_link, Site.rewrite, Site.swap_inbox_folder),
    *(Site.swap_destination_folder, Site.plant_file, Site.plant_link, Site.undo),
)


KINDS = {"renamed": Site, "copied": LinkedSite}


class Attacker:
    """Counts the calls of the code under attack, and strikes before the chosen ones."""

    def __init__(self, site: Site, plan: dict[int, Callable[[Site], None]]) -> None:
        self._site, self._plan, self.calls = site, plan, 0

    def __call__(self, _frame: FrameType, event: str, _argument: object) -> None:
        """Serve as a profile function of the interpreter."""
        if event not in {"call", "c_call"}:
            return
        self.calls += 1
        attack = self._plan.get(self.calls)
        if attack is Site.undo or (attack is not None and not self._site.leads_outside()):
            with suppress(OSError):
                getattr(self._site, attack.__name__)()


class NaiveSite(Site):
    """The test of the test: moves by path, as most programs would."""

    def move(self) -> bool:
        """Measure, then move whatever is there by then."""
        fingerprint_file(str(self.file))
        self.target.parent.mkdir(exist_ok=True)
        shutil.move(self.file, self.target)
        return True


def play(home: Path, plan: dict[int, Callable[[Site], None]], site_type: type[Site] = Site) -> tuple[str, str, int]:
    """Play one round; give how it ended, what was won, and how many calls there were."""
    site = site_type(home)
    attacker = Attacker(site, plan)
    sys.setprofile(attacker)
    try:
        moved, ended = site.move(), ""
    except (ImageguardError, OSError) as error:
        moved, ended = False, type(error).__name__
    finally:
        sys.setprofile(None)
    # What was swapped in before the measuring began is what was judged, and may be published.
    return ended or ("moved" if moved else "stayed"), site.won(moved, JUDGED), attacker.calls


def run(rounds: int, seed: int, site_type: type[Site] = Site) -> tuple[Counter[str], Counter[str]]:
    """Play; give how rounds ended and what was won."""
    draw, ends, wins = random.Random(seed), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="imageguard-races-") as folder:
        calls = play(Path(folder, "calm"), {}, site_type)[2]
        first = _calls_before_reading(Path(folder, "first"), site_type)
        for number in range(rounds):
            attacks = draw.randint(1, MOST_ATTACKS)
            plan = {draw.randint(first, calls): draw.choice(ATTACKS) for _ in range(attacks)}
            home = Path(folder, str(number))
            ended, won, _ = play(home, plan, site_type)
            ends[ended] += 1
            if won:
                wins[won] += 1
            shutil.rmtree(home)
    return ends, wins


def _calls_before_reading(home: Path, site_type: type[Site]) -> int:
    """Give the number of calls after which the file has been read: what comes before is simply another upload."""
    site, read = site_type(home), 0

    def watch(frame: FrameType, event: str, argument: object) -> None:
        nonlocal read
        attacker(frame, event, argument)
        if event == "return" and frame.f_code.co_name == "_sha256":
            read = read or attacker.calls

    attacker = Attacker(site, {})
    sys.setprofile(watch)
    try:
        site.move()
    finally:
        sys.setprofile(None)
    return read + 1


def main() -> int:
    """Play, print, and give 1 when the attacker has won anything."""
    parser = argparse.ArgumentParser(prog="python -m bench.races", description=__doc__)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[*KINDS], help="the files of one kind")
    chosen = parser.parse_args()
    won = 0
    for what, site_type in KINDS.items():
        if chosen.only not in (None, what):
            continue
        ends, wins = run(chosen.rounds, chosen.seed, site_type)
        won += wins.total()
        print(f"{what}: rounds {chosen.rounds}, seed {chosen.seed}: {wins.total()} won by the attacker")
        for name, count in ends.most_common():
            print(f"  {name:<16} {count}")
        for name, count in wins.most_common():
            print(f"  ! {name}: {count}")
    return 1 if won else 0


if __name__ == "__main__":
    raise SystemExit(main())
