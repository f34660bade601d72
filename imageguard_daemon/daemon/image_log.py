"""One log line for each image that was filed: switched off by `logging.images`, and never so many that errors drown."""

import structlog

from imageguard_daemon.config import Logging
from imageguard_daemon.core import logs
from imageguard_daemon.core.journal import LineBudget
from imageguard_daemon.core.model import JudgedFile
from imageguard_daemon.core.names import printable
from imageguard_daemon.quality.scoring import ACCEPTED_FROM, rounded

log = structlog.get_logger("imageguard_daemon.daemon.main_loop")


class ImageLines:
    """Writes them. The journal drops lines of a service that writes very many, whichever they are; files don't."""

    def __init__(self, settings: Logging) -> None:
        self._are_wanted = settings.images
        self._budget = LineBudget() if logs.go_to_journal() else None

    def apply(self, settings: Logging) -> None:
        """Go by new settings from now on."""
        self._are_wanted = settings.images

    def tell(self, file: JudgedFile, now: float) -> None:
        """Write the line of an image. `now` is a monotonic clock."""
        if not self._are_wanted or (self._budget is not None and not self._budget.take(now)):
            return
        decision, image = file.decision, file.intents[0]
        log.info(
            decision.verdict,
            path=printable(file.candidate.relative_path),
            reason=decision.reason,
            detail=printable(decision.detail),
            score=rounded(decision.score, ACCEPTED_FROM, 3),
            source=file.candidate.source,
            class_name=printable(file.class_name),
            destination=printable(image.destination_path),
            sha256=image.sha256,
            duration_ms=round(file.measurement.duration_ms, 1),
        )

    def step(self, now: float) -> None:
        """Say how many lines were left out, once it is over."""
        if self._budget is not None and (number := self._budget.take_left_out(now)):
            hint = "the journal would have dropped errors, too; the audit log has every image"
            log.info("lines about images left out", number=number, why=hint)
