"""What can be wrong between log and folders, and what to do about it. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from imageguard_daemon.core.names import printable


class Kind(StrEnum):
    """What is wrong."""

    tampered = "tampered"
    missing = "missing"
    changed = "changed"
    relocated = "relocated"
    foreign = "foreign"
    unfinished = "unfinished"
    leftover = "leftover"
    unreadable = "unreadable"


MEANING = {
    Kind.tampered: "the log is not as the daemon wrote it",
    Kind.missing: "recorded as filed, but not there",
    Kind.changed: "not the file that was recorded",
    Kind.relocated: "moved by somebody else, contents unchanged",
    Kind.foreign: "in a destination, but no record of it",
    Kind.unfinished: "a move began and its end was never recorded",
    Kind.leftover: "temporary file of a move that is over",
    Kind.unreadable: "cannot be checked",
}
ADVICE = {
    Kind.tampered: "Keep this log as it is; compare it with a backup and find out who can write to it.",
    Kind.missing: "Put it back from a backup, unless you took it away yourself.",
    Kind.changed: "Put the original back from a backup; keep this one elsewhere until you know what happened.",
    Kind.relocated: "Let `verify --repair` record the new place, or move it back.",
    Kind.foreign: "Move it into the inbox to have it judged, or away.",
    Kind.unfinished: "Start the daemon, which finishes it.",
    Kind.leftover: "Delete it while no daemon runs; nothing needs it.",
    Kind.unreadable: "Verify as a user who may read it; with an input/output error, check the disk.",
}


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that is wrong; paths are absolute and raw, `record` is `table id`, both empty where there is none."""

    kind: Kind
    detail: str
    path: str = ""
    record: str = ""
    found_at: str = ""
    repaired: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give what `--format json` and `csv` write, names escaped."""
        return {
            "kind": str(self.kind),
            "path": printable(self.path),
            "record": self.record,
            "detail": self.detail,
            "found_at": printable(self.found_at),
            "repaired": self.repaired,
            "advice": "" if self.repaired else ADVICE[self.kind],
        }
