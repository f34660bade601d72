"""Power cuts: what was not synced is gone, on one disk or on several at once."""

import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.accounts import uploading_into
from tests.faults.disks import Disk, disks
from tests.faults.figures import Figures
from tests.faults.launching import Daemon, Launcher
from tests.faults.oracle import Offered
from tests.faults.site import Site, wait_until
from tests.faults.uploading import offered, publish_new, sync_folder, unique

LAYOUTS = {
    "one disk for all": (0, 0),
    "log on a disk of its own": (0, 1),
    "destinations on a disk of their own": (1, 0),
    "inbox, destinations and log on three disks": (1, 2),
}
"""On which disk destinations and log are; the inbox is on disk 0."""
SEEDED = [
    ("move_before_record", "log on a disk of its own", 40),
    ("synchronous_normal", "one disk for all", 10),
    ("copy_without_fsync", "destinations on a disk of their own", 10),
    ("no_directory_fsync", "log on a disk of its own", 30),
]
"""Each seeded fault, where it shows, and within how many cuts it has to be noticed."""
ROUNDS_BEFORE_CLEARING = 10


@dataclass
class Uploads:
    """What two uploaders have sent since the folders were last empty."""

    sent: list[Offered] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)

    def run(self, inbox: str) -> None:
        """Upload until told to stop or until the disk is gone."""
        rng = random.Random(random.random())
        with suppress(OSError), uploading_into(inbox):
            while not self.enough.is_set():
                self._upload_one(inbox, rng)
                time.sleep(rng.uniform(0, 0.02))

    def _upload_one(self, inbox: str, rng: random.Random) -> None:
        """Half of the uploaders sync what they send, as rsync --fsync does; the others, as most do, don't."""
        careful = rng.random() < 0.5
        data = unique(rng.choice(["tiny", "blurry", "cut"]))
        name = f"class{rng.randrange(6)}/{rng.randrange(40)}-{'s' if careful else 'u'}.jpg"
        folder, base = os.path.split(os.path.join(inbox, name))
        os.makedirs(folder, exist_ok=True)
        temporary = os.path.join(folder, f".{base}.{threading.get_ident()}")
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            if careful:
                os.fsync(file.fileno())
        unsure = offered(name, data, complete=False)
        self.sent.append(unsure)
        if not publish_new(temporary, os.path.join(folder, base)):
            os.unlink(temporary)
        elif careful:
            sync_folder(folder)
            sync_folder(inbox)
            if not self.enough.is_set():  # what a dying disk answers is not to be believed
                self.sent[self.sent.index(unsure)] = offered(name, data)


def disks_of(layout: str) -> int:
    """Say how many disks a layout needs."""
    return 1 + max(LAYOUTS[layout])


def site_on(all_disks: Sequence[Disk], home: Path, layout: str, accounts: int, **intake: object) -> Site:
    """Make the folders of one daemon on these disks."""
    points = [disk.mount_point for disk in all_disks]
    destinations, log = LAYOUTS[layout]
    return Site(
        home,
        root=points[0] / "root",
        destinations=points[destinations] / "root",
        database=points[log] / "root" / "audit.db",
        accounts=accounts,
        intake={"settle_seconds": 0.05, "settle_unknown_seconds": 0.3} | intake,
    )


def cut_power(
    launcher: Launcher,
    home: Path,
    layout: str,
    rounds: int,
    *,
    file_system: str = "ext4",
    accounts: int = 1,
    fault: str = "",
    stop_when_caught: bool = False,
) -> Figures:
    """Cut the power so many times under load, recover and judge; `fault` names a mistake seeded into the daemon."""
    figures = Figures(
        f"power cuts, {file_system}, {layout}{', two accounts' if accounts > 1 else ''}"
        f"{f', seeded {fault}' if fault else ''}"
    )
    with disks(disks_of(layout), file_system) as all_disks:
        site = site_on(all_disks, home, layout, accounts)
        uploads = Uploads()
        for number in range(rounds):
            if number % ROUNDS_BEFORE_CLEARING == 0 or figures.violations:
                begin_anew(site)
                uploads = Uploads()
            before = len(uploads.sent)
            _one_cut(launcher, site, all_disks, uploads, fault)
            figures.rounds += 1
            figures.files += len(uploads.sent) - before
            _recover_and_judge(launcher, site, uploads, figures, number)
            if figures.violations and stop_when_caught:
                break
        launcher.end_all()
    return figures


def begin_anew(site: Site) -> None:
    """Empty the disks, durably."""
    for folder in {site.root, site.accepted.parent, site.database.parent}:
        shutil.rmtree(folder, ignore_errors=True)
    site.clear()
    os.sync()


def _one_cut(launcher: Launcher, site: Site, all_disks: Sequence[Disk], uploads: Uploads, fault: str) -> None:
    uploads.enough.clear()
    uploaders = [threading.Thread(target=uploads.run, args=(str(site.inbox),)) for _ in range(2)]
    filed = _filed(site)
    daemon = launcher.start(site, faults=[fault] if fault else [])
    for uploader in uploaders:
        uploader.start()
    if fault:  # on a busy machine nothing would have moved by the time of the cut, and no mistake could show
        wait_until(lambda: _filed(site) > filed or not daemon.running, "the daemon files what comes")
    time.sleep(random.uniform(0.2, 1.0))
    uploads.enough.set()
    if random.random() < 0.5:  # a careful uploader's syncs write the journal, and a missing sync of ours goes unseen
        time.sleep(random.uniform(0, 0.5))
    if random.random() < 0.7:
        cut_all_at_once([daemon], all_disks)
    else:
        _cut_one_after_another(daemon, all_disks)
    daemon.kill()
    for uploader in uploaders:
        uploader.join()
    bring_back(all_disks)


def _filed(site: Site) -> int:
    return len(site.events("accepted")) + len(site.events("quarantined"))


def bring_back(all_disks: Sequence[Disk]) -> None:
    """Let the power come back."""
    for disk in all_disks:
        disk.unmount()
        disk.mount()


def cut_all_at_once(processes: Sequence[Daemon], all_disks: Sequence[Disk]) -> None:
    """Daemon and commands are frozen for it, in system calls too, and never wake.

    The kernel answers an fsync that the cut comes upon with success though nothing was written (ext4 does so in one
    of seven such cuts, xfs in one of twelve). A real power failure lets nobody act on that answer; nor does this.
    """
    for process in processes:
        process.freeze(at_rest=False)
    for disk in random.sample(all_disks, len(all_disks)):
        disk.cut_power()


def _cut_one_after_another(daemon: Daemon, all_disks: Sequence[Disk]) -> None:
    """A daemon that lives on over dead disks, or has lost one of them first, must not make things worse."""
    for disk in random.sample(all_disks, len(all_disks)):
        daemon.freeze(at_rest=True)
        disk.cut_power()
        daemon.send(signal.SIGCONT)
        time.sleep(random.uniform(0, 0.2))


def _recover_and_judge(launcher: Launcher, site: Site, uploads: Uploads, figures: Figures, number: int) -> None:
    try:
        launcher.recover(site)
    except AssertionError as error:
        figures.note(f"cut {number}: {error}")
    figures.judge(f"cut {number}", site, uploads.sent)
