"""What is tried on each mount: the real daemon here, uploaders here and on the server, a server that goes and comes."""

import copy
import ctypes
import errno
import fcntl
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from tests.faults import kills
from tests.faults.figures import Figures
from tests.faults.launching import Launcher
from tests.faults.oracle import Offered, files_below, sha256_of
from tests.faults.site import Site, patience, wait_until
from tests.faults.uploading import offered, put, unique
from tests.world.network.servers import Share, most

Trial = Callable[[Launcher, Path, Share, Figures], None]
PAUSE_SECONDS = 6.0
"""How long a slow uploader pauses: far more than the settle time, less than the one for unknown writers."""
UNKNOWN_SECONDS = 20.0
KILLED_WITHIN_SECONDS = (0.5, 6.0)
GRANTED_SECONDS = 15.0
LEASE_BREAK_SECONDS = 45.0
"""What a rename would wait for a lease of one's own."""
RENAME_NOREPLACE = 1


def all_of(kill_rounds: int) -> dict[str, Trial]:
    """Give the trials by their names."""
    return {
        "what the client answers": answers,
        "files from the server and from here": arrivals,
        "the same, filed on a disk of this machine": arrivals_copied,
        "run --once beside an upload": once,
        "a filed image that grows on the server": growth,
        "the server is gone for a while": absence,
        "a stop signal while the server is gone": stop_while_gone,
        "further daemons on the same inbox": strangers,
        "log and root on the mount": places,
        "SIGKILL at random under load": lambda *known: kills_under_load(*known, rounds=kill_rounds),
    }


def _site(home: Path, share: Share, *, copied: bool = False, **settings) -> Site:
    """Make a root on this machine's disk with its inbox on the mount, and its destinations there or here."""
    site = Site(home, root=share.here, destinations=home if copied else None, database=home / "root" / "audit.db")
    site.configure(root=str(home / "root"), **settings)
    return site


def _there(site: Site, share: Share) -> Path:
    return share.there / site.inbox.relative_to(share.here)


def answers(_launcher: Launcher, _home: Path, share: Share, figures: Figures) -> None:
    """Tell how this client answers what the daemon asks of a file system."""
    figures.rounds = 1
    number, ends_at = 0, time.monotonic() + GRANTED_SECONDS
    while not share.held() and time.monotonic() < ends_at:  # a server that has just started grants nothing
        path = share.here / f"a{(number := number + 1)}"
        (share.there / path.name).write_bytes(b"x")  # what this client has written itself brings no delegation
        with path.open("rb") as file:
            file.read()
            held = share.held()
    with path.open("rb") as file:
        figures.counts["delegations or leases held"] = max(held, share.held())
        figures.counts[f"lease: {_word(lambda: fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK))}"] = 1
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    folder = os.open(share.here, os.O_RDONLY)
    figures.counts[f"lock of a folder: {_word(lambda: fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB))}"] = 1
    figures.counts[f"fsync of a folder: {_word(lambda: os.fsync(folder))}"] = 1
    os.close(folder)
    figures.counts[f"hard link: {_word(lambda: os.link(path, share.here / 'b'))}"] = 1
    figures.counts[f"rename without replacing: {_word(lambda: _rename(path, share.here / 'c'))}"] = 1


def _rename(old: Path, new: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), RENAME_NOREPLACE) != 0:
        raise OSError(ctypes.get_errno(), "")


def _word(call: Callable[[], object]) -> str:
    try:
        call()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "granted"


