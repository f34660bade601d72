"""What the daemon makes of inboxes that are too large, too deep or too slow: bad input must not be slow input.

    python -m bench.backlog million             # a million files wait in the inbox when it starts
    python -m bench.backlog deep                # 10 000 folders, most of them in chains 400 deep
    python -m bench.backlog large               # one image of 100 megapixels among small ones
    python -m bench.backlog slow                # a disk whose every sync takes 10 ms longer (strace, root)
    python -m bench.backlog growth                    # small and large logs in turns: cost of an image, memory
    python -m bench.backlog soak --files 200000 # so many images through one daemon: cost and memory of each tenth

Small images are drawn from the seed, a million in some minutes. Everything happens in a temporary folder below --home,
which needs 5 GB for `million` and 6 GB for `growth`.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench import pictures
from bench.full_log import fill_log
from bench.ingest import COMMAND, OBSERVED, Ingest, Look, leave_in_order
from bench.pictures import Pictures

FEW = 5_000
FOLDERS = 10_000
DEPTH = 400
SYNC_DELAY_MS = 10
SOAK_PARTS = 10
Table = list[tuple[str, str]]


def million(home: Path, chosen: argparse.Namespace) -> Table:
    """Start on a huge backlog; look at the first decision, then at memory and at what intake takes."""
    supply = Pictures.made(chosen.size, chosen.seed)
    with _ingest(home, OBSERVED, intake={}) as ingest:
        supply.fill(ingest.inbox, range(chosen.files))
        begin = time.monotonic()
        ingest.start(wait=False)
        first = _wait_for_first(ingest)
        looks = ingest.looks_until(chosen.files, chosen.seconds)
        time.sleep(1.5)
        stages = ingest.stages()
    spent = looks[-1].parent_cpu + looks[-1].workers_cpu
    intake = stages["intake"] + stages["watchdog"]
    return [
        ("files in the inbox", f"{chosen.files}"),
        ("start to first decision", f"{first - begin:.1f} s, settle_seconds 2 included"),
        ("then", _pace(looks)),
        ("memory of the parent", _memory(looks)),
        ("intake, of all processor time", f"{100 * intake / spent:.1f} %"),
    ]


def deep(home: Path, chosen: argparse.Namespace) -> Table:
    """File the same number of images from few folders and from many deep ones."""
    supply = Pictures.made(chosen.size, chosen.seed)
    table: Table = []
    for kind in ("flat", "deep"):
        with _ingest(home) as ingest:
            if kind == "flat":
                supply.fill(ingest.inbox, range(FOLDERS))
            else:
                _fill_deep(ingest.inbox, supply)
            ingest.start()
            table += [(kind, _pace(ingest.looks_until(FOLDERS)))]
    return table


def large(home: Path, chosen: argparse.Namespace) -> Table:
    """File small images alone, then with a large one among them."""
    supply, big = Pictures.made(chosen.size, chosen.seed), Pictures.made("100", chosen.seed, scenes=1)
    table: Table = []
    count = min(chosen.files, FEW)
    for kind in ("alone", "with one of 100 MP"):
        with _ingest(home) as ingest:
            supply.fill(ingest.inbox, range(count))
            if kind != "alone":
                (ingest.inbox / "class0000" / "0000100.big.jpg").write_bytes(big[0])
            ingest.start()
            looks = ingest.looks_until(count + (kind != "alone"))
            table += [(kind, f"{_pace(looks)}; {_memory(looks)}")]
    return table


def slow(home: Path, chosen: argparse.Namespace) -> Table:
    """Let every sync of the daemon's take longer."""
    supply = Pictures.made(chosen.size, chosen.seed)
    table: Table = []
    count = min(chosen.files, FEW)
    for kind, delay in (("as it is", 0), (f"{SYNC_DELAY_MS} ms more for each sync", SYNC_DELAY_MS)):
        with _ingest(home) as ingest:
            ingest.start()
            with _delayed(ingest.pid, delay):
                supply.fill(ingest.inbox, range(count))
                table += [(kind, _pace(ingest.looks_until(count)))]
    return table


