"""One daemon's folders, wherever they lie, and what its log file says."""

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.faults.accounts import give_to_daemon


class Site:
    """Inbox, destinations and audit database, on one file system or on several.

    `home` keeps configuration and log file; it is never cut off. The other folders are below `root` unless told. With
    two accounts, daemon and uploaders are not the same.
    """

    def __init__(
        self,
        home: Path,
        *,
        root: Path | None = None,
        destinations: Path | None = None,
        database: Path | None = None,
        inboxes: int = 1,
        accounts: int = 1,
        **settings,
    ) -> None:
        self.home = home
        self.accounts = accounts
        self.root = root or home / "root"
        self.database = database or self.root / "audit.db"
        self.accepted, self.quarantine = ((destinations or self.root) / name for name in ("accepted", "quarantine"))
        names = ["inbox"] if inboxes == 1 else [f"inbox{number}" for number in range(inboxes)]
        self.inboxes = [str(self.root / name) for name in names]
        self.inbox = self.root / names[0]
        self.log_file = home / "log.jsonl"
        self.config_file = home / "config.yaml"
        self.make()
        self.configure(**settings)

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.home, *map(Path, self.inboxes), self.accepted, self.quarantine, self.database.parent):
            folder.mkdir(parents=True, exist_ok=True)
        if self.accounts > 1:
            for folder in {self.root, self.accepted, self.quarantine, self.accepted.parent, self.database.parent}:
                give_to_daemon(folder)
            for inbox in self.inboxes:
                give_to_daemon(Path(inbox), 0o2775)

    def clear(self) -> None:
        """Begin anew with empty folders and no log."""
        for folder in (self.root, self.accepted, self.quarantine):
            shutil.rmtree(folder, ignore_errors=True)
        for path in self.database.parent.glob(f"{self.database.name}*"):
            path.unlink()
        self.log_file.unlink(missing_ok=True)
        self.make()

    def configure(self, **settings) -> None:
        """Write the configuration; quick unless told otherwise."""
        quick = {"settle_seconds": 0.1, "rescan_seconds": 1.0, "settle_unknown_seconds": 1.0}
        intake = quick | settings.pop("intake", {})
        scoring = {"workers": 1} | settings.pop("scoring", {})
        where = {"accepted": str(self.accepted), "quarantine": str(self.quarantine)}
        sources = [{"name": os.path.basename(path), "inbox": path} | where for path in self.inboxes]
        data = {
            "root": str(self.root),
            "sources": sources,
            "audit": {"database": str(self.database)},
            "intake": intake,
            "scoring": scoring,
            "logging": {"format": "json"},
        }
        self.config_file.write_text(yaml.safe_dump(data | settings))

    def name_of(self, path: str) -> str:
        """Give a path of an inbox relative to it."""
        inbox = next((folder for folder in self.inboxes if path.startswith(f"{folder}/")), "")
        return os.path.relpath(path, inbox) if inbox else path

    def events(self, name: str = "", level: str = "") -> list[dict]:
        """Give the log lines of one kind, of one level, or all."""
        found = []
        for line in self.log_file.read_text().splitlines() if self.log_file.exists() else []:
            try:
                event = json.loads(line)
            except ValueError:  # a traceback, or the last line still being written
                continue
            if (not name or event.get("event") == name) and (not level or event.get("level") == level):
                found.append(event)
        return found

    def last_words(self) -> str:
        """Give the end of the log file, for messages."""
        return "\n".join(self.log_file.read_text().splitlines()[-3:]) if self.log_file.exists() else ""

    def decisions(self, columns: str = "relative_path, verdict, reason") -> list[tuple]:
        """Give these columns of the public view, in the order of the log."""
        if not self.database.exists():
            return []
        connection = sqlite3.connect(self.database, timeout=20)
        try:
            return connection.execute(f"SELECT {columns} FROM decisions ORDER BY id").fetchall()
        except sqlite3.OperationalError:  # no tables yet, or locked on purpose
            return []
        finally:
            connection.close()

    def waiting(self) -> list[str]:
        """Give the files in the inboxes that are not hidden."""
        return [
            os.path.join(base, name)
            for inbox in self.inboxes
            for base, _folders, names in os.walk(inbox)
            for name in names
            if not name.startswith(".") and "/.imageguard" not in base
        ]


@dataclass
class Patience:
    """How long to wait for what is to come, and how often to look; a slow machine sets it once, for all."""

    seconds: float = 60.0
    look_seconds: float = 0.02


patience = Patience()


def wait_until(condition: Callable[[], object], what: str, seconds: float | None = None) -> float:
    """Poll a condition and give how long it took; real processes take the time they take."""
    began, most = time.monotonic(), patience.seconds if seconds is None else seconds
    while not condition():
        waited = time.monotonic() - began
        assert waited < most, f"waited {most:.0f} s in vain: {what}"
        time.sleep(patience.look_seconds)
    return time.monotonic() - began
