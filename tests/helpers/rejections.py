"""Rejected images with their files and their log, as a daemon leaves them, to be reviewed."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.file_index import FiledFiles
from imageguard_daemon.audit.opening import open_log_for_checking
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config_file import load
from imageguard_daemon.core.model import Measures, Outcome
from imageguard_daemon.review.acting import Acting, acting_on
from imageguard_daemon.review.values import Reviewed, Reviewer
from imageguard_daemon.verification.verifier import Verification, Verifier
from tests.helpers.records import intent, judged

ANNA = Reviewer("anna", "looked at it")


class Rejections:
    """A root whose daemon has rejected some images and is not running."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.settings = load(None, root)
        self.inbox, self.accepted, self.quarantine = (root / n for n in ("inbox", "accepted", "quarantine"))
        for folder in (self.inbox, self.accepted, self.quarantine):
            folder.mkdir(parents=True)
        self.audit = AuditWriter(root / "audit.db", root)
        self._filed = 0

    def file(
        self,
        name: str,
        content: bytes | None = None,
        labels: Iterable[str] = (),
        *,
        ok: bool = False,
        measures: Measures | None = None,
        class_name: str = "cat",
        camera: str = "",
    ) -> int:
        """File an image with its labels as a daemon does; give the number of its decision."""
        self._filed += 1
        content = content if content is not None else f"image {self._filed}".encode()
        target = self.accepted if ok else self.quarantine
        names = [name, *(str(Path(name).with_suffix(label)) for label in labels)]
        intents = []
        for one in names:
            source = self.inbox / one
            source.parent.mkdir(parents=True, exist_ok=True)
            source.write_bytes(content if one == name else f"label {self._filed}".encode())
            intents.append(intent(source, target / one, "image" if one == name else "sidecar"))
        image = judged(*intents, ok=ok, relative_path=name, measures=measures, class_name=class_name, camera=camera)
        [recorded] = self.audit.record_intents([image])
        for one in intents:
            os.makedirs(os.path.dirname(one.destination_path), exist_ok=True)
            os.rename(one.source_path, one.destination_path)
        self.audit.record_outcomes([Outcome(one.intent_id, "moved") for one in recorded])
        return self._filed

    @contextmanager
    def acting(self) -> Iterator[Acting]:
        """Open the root to act on it, as a command of its own does."""
        with acting_on(self.settings) as acting:
            yield acting

    def do(self, function, *decision_ids: int, reviewer: Reviewer = ANNA) -> list[Reviewed]:
        """Act in one command and give the results."""
        with self.acting() as acting:
            return list(function(acting, decision_ids, reviewer))

    def files(self) -> dict[str, bytes]:
        """Give every filed file, hidden ones too, with its content."""
        found = (path for folder in (self.accepted, self.quarantine) for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.root)): path.read_bytes() for path in found}

    def wrong(self) -> list[str]:
        """Give what `verify` finds wrong with log, chain and folders."""
        with open_log_for_checking(self.root / "audit.db") as log:
            task = Verification([str(self.accepted), str(self.quarantine)], daemon_may_run=False)
            return [
                f"{one.kind} {one.path} {one.record} {one.detail}"
                for one in Verifier(ChainCheck(log), FiledFiles(log), task).discrepancies()
            ]

    def close(self) -> None:
        """Let go of the log."""
        self.audit.close()
