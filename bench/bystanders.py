"""`python -m bench.bystanders`: what good files feel while others crash, hang and bomb the workers beside them.

Good files arrive at a pace that one worker can keep: beside each kind of attack, and just before it alone. A file's
latency is the time from its arrival until it lies in accepted/, the settle time included. The daemon's own memory,
descriptors, threads and children are looked at before and after. The decoders are `tests.helpers.poisoned`: a file can
take them over from inside.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests.e2e.daemon_process import COMMAND, Ingest, wait_until
from tests.helpers import bombs
from tests.helpers.images import encoded, photo

POISONED = [sys.executable, "-m", "tests.helpers.poisoned"]
TIME_LIMIT_SECONDS = 2.0
SETTLE_SECONDS = 0.3
LOOK_SECONDS = 0.005
GOOD_A_SECOND = 2.5
MOST_TIMES_THE_CALM = 2.0
MOST_GROWTH_MEGABYTES = 8.0
HARMLESS = encoded(Image.fromarray(photo(640, 480)), "JPEG", quality=95)

Attack = Callable[[], Iterator[tuple[float, bytes]]]
"""Gives files to send, and how many seconds to wait after each."""


def poisons(what: str, every_seconds: float) -> Attack:
    """Send a file that does `what` to its decoder, again and again."""

    def files() -> Iterator[tuple[float, bytes]]:
        while True:
            yield every_seconds, HARMLESS + f"poison:{what}".encode()

    return files


def header_bombs() -> Iterator[tuple[float, bytes]]:
    """Send bombs of all formats in turn."""
    while True:
        for data in bombs.bombs().values():
            yield 0.1, data


# Each crash is two (the second attempt), a hung file holds a worker for two time limits: one at a time of two workers.
ATTACKS: dict[str, Attack] = {
    "crash": poisons("crash", 2.0),
    "hang": poisons("hang", 2 * TIME_LIMIT_SECONDS + 1.5),
    "spin": poisons("spin", 2 * TIME_LIMIT_SECONDS + 3.5),
    "leave": poisons("leave", 2.0),
    "rave": poisons("rave", 2.0),
    "bombs": header_bombs,
}


@dataclass
class Watch:
    """When each good file came to lie in accepted/."""

    folder: Path
    seen: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def look(self) -> None:
        """Look until told that it is over."""
        while not self._over.wait(LOOK_SECONDS):
            if self.folder.is_dir():
                for name in set(os.listdir(self.folder)) - self.seen.keys():
                    self.seen[name] = time.monotonic()

    def end(self) -> None:
        """Look no more."""
        self._over.set()


@dataclass(frozen=True)
class Daemon:
    """The state of a daemon's own process."""

    megabytes: float
    descriptors: int
    threads: int
    zombies: int

    @classmethod
    def of(cls, pid: int) -> "Daemon":
        """Look at a process in /proc."""
        proc = Path(f"/proc/{pid}")
        facts = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line)
        children = [child for task in proc.glob("task/*/children") for child in task.read_text().split()]
        states = [_state(int(child)) for child in children]
        resident = int(facts["VmRSS"].split()[0]) / 1024
        return cls(resident, len(os.listdir(proc / "fd")), int(facts["Threads"]), states.count("Z"))


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


@dataclass(frozen=True)
class Phase:
    """What came of one attack."""

    attack: str
    sent: int
    latencies: list[float]
    before: Daemon
    after: Daemon

    def percentile(self, share: float) -> float:
        """Give the latency that this share of the good files did not exceed, in seconds."""
        return statistics.quantiles(self.latencies, n=1000, method="inclusive")[round(share * 1000) - 1]


def run_phase(one: Ingest, name: str, attack: Attack | None, good: int) -> Phase:
    """Send the good files at their pace and the attacker's at his."""
    pid = one.process.pid if one.process else 0
    before, watch, sent_at = Daemon.of(pid), Watch(one.accepted / name), {}
    watcher = threading.Thread(target=watch.look, daemon=True)
    watcher.start()
    evil, next_evil_at, sent = attack() if attack else None, time.monotonic(), 0
    draw = random.Random(name)
    for number in range(good):
        while evil and next_evil_at <= time.monotonic():
            wait, data = next(evil)
            one.put(f"evil-{name}/{sent}.jpg", data)
            sent, next_evil_at = sent + 1, max(next_evil_at, time.monotonic() - 0.2) + wait
        file = one.put(f"{name}/{number:05}.jpg", HARMLESS + number.to_bytes(4, "big") + name.encode())
        sent_at[file.name] = time.monotonic()
        time.sleep(draw.uniform(0.5, 1.5) / GOOD_A_SECOND)
    wait_until(lambda: len(watch.seen) == good, f"the good files beside {name}", 120)
    watch.end()
    wait_until(lambda: not any(one.inbox.rglob("*.jpg")), f"the files of {name}", 120)
    time.sleep(1)  # until the daemon has reaped what ended last
    return Phase(name, sent, [watch.seen[n] - at for n, at in sent_at.items()], before, Daemon.of(pid))


