"""Never overwriting: equal names from many uploaders, and destinations that are in the way."""

import os
import threading
import time
from pathlib import Path

from tests.faults import tracing
from tests.faults.figures import Figures
from tests.faults.launching import Launcher
from tests.faults.oracle import Offered
from tests.faults.site import Site, wait_until
from tests.faults.uploading import offered, publish_new, put, unique

WRITERS = 8
NAMES = 50


def equal_names(launcher: Launcher, home: Path, files: int, *, refuse_renames: bool = False) -> Figures:
    """Let eight uploaders send files of the same few names to eight inboxes with one destination.

    With `refuse_renames`, renameat2 answers EINVAL as NFS does, at every call.
    """
    site = Site(home, inboxes=WRITERS, intake={"settle_seconds": 0.05})
    figures = Figures(f"equal names from {WRITERS} writers{', renameat2 refused' if refuse_renames else ''}")
    daemon = launcher.start(site, held=refuse_renames)
    tracer = None
    if refuse_renames:
        tracer = tracing.trace_from_start(daemon, "-e", "trace=renameat2", "-e", "inject=renameat2:error=EINVAL")
    sent = _send_all(site, files)
    figures.rounds, figures.files = 1, len(sent)
    try:
        wait_until(lambda: not site.waiting(), "every file is filed", 60 + files / 10)
    except AssertionError as error:
        figures.note(str(error))
    if daemon.stop() != 0:
        figures.note(f"did not stop well: {site.last_words()}")
    if tracer is not None:
        tracer.wait(60)
    figures.judge("equal names", site, sent)
    return figures


def _send_all(site: Site, files: int) -> list[Offered]:
    sent: list[list[Offered]] = [[] for _ in range(WRITERS)]
    share = files // WRITERS
    writers = [
        threading.Thread(target=_send, args=(inbox, share, into))
        for inbox, into in zip(site.inboxes, sent, strict=True)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return [one for into in sent for one in into]


def _send(inbox: str, count: int, into: list[Offered]) -> None:
    """Send under the same names again and again, each as soon as the one before has been taken."""
    folder = os.path.join(inbox, "cat")
    os.makedirs(folder)
    while len(into) < count:
        for number in range(min(NAMES, count - len(into))):
            data = unique("tiny")
            temporary = os.path.join(folder, f".{number}.upload")
            Path(temporary).write_bytes(data)
            if publish_new(temporary, os.path.join(folder, f"{number}.png")):
                into.append(offered(f"cat/{number}.png", data))
        time.sleep(0.02)


def destinations_in_the_way(launcher: Launcher, home: Path) -> Figures:
    """File images where a folder, links and foreign files have their names, and where the class folder is a link."""
    figures = Figures("destinations that are in the way", rounds=1)
    site = Site(home, filing={"max_attempts": 2})
    outside = home / "outside"
    outside.mkdir()
    foreign = outside / "target.png"
    foreign.write_bytes(b"theirs")
    for destination in (site.accepted, site.quarantine):
        (destination / "cat").mkdir()
        (destination / "cat" / "folder.png").mkdir()
        (destination / "cat" / "link.png").symlink_to(foreign)
        (destination / "cat" / "dangling.png").symlink_to(outside / "nothing.png")
        (destination / "dog").symlink_to(outside)
    sent = [put(site.inbox, f"cat/{name}.png", unique("tiny")) for name in ("folder", "link", "dangling", "free")]
    behind_link = put(site.inbox, "dog/target.png", unique("tiny"))
    daemon = launcher.start_and_wait(site)
    wait_until(lambda: len(site.decisions()) >= len(sent), "the files with free names nearby are filed")
    wait_until(lambda: site.events("left in the inbox") or site.events("source paused"), "the link is told")
    if daemon.stop() != 0:
        figures.note(f"did not stop well: {site.last_words()}")
    figures.files = len(sent) + 1
    figures.judge("in the way", site, [*sent, behind_link], settled=False)
    if sorted(os.listdir(outside)) != ["target.png"] or foreign.read_bytes() != b"theirs":
        figures.note(f"files of others were touched: {sorted(os.listdir(outside))}")
    if not (site.inbox / "dog" / "target.png").exists():
        figures.note("the file whose class folder is a link did not stay in the inbox")
    return figures