def arrivals(launcher: Launcher, home: Path, share: Share, figures: Figures, *, copied: bool = False) -> None:
    """Let files arrive in every way from both sides: each is judged when it is whole, and filed and recorded once."""
    waits = {"settle_seconds": 1.0, "settle_unknown_seconds": UNKNOWN_SECONDS}
    site = _site(home, share, copied=copied, intake=waits)
    daemon = launcher.start_and_wait(site)
    said = _status(launcher, site)
    _hold(figures, f"not known: files on {share.kind.name}" in said, f"`status` does not say who is not known: {said}")
    whole = [_copy(inbox / side / "copied.jpg", unique("blurry")) for side, inbox in _sides(site, share)]
    for name in ("moved-1.jpg", "moved-2.jpg"):
        whole += [put(str(inbox), f"{side}/{name}", unique("good")) for side, inbox in _sides(site, share)]
    held = most(share.held, lambda: len(site.decisions()) >= len(whole), "whole files are filed")
    figures.counts["delegations or leases at most"] = held
    slow = _upload_slowly([inbox / side / "slow.jpg" for side, inbox in _sides(site, share)])
    late = [put(str(inbox), f"{side}/moved-1.jpg", unique("tiny")) for side, inbox in _sides(site, share)]
    late += [_copy(inbox / side / "broken.jpg", b"no image" + os.urandom(8)) for side, inbox in _sides(site, share)]
    everything = whole + slow + late
    wait_until(lambda: len(site.decisions()) >= len(everything), "all files are filed")
    _hold(figures, daemon.stop() == 0, "the daemon did not stop in order")
    launcher.recover(site)
    figures.rounds, figures.files = 1, len(everything)
    figures.judge("arrivals", site, everything)
    verdicts = {name: verdict for name, verdict, _ in site.decisions()}
    for side, _ in _sides(site, share):
        _hold(figures, verdicts.get(f"{side}/slow.jpg") == "accepted", f"{side}/slow.jpg: half of it was judged")
    told = [event["of"] for event in site.events("who writes to a file is not known here")]
    _hold(figures, told[:1] == [f"files on {share.kind.name}"], f"told of unknown writers: {told}")
    longest = _longest_move(site)
    figures.counts["seconds for the longest move"] = round(longest)
    _hold(figures, longest < LEASE_BREAK_SECONDS, "a move seems to have waited for a lease of one's own")
    _hold(figures, "opened for writing" not in site.log_file.read_text(), "a move met a writer that was not there")
    _verify(launcher, site, figures)


def arrivals_copied(launcher: Launcher, home: Path, share: Share, figures: Figures) -> None:
    """Let files arrive in every way, and be copied to this machine."""
    arrivals(launcher, home, share, figures, copied=True)


def _longest_move(site: Site) -> float:
    with closing(sqlite3.connect(site.database)) as connection:
        times = connection.execute(
            "SELECT i.intended_at, o.recorded_at FROM intents i JOIN outcomes o ON o.intent_id = i.id"
        ).fetchall()
    return max((datetime.fromisoformat(to) - datetime.fromisoformat(at)).total_seconds() for at, to in times)


def _sides(site: Site, share: Share) -> list[tuple[str, Path]]:
    return [("here", site.inbox), ("server", _there(site, share))]


