"""From measurements to judged files: the decision, and where the file and its sidecars are to go."""

import os
from collections.abc import Sequence

from imageguard_daemon.core.model import Candidate, Decision, FileIdentity, Intent, JudgedFile, Measurement
from imageguard_daemon.core.names import sidecar_ending
from imageguard_daemon.core.regular_files import regular_file
from imageguard_daemon.daemon.sources import ServedSource
from imageguard_daemon.filing.rules import destinations
from imageguard_daemon.quality.policy import decide_on_file

SIDECAR_BYTES = 16 << 20
"""The loop itself reads sidecars, so their size is bounded."""


def judge(group: Sequence[tuple[Candidate, Measurement]], source: ServedSource) -> list[JudgedFile]:
    """Decide on a group of one source's files and plan their moves; no two get the same destination."""
    reserved: set[str] = set()
    judged = []
    for candidate, measurement in group:
        decision = decide_on_file(candidate.relative_path, measurement, source.settings.preset, source.thresholds)
        intents = _intents(candidate, measurement, source, _Target(source, decision, reserved))
        reserved.update(intent.destination_path for intent in intents)
        class_name = destinations.class_of(candidate.relative_path, source.settings.class_from)
        judged.append(JudgedFile(candidate, class_name, measurement, decision, tuple(intents)))
    return judged


def late_sidecar_intent(path: str, ending: str, image_path: str) -> Intent | None:
    """Plan the move of a sidecar to the image that went before it; None when the sidecar is gone."""
    contents = contents_of(path, SIDECAR_BYTES)
    if contents is None:
        return None
    sha256, identity = contents
    wanted = destinations.renamed_like(ending, image_path)
    return Intent("sidecar", path, destinations.free_path(wanted, (), sha256, os.path.lexists), sha256, identity)


def contents_of(path: str, most_bytes: int) -> tuple[str, FileIdentity] | None:
    """Give SHA-256 and identity of a regular file; None when there is none, it cannot be read, or it is larger."""
    try:
        with regular_file(path) as file:
            return None if file.status.st_size > most_bytes else (file.sha256(), file.identity)
    except OSError:
        return None


def is_too_large_for_a_sidecar(path: str) -> bool:
    """Tell whether a file is larger than what is read of a sidecar, or claims to be."""
    try:
        return os.lstat(path).st_size > SIDECAR_BYTES
    except OSError:
        return False


class _Target:
    """The folder a decision sends files to, and which names in it are taken or promised."""

    def __init__(self, source: ServedSource, decision: Decision, reserved: set[str]) -> None:
        self._root = str(source.settings.accepted if decision.ok else source.settings.quarantine)
        self._reserved = reserved

    def path(self, relative_path: str) -> str:
        return os.path.join(self._root, relative_path)

    def taken(self, relative_path: str) -> bool:
        path = self.path(relative_path)
        return path in self._reserved or os.path.lexists(path)


def _intents(candidate: Candidate, measurement: Measurement, source: ServedSource, target: _Target) -> list[Intent]:
    if measurement.identity is None:
        raise ValueError("a measurement of a file in the inbox has an identity")
    sidecars = _sidecars(candidate, source)
    relative_path = destinations.free_path(candidate.relative_path, tuple(sidecars), measurement.sha256, target.taken)
    image = Intent(
        "image",
        source.path_of(candidate.relative_path),
        target.path(relative_path),
        measurement.sha256,
        measurement.identity,
    )
    return [image] + [
        Intent("sidecar", path, target.path(destinations.renamed_like(suffix, relative_path)), sha256, identity)
        for suffix, (path, sha256, identity) in sidecars.items()
    ]


def _sidecars(candidate: Candidate, source: ServedSource) -> dict[str, tuple[str, str, FileIdentity]]:
    """Find the sidecars beside an image: ending -> path, SHA-256, identity.

    Of two names that differ by case alone, and may be one file on SMB or a card, the other is left: if it is a file of
    its own, it follows its image as a late one.
    """
    found: dict[str, tuple[str, str, FileIdentity]] = {}
    for relative_path in source.inbox.selection.sidecars_of(candidate.relative_path):
        path = source.path_of(relative_path)
        contents = contents_of(path, SIDECAR_BYTES)
        if contents is not None and not any(_may_be_one_file((path, *contents), known) for known in found.values()):
            found[sidecar_ending(relative_path, candidate.relative_path)] = (path, *contents)
    return found


def _may_be_one_file(one: tuple[str, str, FileIdentity], other: tuple[str, str, FileIdentity]) -> bool:
    return one[0].lower() == other[0].lower() and one[1] == other[1] and one[2].looks_like(other[2])
