"""What a crash left between an intent and its outcome, and what to do about it. Pure: a table.

| source | destination | means                              | action                          |
|--------|-------------|------------------------------------|---------------------------------|
| same   | absent      | the move never happened            | abandon                         |
| gone   | same        | the outcome is missing             | record it                       |
| same   | same        | published, source not yet removed  | remove the source, record it    |
| same   | other       | the name was taken                 | abandon                         |
| gone   | absent      | vanished under us                  | record `lost`, loudly           |
| gone   | other       | not ours to judge                  | record `disputed`, stop         |
| other  | same        | moved; a new file has the old name | record it, leave the new file   |
| other  | absent      | replaced by whoever sent it        | abandon                         |
| other  | other       | replaced, and the name was taken   | abandon                         |

"same" is a regular file with the intent's size and SHA-256. After `abandon` the walk meets the file again.
"""

from dataclasses import dataclass
from enum import Enum

from imageguard_daemon.core.model import OutcomeKind


class Presence(Enum):
    """What lies at one end of an intent."""

    absent = "absent"
    same = "same"
    other = "other"


@dataclass(frozen=True, slots=True)
class Repair:
    """What to record, and whether the source has to be removed first."""

    outcome: OutcomeKind
    detail: str
    remove_source: bool = False


_TABLE = {
    (Presence.same, Presence.absent): Repair("abandoned", "interrupted before the move"),
    (Presence.absent, Presence.same): Repair("moved", "recorded after an interruption"),
    (Presence.same, Presence.same): Repair("moved", "completed after an interruption", remove_source=True),
    (Presence.same, Presence.other): Repair("abandoned", "interrupted, and the name was taken"),
    (Presence.absent, Presence.absent): Repair("lost", "gone from both ends during an interruption"),
    (Presence.absent, Presence.other): Repair("disputed", "another file lies at the destination"),
    (Presence.other, Presence.same): Repair("moved", "recorded after an interruption; a new file came"),
    (Presence.other, Presence.absent): Repair("abandoned", "replaced during an interruption"),
    (Presence.other, Presence.other): Repair("abandoned", "replaced during an interruption; the name was taken"),
}


def repair_for(source: Presence, destination: Presence) -> Repair:
    """Look up what to do about an unfinished intent."""
    return _TABLE[source, destination]