def _copy(path: Path, data: bytes) -> Offered:
    """Write under the final name at once, as cp does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return offered(f"{path.parent.name}/{path.name}", data)


def _upload_slowly(paths: list[Path]) -> list[Offered]:
    """Write half, pause with the file open, and write the rest: all of them side by side."""
    pictures = [unique("good") for _ in paths]
    files = [path.open("wb", buffering=0) for path in paths]
    for file, data in zip(files, pictures, strict=True):
        file.write(data[:5000])
        os.fsync(file.fileno())  # else the half may not be on the server before it is whole
    time.sleep(PAUSE_SECONDS)
    for file, data in zip(files, pictures, strict=True):
        file.write(data[5000:])
        file.close()
    return [offered(f"{p.parent.name}/{p.name}", data) for p, data in zip(paths, pictures, strict=True)]


def once(launcher: Launcher, home: Path, share: Share, figures: Figures) -> None:
    """Run once beside an upload on the server, which stays and is told by the exit code; and once more after it."""
    site = _site(home, share, intake={"settle_seconds": 1.0, "settle_unknown_seconds": 5.0})
    there = _there(site, share)
    whole = [put(there, f"cat/{number}.jpg", unique("good")) for number in range(3)]
    data, over = unique("good"), threading.Event()
    thread = threading.Thread(target=_trickle, args=(there / "cat/slow.jpg", data, over))
    thread.start()
    try:
        code = launcher.start(site, once=True).wait(patience.seconds)
    finally:
        over.set()
        thread.join()
    _hold(figures, code == os.EX_TEMPFAIL, f"run --once beside an upload ended with {code}")
    _hold(figures, len(site.events("not all is done")) == 1, "what is left was not told")
    _hold(figures, len(site.decisions()) == len(whole), f"{len(site.decisions())} files were filed")
    launcher.recover(site)
    figures.rounds, figures.files = 2, len(whole) + 1
    figures.judge("once", site, [*whole, offered("cat/slow.jpg", data)])
    _verify(launcher, site, figures)


def _trickle(path: Path, data: bytes, over: threading.Event) -> None:
    """Write a piece now and then until it is over, and then the rest."""
    with path.open("wb", buffering=0) as file:
        at = 0
        while not over.wait(0.3) and at + 100 < len(data):
            file.write(data[at : at + 20])
            at += 20
        file.write(data[at:])


def growth(launcher: Launcher, home: Path, share: Share, figures: Figures) -> None:
    """Go on writing, on the server, to an image that was whole when it was filed: it comes back and is judged again."""
    site = _site(home, share)
    daemon = launcher.start_and_wait(site)
    data = unique("good")
    path = _there(site, share) / "cat/1.jpg"
    path.parent.mkdir()
    with path.open("wb", buffering=0) as file:
        file.write(data)
        wait_until(lambda: len(site.decisions()) == 1, "it is filed")
        began = time.monotonic()
        file.write(bytes(5000))
    wait_until(lambda: site.events("put back into the inbox"), "it is put back")
    figures.counts["seconds until it was put back"] = round(time.monotonic() - began)
    wait_until(lambda: len(site.decisions()) == 2, "it is judged again")
    _hold(figures, daemon.stop() == 0, "the daemon did not stop in order")
    figures.rounds, figures.files = 1, 1
    filed = [sha256_of(one) for folder in (site.accepted, site.quarantine) for one in files_below(str(folder))]
    _hold(figures, filed == [offered("", data + bytes(5000)).sha256], "what is filed is not all that was written")
    _hold(figures, not files_below(str(site.inbox)), "something is left in the inbox")
    _verify(launcher, site, figures)


def absence(launcher: Launcher, home: Path, share: Share, figures: Figures) -> None:
    """Take the server away under a running daemon: that is told, and work goes on by itself when it is back."""
    site = _site(home, share, intake={"settle_seconds": 1.0})
    daemon = launcher.start_and_wait(site)
    files = [put(_there(site, share), "cat/1.jpg", unique("good"))]
    wait_until(lambda: len(site.decisions()) == 1, "the first file is filed")
    share.stop_server()
    files += [put(_there(site, share), f"cat/{number}.jpg", unique("good")) for number in (2, 3)]
    try:
        wait_until(lambda: _told_gone(site), "it is told that the server is gone")
        figures.counts[f"told: {_told_gone(site)}"] = 1
        said = _status(launcher, site)
        is_told = any(word in said for word in ("does not answer", "paused", "is gone"))
        _hold(figures, is_told, f"`status` says nothing of it: {said}")
        time.sleep(20)  # as long as a restart may take
    finally:
        share.start_server()
        began = time.monotonic()
    wait_until(lambda: len(site.decisions()) == len(files), "work goes on")
    figures.counts["seconds until work went on"] = round(time.monotonic() - began)
    _hold(figures, daemon.stop() == 0, "the daemon did not stop in order")
    launcher.recover(site)
    figures.rounds, figures.files = 1, len(files)
    figures.judge("absence", site, files)


def _told_gone(site: Site) -> str:
    names = ("a disk or mount does not answer", "source paused", "the inbox is gone; waiting for it to come back")
    return next((name for name in names if site.events(name)), "")


def stop_while_gone(launcher: Launcher, home: Path, share: Share, figures: Figures) -> None:
    """Ask the daemon to stop while nothing answers: it ends within its time, and the next start finds everything."""
    site = _site(home, share, service={"drain_seconds": 2.0})
    daemon = launcher.start_and_wait(site)
    share.stop_server()
    files = [put(_there(site, share), "cat/1.jpg", unique("good"))]
    try:
        wait_until(lambda: _told_gone(site), "it is told that the server is gone")
        began = time.monotonic()
        daemon.send(signal.SIGTERM)
        code = daemon.wait(patience.seconds)
        figures.counts["seconds until it ended"] = round(time.monotonic() - began)
        figures.counts[f"exit {code}"] = 1
        _hold(figures, code in {0, os.EX_TEMPFAIL}, f"it ended with {code}")
    finally:
        share.start_server()
    launcher.recover(site)
    figures.rounds, figures.files = 1, len(files)
    figures.judge("stop", site, files)


def strangers(launcher: Launcher, home: Path, share: Share, figures: Figures) -> None:
    """Start further daemons on the same inbox: one of this machine is refused, one of another loses nothing."""
    first = _site(home, share)
    daemon = launcher.start_and_wait(first)
    code = launcher.start(_site(home / "second", share)).wait(patience.seconds)
    _hold(figures, code == os.EX_TEMPFAIL, f"a second daemon of this machine ended with {code}")
    told = [event["on"] for event in first.events("only daemons of this machine are kept out")]
    _hold(figures, share.kind.name in told, f"who is kept out of the inbox was told of {told}")
    with share.seen_from_elsewhere() as elsewhere:
        other = Site(home / "other", root=elsewhere, database=home / "other" / "root" / "audit.db")
        other.configure(root=str(home / "other" / "root"))
        others = launcher.start_and_wait(other)
        files = [put(str(_there(first, share)), f"cat/{number}.jpg", unique("good")) for number in range(20)]
        wait_until(lambda: not first.waiting(), "all is filed by one or the other")
        for one, site in ((daemon, first), (others, other)):
            # One that finds its file at the destination, where the other has moved it, cannot know whose doing that is.
            code, in_doubt = one.stop(), "may have got its file or not" in site.last_words()
            figures.counts["ended in doubt"] += code == os.EX_IOERR
            _hold(figures, code == os.EX_OK or (code == os.EX_IOERR and in_doubt), f"{code}: {site.last_words()}")
    filed = [sha256_of(path) for folder in (first.accepted, first.quarantine) for path in files_below(str(folder))]
    figures.counts["filed by a daemon elsewhere"] = len(other.decisions())
    figures.counts["filed twice"] = len(filed) - len(set(filed))
    _hold(figures, {file.sha256 for file in files} == set(filed), f"{len(set(filed))} of {len(files)} are there")
    figures.rounds, figures.files = 3, len(files)


def places(launcher: Launcher, home: Path, share: Share, figures: Figures) -> None:
    """Put the log, and then the whole root, on the mount: that is told, and works as far as it can."""
    database = None if _log_on_mount(launcher, home, share, figures) else home / "apart" / "audit.db"
    site = Site(home / "root", root=share.here / "root", database=database)
    daemon = launcher.start_and_wait(site)
    if share.kind.locks:  # else nothing keeps a daemon elsewhere out: SQLite's journal is pulled from under both
        with share.seen_from_elsewhere() as elsewhere:
            other = Site(home / "other", root=elsewhere / "root")
            code = launcher.start(other, once=True).wait(patience.seconds)
            figures.counts[f"a daemon elsewhere on the same root: exit {code}"] = 1
            _hold(figures, code == os.EX_TEMPFAIL, f"a daemon elsewhere was not kept out: {other.last_words()}")
    files = [put(str(site.inbox), f"cat/{number}.jpg", unique("good")) for number in range(3)]
    wait_until(lambda: not site.waiting(), "all is filed")
    _hold(figures, daemon.stop() == 0, "the daemon did not stop in order")
    launcher.recover(site)
    figures.judge("root", site, files)
    figures.rounds, figures.files = 2, len(files) + 1


def _log_on_mount(launcher: Launcher, home: Path, share: Share, figures: Figures) -> bool:
    """Tell whether a log can be there at all; where SQLite's locks do not work, nothing moves, and that is told."""
    site = Site(home / "log", root=home / "log" / "root", database=share.here / "log" / "audit.db")
    files = [put(str(site.inbox), "cat/1.jpg", unique("good"))]
    code = launcher.start(site, once=True).wait(patience.seconds)
    figures.counts[f"a log there: exit {code}"] = 1
    told = [event["why"] for event in site.events("the log is not on a local disk")]
    _hold(figures, told and share.kind.name in told[0], f"a log on the mount: {told}")
    if code == os.EX_OK:
        figures.judge("log", site, files)
        return True
    ended = [event["why"] for event in site.events("ended")]
    _hold(figures, code == os.EX_TEMPFAIL and told and told[0] in ended[0], f"a log on the mount: {code}, {ended}")
    _hold(figures, len(site.waiting()) == len(files), "without a log a file was moved")
    return False


