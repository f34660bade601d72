"""What an uploader can do to others: each attack goes on for minutes while good files arrive beside it.

Daemon, attacker and the others have three accounts, and every daemon serves two inboxes: the one that is attacked and
another. A daemon that nobody attacks runs beside the attacked ones and gets the same files at the same moments; a good
file's latency, from its arrival until it lies in accepted/, is held against those of that daemon, so that the machine's
other work counts on both sides. In the end the daemon is started anew while its attack goes on.
"""

import math
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.file_index import FiledFiles
from imageguard_daemon.audit.opening import open_log_for_checking
from imageguard_daemon.verification.verifier import Verification, Verifier
from tests.faults.accounts import OTHER_UPLOADER_ID, UPLOADER_ID, uploading_into
from tests.faults.attackers import ATTACKS, ROOM, Attack
from tests.faults.figures import Figures
from tests.faults.launching import Daemon, Launcher
from tests.faults.site import Site
from tests.faults.uploading import put, unique

GOOD_EVERY_SECONDS = 1.5
LOOK_SECONDS = 0.02
CALM_SECONDS = 30.0
MOST_TIMES_THE_UNATTACKED = 1.5
LAST_SECONDS = 60.0
"""So long the last files, and the first after a new start, are waited for."""
_NOBODY = "nobody"
_OF_OTHERS = "good"


@dataclass
class Beside:
    """One daemon, who attacks it, and when the good files of others came and were filed."""

    name: str
    site: Site
    attack: Attack | None
    daemon: Daemon
    sent_at: dict[Path, float] = field(default_factory=dict)
    latencies: dict[Path, float] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)
    attacker: threading.Thread | None = None

    def send(self, number: int) -> None:
        """Let a good file of others arrive in each inbox where they count."""
        for inbox in self.attack.others if self.attack else (0, 1):
            name = f"{_OF_OTHERS}{inbox}/{number}.jpg"
            for _ in range(20):  # the folder may be removed as empty just before the file is made
                with suppress(FileNotFoundError):
                    put(self.site.inboxes[inbox], name, unique("good"), OTHER_UPLOADER_ID)
                    break
            self.sent_at[self.site.accepted / name] = time.monotonic()

    def look(self) -> None:
        """Note which of the files have been filed."""
        for path in self.sent_at.keys() - self.latencies.keys():
            if path.exists():
                self.latencies[path] = time.monotonic() - self.sent_at[path]

    def begin(self) -> None:
        """Let the attack begin."""
        if self.attack is not None:
            self.attacker = threading.Thread(target=self._attack, args=(self.attack,))
            self.attacker.start()

    def end(self) -> None:
        """Let it end."""
        self.over.set()
        if self.attacker is not None:
            self.attacker.join()

    def between(self, begin: float, end: float, inbox: int) -> list[float]:
        """Give the latencies, in seconds, of what came to an inbox between two moments."""
        folder = f"{_OF_OTHERS}{inbox}"
        all_of_them = ((path, took) for path, took in self.latencies.items() if path.parent.name == folder)
        return [took for path, took in all_of_them if begin <= self.sent_at[path] < end]

    def _attack(self, attack: Attack) -> None:
        inbox = Path(self.site.inboxes[0])
        with uploading_into(inbox, UPLOADER_ID):
            (inbox / "evil").mkdir(exist_ok=True)
            attack.run(inbox / "evil", self.over)