def run_flood(one: Ingest, name: str, count: int) -> Phase:
    """Send so many evil files at once, and wait until all have been filed."""
    pid = one.process.pid if one.process else 0
    before, filed = Daemon.of(pid), len(one.decisions())
    for number, (_, data) in zip(range(count), ATTACKS[name](), strict=False):
        one.put(f"flood-{name}-{filed}/{number}.jpg", data)
    wait_until(lambda: len(one.decisions()) >= filed + count, f"{count} x {name}", 60 + count * TIME_LIMIT_SECONDS)
    time.sleep(1)
    return Phase(name, count, [], before, Daemon.of(pid))


def run(good: int, attacks: list[str], floods: list[tuple[str, int]]) -> Iterator[Phase]:
    """Run the attacks one after the other on one daemon, then the floods."""
    scoring = {"workers": 2, "timeout_seconds": TIME_LIMIT_SECONDS}
    with tempfile.TemporaryDirectory(prefix="imageguard-bystanders-") as folder:
        one = Ingest(Path(folder), scoring=scoring, intake={"settle_seconds": SETTLE_SECONDS})
        COMMAND[:] = POISONED
        one.start()
        try:
            run_phase(one, "warm-up", None, 20)
            for name in attacks:
                yield run_phase(one, f"before-{name}", None, good)
                yield run_phase(one, name, ATTACKS[name], good)
            for name, count in floods:
                yield run_flood(one, name, count)
            if one.stop() != 0:
                raise SystemExit("the daemon did not stop well")
            one.check_books()
        finally:
            one.close()


_NOTHING = Daemon(0, 0, 0, 0)
_NOBODY = Phase("nobody", 0, [], _NOTHING, _NOTHING)


def _line(phase: Phase, calm: Phase) -> str:
    before, after = phase.before, phase.after
    if phase.latencies:
        p50, p99 = (round(1000 * phase.percentile(share)) for share in (0.5, 0.99))
        calm_p50, calm_p99 = (round(1000 * calm.percentile(share)) for share in (0.5, 0.99))
        latency = f"{calm_p50:7} {p50:7} {calm_p99:8} {p99:8} {p99 / calm_p99:7.2f}"
    else:
        latency = f"{'all at once':>41}"
    return (
        f"{phase.attack:<7} {phase.sent:5} {latency} {before.megabytes:9.1f} {after.megabytes:7.1f}"
        f" {before.descriptors:7} {after.descriptors:3} {before.threads:7} {after.threads:3} {after.zombies:8}"
    )


def _harmed(phase: Phase, calm: Phase) -> bool:
    before, after = phase.before, phase.after
    grown = after.megabytes - before.megabytes > MOST_GROWTH_MEGABYTES
    if grown or after.descriptors > before.descriptors or after.threads > before.threads or after.zombies:
        return True
    return bool(phase.latencies) and phase.percentile(0.99) >= MOST_TIMES_THE_CALM * calm.percentile(0.99)


def main() -> int:
    """Run, print, and give 1 when others were harmed or the daemon grew."""
    parser = argparse.ArgumentParser(prog="python -m bench.bystanders", description=__doc__)
    parser.add_argument("--good", type=int, default=150, help="good files beside each attack")
    parser.add_argument("--attacks", nargs="*", choices=[*ATTACKS], default=[*ATTACKS])
    parser.add_argument("--bombs", type=int, default=2000, help="bombs sent at once at the end")
    parser.add_argument("--crashes", type=int, default=250, help="crashing files sent at once at the end; each twice")
    chosen = parser.parse_args()
    wrong, calm = False, _NOBODY
    print("               p50 ms, and     p99 ms, and             daemon's")
    print("beside   sent  before  beside  before   beside   times   MB before, after  descriptors    threads  zombies")
    # Twice: the queue takes its memory with the first flood, and a leak would go on with the second.
    floods = [
        (name, count) for name, count in (("bombs", chosen.bombs), ("crash", chosen.crashes)) if count for _ in "12"
    ]
    for phase in run(chosen.good, chosen.attacks, floods):
        if phase.attack.startswith("before-"):
            calm = phase
            continue
        print(_line(phase, calm), flush=True)
        wrong = _harmed(phase, calm) or wrong
    return int(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