def growth(home: Path, chosen: argparse.Namespace) -> Table:
    """File the same images beside a small and a large log, in turns."""
    supply = Pictures.made(chosen.size, chosen.seed)
    count = min(chosen.files, FEW)
    table: Table = []
    paces: dict[str, list[float]] = {}
    full = home / "full.db"
    begin = time.monotonic()
    images = fill_log(full, home / "root", chosen.records)
    size = f"{full.stat().st_size / 1e9:.1f} GB"
    table += [("records made", f"{chosen.records}, of {images} images, {size}, in {time.monotonic() - begin:.0f} s")]
    for run in range(chosen.runs):
        for kind in ("empty log", f"{chosen.records} records"):
            root = home / "root"
            with _ingest(root, named=True) as ingest:
                if kind != "empty log":
                    full.rename(root / "audit.db")
                supply.fill(ingest.inbox, range(run * count, (run + 1) * count))
                begin = time.monotonic()
                ingest.start()
                started = time.monotonic() - begin
                looks = ingest.looks_until(count)
                ingest.stop()
                if kind != "empty log":
                    (root / "audit.db").rename(full)
            paces.setdefault(kind, []).append(_milliseconds(looks))
            table += [(kind, f"started in {started:.1f} s; {_pace(looks)}; {_memory(looks)}")]
    small, grown = (median(values) for values in paces.values())
    return [*table, ("large against small log", f"{grown / small:.2f} times the parent's processor time for an image")]


def soak(home: Path, chosen: argparse.Namespace) -> Table:
    """Feed one daemon in equal parts, each when the one before has been filed."""
    supply = Pictures.made(chosen.size, chosen.seed)
    table: Table = []
    part = chosen.files // SOAK_PARTS
    with _ingest(home, intake={"settle_seconds": 0.2, "rescan_seconds": 5.0}) as ingest:
        ingest.start()
        for number in range(SOAK_PARTS):
            supply.fill(ingest.inbox, range(number * part, (number + 1) * part))
            looks = ingest.looks_until((number + 1) * part)
            table += [(f"images {number * part} to {(number + 1) * part}", f"{_pace(looks)}; {_memory(looks)}")]
            print(*table[-1], flush=True)
    return table


def _pace(looks: Sequence[Look]) -> str:
    first, last = looks[0], looks[-1]
    rate = (last.filed - first.filed) / (last.at - first.at)
    return f"{last.filed - first.filed} images, {rate:.0f}/s, parent {_milliseconds(looks):.3f} ms of processor each"


def _milliseconds(looks: Sequence[Look]) -> float:
    return 1000 * (looks[-1].parent_cpu - looks[0].parent_cpu) / max(1, looks[-1].filed - looks[0].filed)


def _memory(looks: Sequence[Look]) -> str:
    """Say what the parent had when it was warm, at the end, and at most."""
    sizes = [look.parent_megabytes for look in looks]
    return (
        f"{sizes[len(sizes) // 4]:.0f} MB after a quarter, {sizes[-1]:.0f} MB at the end, {max(sizes):.0f} MB at most"
    )


def _wait_for_first(ingest: Ingest) -> float:
    while not ingest.filed():
        time.sleep(0.01)
    return time.monotonic()


def _fill_deep(inbox: Path, supply: Pictures) -> None:
    """Make chains of folders with an image in each."""
    for number in range(FOLDERS):
        if number % DEPTH == 0:
            folder = inbox / f"chain{number // DEPTH}"
        folder /= "sub"
        folder.mkdir(parents=True)
        (folder / f"{number}.jpg").write_bytes(supply[number])


@contextmanager
def _delayed(pid: int, milliseconds: int) -> Iterator[None]:
    """Let each sync of a process that runs take longer; its workers run already, and are left alone."""
    if not milliseconds:
        yield
        return
    delay = f"inject=fsync,fdatasync:delay_enter={1000 * milliseconds}"
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", delay, "-p", str(pid)]
    tracer = subprocess.Popen(command)  # noqa: S603 - ours
    try:
        time.sleep(1.0)  # until it has attached
        yield
    finally:
        tracer.terminate()
        tracer.wait()


@contextmanager
def _ingest(
    home: Path, command: Sequence[str] = COMMAND, *, named: bool = False, **settings: object
) -> Iterator[Ingest]:
    root = home if named else Path(tempfile.mkdtemp(dir=home))
    try:
        with Ingest(root, command, **settings) as ingest:
            yield ingest
    finally:
        shutil.rmtree(root)


MEASURED: dict[str, Callable[[Path, argparse.Namespace], Table]] = {
    "million": million,
    "deep": deep,
    "large": large,
    "slow": slow,
    "growth": growth,
    "soak": soak,
}


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.backlog", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=MEASURED)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--records", type=int, default=10_000_000, help="in the large log of `growth`")
    parser.add_argument("--size", choices=pictures.SIZES, default="tiny", help="megapixels of the images")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long `million` looks on")
    parser.add_argument("--runs", type=int, default=3, help="of `growth`")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--home", type=Path, help="where to work; by default the system's folder for temporary files")
    parser.add_argument("--json", type=Path, help="write the table here, too")
    chosen = parser.parse_args()
    leave_in_order()
    with tempfile.TemporaryDirectory(dir=chosen.home) as home:
        table = MEASURED[chosen.what](Path(home), chosen)
    for name, value in table:
        print(f"  {name:<34} {value}")
    if chosen.json:
        chosen.json.write_text(json.dumps(table, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
