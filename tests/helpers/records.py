"""Intents and judged files about real files, and what the audit log holds about them."""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from imageguard_daemon.core.model import (
    SCORE_NAMES,
    Candidate,
    Decision,
    FileIdentity,
    Intent,
    JudgedFile,
    Measurement,
    Measures,
    RecordedIntent,
    Role,
)

UNDECODABLE = os.fsdecode(b"caf\xe9\n\x1b[31m.jpg")
"""A file name that is no UTF-8 and would steer a terminal."""


def intent(source: Path, destination: Path, role: Role = "image") -> Intent:
    """Give the intent to move a file that is there, as it is now."""
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    return Intent(role, str(source), str(destination), sha256, FileIdentity.from_stat(source.lstat()))


def recorded(source: Path, destination: Path, intent_id: int = 1) -> RecordedIntent:
    """Give such an intent as if it were in the audit log."""
    return RecordedIntent(intent_id, intent(source, destination))


def judged(
    *intents: Intent,
    ok: bool = True,
    relative_path: str = "cat/1.jpg",
    camera: str = "",
    measures: Measures | None = None,
    class_name: str = "cat",
) -> JudgedFile:
    """Give an accepted or blurry image with these intents; the first one is its own."""
    decision = Decision(
        score=0.9 if ok else 0.2,
        issues=() if ok else ("blurry",),
        scores=dict.fromkeys(SCORE_NAMES, 75.0),
        measures=measures.as_dict() if measures else {},
        preset="general",
        thresholds={"blur_score": 40.0},
        scorer_version="test",
    )
    measurement = Measurement(intents[0].sha256, measures, camera=camera, identity=intents[0].identity)
    return JudgedFile(Candidate("default", relative_path), class_name, measurement, decision, intents)


@dataclass(frozen=True)
class Tree:
    """An inbox and an accepted folder with real files."""

    root: Path
    inbox: Path = field(init=False)
    accepted: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("inbox", "accepted"):
            object.__setattr__(self, name, self.root / name)
            (self.root / name / "cat").mkdir(parents=True)

    @property
    def roots(self) -> list[str]:
        """What a configuration would name."""
        return [str(self.inbox), str(self.accepted)]

    def arrive(self, relative_path: str = "cat/1.jpg", content: bytes = b"content") -> Path:
        """Put a file into the inbox."""
        path = self.inbox / relative_path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def files(self) -> dict[str, bytes]:
        """Give every file, hidden ones too, with its content."""
        found = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}
