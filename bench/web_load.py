"""How fast pages load on a log of ten million decisions, alone and with fifty people looking.

    python -m bench.big_log fill BIG; python -m bench.big_log index BIG; python -m bench.big_log upgrade BIG
    python -m bench.web_load pages BIG                  # every page, one client; then 50 clients in two ways
    python -m bench.web_load ingest                     # a daemon with its pages: nobody looks, 50 look, in turns

The real server on loopback, over real connections; only its clock is set to a minute after the log's last decision, so
that `24 hours` has something in it. `html` is the time until the page itself was there, `whole` until style, scripts,
chart and small pictures were, too, with an empty cache and six connections, as a browser has. The log's images are no
files, so each small picture is looked up and answered with a drawing. `cpu` is the processor time of the server, which
others who work on the machine do not lengthen much. *Connected*: fifty clients each keep an overview
open, which asks for news every five seconds, and load another page every ten on average. *At once*: fifty clients ask
for the same page in the same moment; the one that is answered last counts as well.

`ingest` gives the images a second that the real daemon files, by turns without anybody and with fifty connected
clients, and the processor time its own process took for one.
"""

import argparse
import asyncio
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

from bench.browsing import Browser, Load
from bench.ingest import Ingest, leave_in_order, steady
from bench.pictures import Pictures

HOST = "127.0.0.1"
PAGES = (
    *("/", "/?since=7d", "/quarantine", "/quarantine?order=nearest", "/quarantine?class_name=lynx&order=nearest"),
    *(
        "/quarantine?reason=noisy",
        "/quarantine?camera=Canon+EOS+R6+%28scraper%29",
        "/quarantine/scores",
        "/quarantine/scores?score=blur_score&reason=blurry",
        "/quarantine/classes?class_name=ly",
        "/decisions/{last}",
        "/thresholds",
        "/check",
        "/api",
        "/review?which=matching&reason=noisy&since=1h",
    ),
    *("/api/decisions", "/api/findings?since=24h"),
)
_NEWS_SECONDS, _READING_SECONDS = 5.0, 10.0
_SCHEDULED = 2
"""Of the clocks that a process has, the one that the scheduler keeps."""


def serve(folder: Path, port: int) -> None:
    """Serve a log with the clock of its last decision."""
    from imageguard_daemon.config_file import load  # noqa: PLC0415 - only the server needs them
    from imageguard_daemon.web.server import listen  # noqa: PLC0415
    from imageguard_daemon.web.server import serve as answer  # noqa: PLC0415
    from imageguard_daemon.web.site import Site  # noqa: PLC0415

    now = _last(folder)[1] + timedelta(minutes=1)
    settings = load(None, folder)
    answer(Site(settings, folder / "audit.db", "bench", now=lambda: now), listen(HOST, port))


def _last(folder: Path) -> tuple[int, datetime]:
    with sqlite3.connect(f"file:{folder / 'audit.db'}?mode=ro", uri=True) as connection:
        number, moment = connection.execute("SELECT id, decided_at FROM decision_records ORDER BY id DESC").fetchone()
    return number, datetime.fromisoformat(moment)


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, int]]:
    """Run `serve` in a process of its own, and give its port and its number."""
    port = free_port()
    command = [sys.executable, "-m", "bench.web_load", "serve", str(folder), "--port", str(port)]
    process = subprocess.Popen(command)  # noqa: S603 - our own command
    try:
        wait_for(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait(30)


def processor_ms(process_id: int) -> float:
    """Give the processor time that a process has had, threads that have ended included, to the nanosecond."""
    clock = ~process_id << 3 | _SCHEDULED  # as clock_getcpuclockid(3) makes it
    return time.clock_gettime_ns(clock) / 1e6


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])