class Others:
    """Sends good files to all daemons alike, and looks when they are filed."""

    def __init__(self, all_of_them: list[Beside]) -> None:
        self._all = all_of_them
        self._sent = 0

    def go_on(self, seconds: float) -> None:
        """Send for so long."""
        end = time.monotonic() + seconds
        next_at = time.monotonic()
        while (now := time.monotonic()) < end:
            if now >= next_at:
                next_at = now + GOOD_EVERY_SECONDS
                self._sent += 1
                for one in self._all:
                    one.send(self._sent)
            self._look()

    def wait(self, seconds: float) -> None:
        """Send nothing more, and wait until all is filed or the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and any(one.sent_at.keys() - one.latencies.keys() for one in self._all):
            self._look()

    def _look(self) -> None:
        for one in self._all:
            one.look()
        time.sleep(LOOK_SECONDS)


def attack_side_by_side(launcher: Launcher, home: Path, names: Iterable[str], seconds: float) -> list[Figures]:
    """Attack as many daemons at once as there are names, each in its way, for so long; give the figures of each."""
    all_of_them = [_begun(launcher, home, name) for name in (_NOBODY, *names)]
    figures = {one.name: Figures(f"attack: {one.name}") for one in all_of_them[1:]}
    others = Others(all_of_them)
    began_at = time.monotonic()
    others.go_on(min(CALM_SECONDS, seconds))
    attacked_at = time.monotonic()
    for one in all_of_them:
        one.begin()
    try:
        others.go_on(seconds)
        others.wait(LAST_SECONDS)
        for one in all_of_them[1:]:
            _judge(figures[one.name], one, all_of_them[0], began_at, attacked_at)
        for one in all_of_them[1:]:
            _start_anew(launcher, one, figures[one.name])
        Others(all_of_them[1:]).go_on(GOOD_EVERY_SECONDS)
        others.wait(LAST_SECONDS)
    finally:
        for one in all_of_them:
            one.end()
    for one in all_of_them[1:]:
        _judge_log(figures[one.name], one)
    launcher.end_all()
    return list(figures.values())


def _begun(launcher: Launcher, home: Path, name: str) -> Beside:
    intake = {"settle_seconds": 2.0, "settle_unknown_seconds": 60.0, "rescan_seconds": 60.0, "backlog_limit": ROOM}
    scoring = {"workers": 2}
    site = Site(home / name.replace(" ", "-"), inboxes=2, accounts=2, intake=intake, scoring=scoring)
    return Beside(name, site, ATTACKS.get(name), launcher.start_and_wait(site, faults=["no_more_right_to_read"]))


def _judge(figures: Figures, one: Beside, unattacked: Beside, began_at: float, attacked_at: float) -> None:
    figures.rounds, figures.files = 1, len(one.sent_at)
    late = len(one.sent_at) - len(one.latencies)
    if late:
        figures.note(f"{late} files of others were not filed within {LAST_SECONDS:.0f} s")
    for inbox in one.attack.others if one.attack else ():
        told = []
        for share in (0.5, 0.95):
            took = [_percentile(which.between(attacked_at, math.inf, inbox), share) for which in (one, unattacked)]
            calm = _percentile(one.between(began_at, attacked_at, inbox), share)
            told.append(f"p{100 * share:.0f} {took[0]:.2f} s, {took[0] / took[1]:.2f} times ({calm:.2f} s before)")
            if took[0] > MOST_TIMES_THE_UNATTACKED * took[1]:
                figures.note(f"others had to wait too long: {told[-1]}")
        figures.title += f"; {'another inbox' if inbox else 'same inbox'}: {', '.join(told)}"
    if not one.daemon.running:
        figures.note(f"the daemon has ended: {one.site.last_words()}")
    paused = defaultdict(int)
    for event in one.site.events("source paused"):
        paused[f"{event['source']}: {event['why']}"] += 1
    for why, times in paused.items():
        figures.note(f"paused {times} times: {why}")


def _percentile(latencies: list[float], share: float) -> float:
    if len(latencies) < 2:
        return float("inf")
    return statistics.quantiles(latencies, n=100, method="inclusive")[round(share * 100) - 1]


def _start_anew(launcher: Launcher, one: Beside, figures: Figures) -> None:
    """Stop and start a daemon while the attack goes on; what its uploaders left may not keep it from that."""
    code = one.daemon.stop()
    if code not in {0, 75}:
        figures.note(f"stopped with {code}: {one.site.last_words()}")
    try:
        one.daemon = launcher.start_and_wait(one.site, faults=["no_more_right_to_read"])
    except AssertionError as error:
        figures.note(f"does not start beside the attack: {error}")


def _judge_log(figures: Figures, one: Beside) -> None:
    """Hold the log against the folders, where the files of others are concerned."""
    missing = [path.name for path in one.sent_at if path not in one.latencies]
    if missing:
        figures.note(f"not filed after a new start: {missing[:5]}")
    one.daemon.stop()
    with open_log_for_checking(one.site.database) as log:
        task = Verification([str(one.site.accepted), str(one.site.quarantine)], daemon_may_run=False)
        for wrong in Verifier(ChainCheck(log), FiledFiles(log), task).discrepancies():
            if "/evil" not in str(wrong.path):
                figures.note(f"{wrong.kind} {wrong.path} {wrong.detail}")