def kills_under_load(launcher: Launcher, home: Path, share: Share, figures: Figures, *, rounds: int) -> None:
    """Kill the daemon at random while files arrive, and start it again: nothing is lost, doubled or unrecorded."""
    site = _site(home, share, intake={"settle_seconds": 0.05, "sidecars": True})
    files: list[Offered] = []
    for number in range(rounds):
        sent = kills.kill_while_uploading(launcher, site, KILLED_WITHIN_SECONDS)
        files += sent
        figures.rounds += 1
        figures.files += len(sent)
        kills.recover(launcher, site, files, figures, f"kill {number}")


def _status(launcher: Launcher, site: Site) -> str:
    return " ".join(_said(launcher, site, "status")[1].split())


def _verify(launcher: Launcher, site: Site, figures: Figures) -> None:
    code, said = _said(launcher, site, "verify")
    _hold(figures, code == 0, f"verify: {said}")


def _said(launcher: Launcher, site: Site, command: str) -> tuple[int | None, str]:
    """Run a command to its end and give its exit code and what it said."""
    apart = copy.copy(site)
    apart.log_file = site.home / f"{command}.txt"
    apart.log_file.unlink(missing_ok=True)
    process = launcher.start(apart, arguments=[command, "--config", str(site.config_file)])
    code = process.wait(patience.seconds)
    if code is None:
        process.kill()
    return code, apart.log_file.read_text()


def _hold(figures: Figures, condition: object, otherwise: str) -> None:
    if not condition:
        figures.note(otherwise)
