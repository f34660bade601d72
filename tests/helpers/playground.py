"""A folder for the commands of the documents: images, configurations, and a log with files as a daemon leaves them.

Documents speak of /srv/ingest, /etc/imageguard-daemon and of names in the current folder; here they are all below one
folder, and `real` and `shown` translate.
"""

import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from imageguard_daemon.audit.alerts import Alert, AlertLog, Attempt
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.model import Candidate, JudgedFile, Measurement, Measures, Outcome
from imageguard_daemon.quality.policy import decide, thresholds_for
from tests.helpers import images
from tests.helpers.pipeline_bench import GOOD
from tests.helpers.records import intent

_SPOILED: dict[str, dict[str, float]] = {
    "blurry": {"blur_sigma_px": 8.0},
    "low_resolution": {"width": 128, "height": 96},
    "noisy": {"noise_sigma": 20.0},
    "compressed": {"jpeg_quality": 8.0},
    "overexposed": {"overexposure": 0.9, "clipped_high": 0.6},
}
_PLACES = (
    ("/srv/ingest", "ingest"),
    ("/srv/backup", "backup"),
    ("/etc/imageguard-daemon", "etc"),
    ("/etc/bash_completion.d", "etc"),
)
"""Where a document's folders are, below the playground."""
_UNMEASURED = {
    "corrupt": "JPEG: Premature end of JPEG file",
    "too_large": "30000 x 30000 pixels (limit 178 megapixels)",
}


@dataclass(frozen=True)
class Lot:
    """Images that were judged alike, some days ago; an empty reason means accepted."""

    class_name: str
    reason: str
    images: int
    source: str = "default"
    days_ago: int = 1


LYNXES = (
    Lot("lynx", "low_resolution", 20, "scraper", 3),
    Lot("lynx", "", 7, "scraper", 3),
    Lot("lynx", "low_resolution", 14, "scraper", 2),
    Lot("cat", "", 57, "studio", 2),
    Lot("cat", "blurry", 3, "studio", 2),
    Lot("dog", "", 51, "studio", 2),
    Lot("dog", "overexposed", 1, "studio", 2),
    Lot("dog", "blurry", 3, "studio", 1),
    Lot("lynx", "compressed", 2, "scraper", 1),
    Lot("lynx", "blurry", 5, "scraper", 1),
)
"""The log that docs/reports.md reports on: a class that is scraped as thumbnails."""
FIRST_DAY = (
    Lot("cat", "", 12),
    Lot("cat", "blurry", 1),
    Lot("lynx", "low_resolution", 10),
    Lot("lynx", "corrupt", 1),
    Lot("lynx", "noisy", 1),
    Lot("lynx", "", 1),
)
"""The log of the README."""
REJECTED = (
    Lot("lynx", "low_resolution", 6),
    Lot("lynx", "corrupt", 3),
    Lot("lynx", "too_large", 2),
    Lot("cat", "", 9),
    Lot("cat", "noisy", 4),
    Lot("dog", "blurry", 6),
    Lot("lynx", "blurry", 8),
)
"""A log whose quarantine is to be reviewed."""
OLD = (Lot("cat", "", 20, days_ago=500), Lot("lynx", "blurry", 3, days_ago=450), Lot("dog", "", 5))
"""A log of which a part can go."""


class Playground:
    """The folder; `lots` are what the log holds."""

    def __init__(self, folder: Path, lots: Iterable[Lot], pictures: Sequence[bytes]) -> None:
        self.folder = folder
        self.root = folder / "ingest"
        self._pictures = itertools.cycle(pictures)
        for name in ("inbox", "accepted", "quarantine"):
            (self.root / name).mkdir(parents=True)
        self._write_log(lots)

    def configure(self, name: str, **settings: object) -> None:
        """Write a configuration of the root."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"root": str(self.root)} | settings), encoding="utf-8")

    def put(self, *names: str, blur: float = 0.0) -> None:
        """Put images of their own under these names, below the folder."""
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = next(self._pictures)
            spoiled = images.jpeg(images.blurred(images.decoded(picture), blur)) if blur else picture
            path.write_bytes(_with_comment(spoiled, name))

    def real(self, text: str) -> str:
        """Give a command as it is to be run."""
        for shown, name in _PLACES:
            text = text.replace(shown, str(self.folder / name))
        return text

    def shown(self, text: str) -> str:
        """Give an output as a document shows it."""
        return text.replace(str(self.root), "/srv/ingest").replace(str(self.folder), "/home/you")

    def _write_log(self, lots: Iterable[Lot]) -> None:
        moment = [datetime.now(UTC)]
        writer = AuditWriter(self.root / "audit.db", self.root, now=lambda: moment[0])
        numbers = itertools.count(1)
        for lot in lots:
            moment[0] = datetime.now(UTC) - timedelta(days=lot.days_ago)
            judged = [self._judged(lot, next(numbers)) for _ in range(lot.images)]
            recorded = writer.record_intents(judged)
            for move in itertools.chain(*recorded):
                one = move.intent
                os.makedirs(os.path.dirname(one.destination_path), exist_ok=True)
                os.rename(one.source_path, one.destination_path)
            writer.record_outcomes([Outcome(one.intent_id, "moved") for (one, *_) in recorded])
        _record_alerts(writer, moment[0])
        writer.close()

    def _judged(self, lot: Lot, number: int) -> JudgedFile:
        name = f"{lot.class_name}/{number}.jpg"
        source = self.root / "inbox" / name
        source.parent.mkdir(exist_ok=True)
        source.write_bytes(_with_comment(next(self._pictures), name))
        measurement = _measurement(lot, hashlib.sha256(source.read_bytes()).hexdigest())
        decision = decide(measurement, "general", thresholds_for("general"))
        target = self.root / ("quarantine" if lot.reason else "accepted") / name
        one = intent(source, target)
        measurement = replace(measurement, identity=one.identity)
        return JudgedFile(Candidate(lot.source, name), lot.class_name, measurement, decision, (one,))


def _measurement(lot: Lot, sha256: str) -> Measurement:
    if lot.reason in _UNMEASURED:
        return Measurement(sha256, issue=lot.reason, detail=_UNMEASURED[lot.reason], image_format="JPEG")
    measures: Measures = replace(GOOD, **_SPOILED.get(lot.reason, {}))
    return Measurement(sha256, measures, image_format="JPEG")


def _record_alerts(writer: AuditWriter, moment: datetime) -> None:
    message = "Class 'lynx': 41 of 48 images were rejected (85.4 %), mostly low_resolution (34)."
    found = [
        Alert(moment, "class_consistently_rejected", "lynx", message, channel) for channel in ("command", "webhook")
    ]
    log = AlertLog(writer)
    by_command, by_web = (one.alert_id for one in log.record_alerts(found))
    failed = "answered 500 Internal Server Error"
    log.record_attempts(
        [Attempt(by_command, moment, succeeded=True), *[Attempt(by_web, moment, succeeded=False, detail=failed)] * 3]
    )


def _with_comment(jpeg: bytes, comment: str) -> bytes:
    """Give the same picture as a file of its own."""
    text = comment.encode()
    return jpeg[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + jpeg[2:]
