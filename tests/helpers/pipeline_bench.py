"""A pipeline to be driven by hand: one source with real folders and a real log, and workers that finish at once."""

import errno
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Intake, Source
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.core.model import Candidate, FileIdentity, JudgedFile, Measurement, Measures, Role
from imageguard_daemon.daemon.moves import Stages
from imageguard_daemon.daemon.pipeline import Pipeline
from imageguard_daemon.daemon.recovery import Recovery
from imageguard_daemon.daemon.sources import ServedSource
from imageguard_daemon.intake.inbox import Inbox
from imageguard_daemon.intake.rules.backlog import Backlog
from imageguard_daemon.sandbox.workers import Finished

GOOD = Measures(
    width=2000,
    height=1500,
    blur_sigma_px=0.5,
    noise_sigma=1.0,
    jpeg_quality=95.0,
    enlargement=1.0,
    clipped_low=0.0,
    clipped_high=0.0,
    tone_low=10.0,
    tone_median=120.0,
    tone_high=240.0,
)
BLURRY = replace(GOOD, blur_sigma_px=6.0)


class InstantWorkers:
    """Workers that have measured a file as soon as it is submitted; files called bad* are blurry, cut* are cut off."""

    def __init__(self) -> None:
        self.in_work = 0
        self.capacity = 1000
        self.errors: dict[str, Exception] = {}
        self.unhashed: set[str] = set()
        self.hanging: set[str] = set()
        self._hung: list[Candidate] = []
        self._finished: list[Finished] = []

    def submit(self, files: Sequence[tuple[Candidate, str]]) -> None:
        """Measure at once, or fail as told."""
        for candidate, path in files:
            self._measure(candidate, path)

    def give_up(self) -> None:
        """End what hangs, as a worker's time limit does."""
        error = OSError(errno.ETIMEDOUT, "that took longer than 10 s")
        self._finished += [Finished(candidate, error=error) for candidate in self._hung]
        self._hung = []

    def _measure(self, candidate: Candidate, path: str) -> None:
        if candidate.relative_path in self.hanging:
            self._hung.append(candidate)
            return
        error = self.errors.get(candidate.relative_path)
        if error is not None:
            self._finished.append(Finished(candidate, error=error))
            return
        identity = FileIdentity.from_stat(os.stat(path))
        if candidate.relative_path in self.unhashed:
            found = Measurement("", issue="too_large", detail="8 TB", identity=identity)
            self._finished.append(Finished(candidate, found))
            return
        measures = BLURRY if os.path.basename(path).startswith("bad") else GOOD
        sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        if os.path.basename(path).startswith("cut"):
            measured = Measurement(sha256, issue="corrupt", detail="the data end too early", identity=identity)
            self._finished.append(Finished(candidate, measured))
            return
        self._finished.append(Finished(candidate, Measurement(sha256, measures, identity=identity)))

    def finished(self) -> list[Finished]:
        """Give what was submitted since the last time."""
        done, self._finished = self._finished, []
        return done


class Bench:
    """A pipeline on a root folder, driven by hand."""

    def __init__(self, root: Path, filed_below: Path | None = None, **intake) -> None:
        self.root, self._filed_below = root, filed_below or root
        self.inbox = root / "inbox"
        self.accepted, self.quarantine = (self._filed_below / n for n in ("accepted", "quarantine"))
        for folder in (self.inbox, self.accepted, self.quarantine):
            folder.mkdir(parents=True, exist_ok=True)
        self.source = Source(inbox=self.inbox, accepted=self.accepted, quarantine=self.quarantine)
        self.backlog = Backlog(limit=100, max_attempts=3)
        self.workers = InstantWorkers()
        self.audit = AuditWriter(root / "audit.db", root)
        self.served = ServedSource(self.source, Inbox(self.source, Intake(**intake), self.backlog, lambda: None))
        self.filed: list[JudgedFile] = []
        folders = [str(folder) for folder in self.source.folders]
        self.recovery = Recovery(self.audit, folders, {"default": self.source})
        (root / ".imageguard").mkdir(exist_ok=True)
        stages = Stages(self.backlog, self.workers, self.recovery, acting_lock=ActingLock(root / ".imageguard"))
        self.pipeline = Pipeline({"default": self.served}, stages, self.filed.append)

    def arrive(self, relative_path: str, data: bytes, still_since: float | None = None) -> Candidate:
        """Put a file into the inbox and into the backlog; of an unknown writer where it says since when it is still."""
        path = self.inbox / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        role: Role = "sidecar" if path.suffix == ".txt" else "image"
        state = FileIdentity.from_stat(path.stat()) if still_since is not None else None
        candidate = Candidate("default", relative_path, role, state, still_since)
        self.backlog.offer(candidate)
        return candidate

    def step(self, now: float = 0.0) -> None:
        """Feed, then file: one trip for everything in the backlog."""
        self.pipeline.step(now)
        self.pipeline.step(now)

    def files(self) -> dict[str, bytes]:
        """Give every file of the three folders with its content."""
        folders = {self.inbox: self.root, self.accepted: self._filed_below, self.quarantine: self._filed_below}
        paths = [(path, home) for folder, home in folders.items() for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(home)): path.read_bytes() for path, home in paths}

    def recorded_intents(self) -> int:
        """Count the intents in the log, whatever became of them."""
        import sqlite3

        connection = sqlite3.connect(self.root / "audit.db")
        try:
            return int(connection.execute("SELECT count(*) FROM intents").fetchone()[0])
        finally:
            connection.close()

    def decisions(self) -> list[tuple[str, str]]:
        """Give destination and verdict of each row of the public view."""
        import sqlite3

        connection = sqlite3.connect(self.root / "audit.db")
        try:
            return connection.execute("SELECT destination, verdict FROM decisions ORDER BY id").fetchall()
        finally:
            connection.close()