def wait_for(port: int, seconds: float = 60.0) -> None:
    """Wait until a server answers there."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}/healthz", timeout=5):
            return
        time.sleep(0.1)
    raise SystemExit("the server does not answer")


async def alone(port: int, process_id: int, pages: Sequence[str], repeat: int) -> None:
    """Print how long each page takes one client: the first time, then the median and the worst of some."""
    columns = "".join(f" {name:>8}" for name in ("first", "html", "whole", "worst", "requests", "cpu"))
    print(f"{'one client':52}{columns}")
    for path in pages:
        loads, taken = [], []
        for _ in range(repeat + 1):
            async with Browser.opened(HOST, port) as browser:
                before = processor_ms(process_id)
                loads.append(await browser.load(path))
                taken.append(processor_ms(process_id) - before)
        first, rest = loads[0], loads[1:]
        html, whole, worst = (
            1000 * value
            for value in (
                median(one.html_seconds for one in rest),
                median(one.whole_seconds for one in rest),
                max(one.whole_seconds for one in rest),
            )
        )
        print(
            f"{path[:52]:52} {1000 * first.whole_seconds:5.0f} ms {html:5.0f} ms {whole:5.0f} ms {worst:5.0f} ms"
            f" {rest[0].requests:8} {median(taken[1:]):5.0f} ms",
            flush=True,
        )


async def connected(port: int, pages: Sequence[str], clients: int, seconds: float) -> list[Load]:
    """Let so many people look for a while, and give the pages they loaded."""
    until = time.monotonic() + seconds
    loads: list[Load] = []

    async def person(number: int) -> None:
        chance = random.Random(number)
        async with Browser.opened(HOST, port) as watching, Browser.opened(HOST, port) as reading:
            await asyncio.sleep(chance.uniform(0, _NEWS_SECONDS))
            next_page = time.monotonic() + chance.uniform(0, _READING_SECONDS)
            while time.monotonic() < until:
                await watching.get("/live?since=24h")
                while next_page < time.monotonic() + _NEWS_SECONDS:
                    await asyncio.sleep(max(0.0, next_page - time.monotonic()))
                    loads.append(await reading.load(chance.choice(pages)))
                    next_page += chance.uniform(0, 2 * _READING_SECONDS)
                await asyncio.sleep(_NEWS_SECONDS)

    await asyncio.gather(*(person(number) for number in range(clients)))
    return loads


async def at_once(port: int, path: str, clients: int) -> list[float]:
    """Let so many clients ask for the same page in the same moment, over connections that are open already."""
    browsers = [Browser.opened(HOST, port) for _ in range(clients)]
    opened = [await one.__aenter__() for one in browsers]
    try:
        for one in opened:
            await one.get("/healthz")
        return list(await asyncio.gather(*(one.get(path) for one in opened)))
    finally:
        for one in browsers:
            await one.__aexit__(None, None, None)


async def pages(folder: Path, clients: int, seconds: float) -> None:
    """Print all that the first of the two commands promises."""
    paths = [path.format(last=_last(folder)[0]) for path in PAGES]
    with server(folder) as (port, process_id):
        await alone(port, process_id, paths, 9)
        loads = await connected(port, paths, clients, seconds)
        html, whole = ([1000 * value for value in values] for values in _columns(loads))
        print(f"\n{clients} connected clients, {len(loads)} pages in {seconds:.0f} s")
        print(f"  html:  {_spread(html)}\n  whole: {_spread(whole)}")
        print(f"\n{clients} clients at once, the page itself")
        for path in paths:
            before = processor_ms(process_id)
            taken = [1000 * one for _ in range(3) for one in await at_once(port, path, clients)]
            cpu = (processor_ms(process_id) - before) / len(taken)
            print(f"  {path[:52]:52} {_spread(taken)}, cpu {cpu:4.1f} ms each", flush=True)


def _columns(loads: Sequence[Load]) -> tuple[list[float], list[float]]:
    return [one.html_seconds for one in loads], [one.whole_seconds for one in loads]


def _spread(values: Sequence[float]) -> str:
    ordered = sorted(values)
    most = ordered[int(0.95 * len(ordered))]
    return f"median {median(ordered):5.0f} ms, 95 % {most:5.0f} ms, last {ordered[-1]:5.0f} ms"


async def ingest(images: int, runs: int, clients: int) -> None:
    """Print the daemon's pace without and with people who look, in turns."""
    figures: dict[str, list[tuple[float, float]]] = {"nobody looks": [], f"{clients} clients look": []}
    supply = Pictures.made("0.2", 1)
    for _ in range(runs):
        for name, taken in figures.items():
            taken.append(await _pace(supply, images, 0 if name == "nobody looks" else clients))
    for name, taken in figures.items():
        rates, cpu = ([one[at] for one in taken] for at in (0, 1))
        print(
            f"{name:20} {median(rates):6.1f} images/s ({min(rates):.1f} to {max(rates):.1f}), "
            f"{1000 * median(cpu):.2f} ms of the daemon's own processor time for one"
        )
    first, second = figures.values()
    ratios = [looked[0] / alone_[0] for alone_, looked in zip(first, second, strict=True)]
    print(f"ratio of a turn: median {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


async def _pace(supply: Pictures, images: int, clients: int) -> tuple[float, float]:
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, Ingest(Path(folder), web={"enabled": True, "port": port}) as daemon:
        daemon.start()
        wait_for(port)
        looking = asyncio.create_task(connected(port, ("/", "/quarantine", "/thresholds"), clients, 3600.0))
        await asyncio.sleep(_NEWS_SECONDS)
        await asyncio.to_thread(supply.fill, daemon.inbox, range(images))
        looks = await asyncio.to_thread(daemon.looks_until, images)
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
    first, last = steady(looks)
    filed = last.filed - first.filed
    return filed / (last.at - first.at), (last.parent_cpu - first.parent_cpu) / filed


def main() -> None:
    """Do one of the two, or serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("pages", "ingest", "serve"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    leave_in_order()
    if asked.step == "serve":
        serve(asked.folder, asked.port)
    elif asked.step == "pages":
        asyncio.run(pages(asked.folder, asked.clients, asked.seconds))
    else:
        asyncio.run(ingest(asked.images, asked.runs, asked.clients))


if __name__ == "__main__":
    main()
