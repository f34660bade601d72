"""Sidecars that come after their image has been filed: each is sent after it, or waits in the inbox until it comes."""

import os
from collections.abc import Callable
from pathlib import PurePath

from imageguard_daemon.core.errors import RetryableError, StalledError
from imageguard_daemon.core.model import Candidate
from imageguard_daemon.core.names import printable
from imageguard_daemon.daemon.left_behind import LeftBehind
from imageguard_daemon.daemon.moves import Moves, Stages
from imageguard_daemon.daemon.planning import SIDECAR_BYTES, is_too_large_for_a_sidecar, late_sidecar_intent
from imageguard_daemon.daemon.sources import ServedSource

LONE_SIDECAR_PAUSE_SECONDS = 600.0


class LateSidecars:
    """Sends sidecars after their images. One thread only; `let_go` forgets a candidate that is through."""

    def __init__(
        self, stages: Stages, moves: Moves, left_behind: LeftBehind, let_go: Callable[[Candidate], None]
    ) -> None:
        self._audit = stages.recovery.audit
        self._places = stages.recovery.places
        self._backlog = stages.backlog
        self._moves = moves
        self._left_behind = left_behind
        self._let_go = let_go

    def follow(self, sidecar: Candidate, source: ServedSource, now: float) -> None:
        """Send a sidecar after its image; one whose image is not known waits in the inbox."""
        if is_too_large_for_a_sidecar(source.path_of(sidecar.relative_path)):
            error = RetryableError(f"larger than a sidecar may be ({SIDECAR_BYTES >> 20} MB)")
            self._left_behind.put_back(sidecar, error, now)
            return
        try:
            why = self._sent(sidecar, source, now)
        except StalledError as error:
            source.pause(str(error), now)
            why = ""
        if why:
            self._backlog.postponed(sidecar, why, now + LONE_SIDECAR_PAUSE_SECONDS)
        else:
            self._let_go(sidecar)

    def _sent(self, sidecar: Candidate, source: ServedSource, now: float) -> str:
        """Move a sidecar to its image; say why it has to wait for that instead, if it has to."""
        owners = source.inbox.selection.owners_of(sidecar.relative_path)
        lacking = ((self._audit.image_lacking_sidecar(sidecar.source, *owner), owner[1]) for owner in owners)
        filed, ending = next((found for found in lacking if found[0] is not None), (None, ""))
        if filed is None:
            return "its image has not been filed"
        image = self._today(filed[1], sidecar)
        if image is None:
            return f"its image was filed as {printable(filed[1])}, where the configuration has no folder any more"
        intent = late_sidecar_intent(source.path_of(sidecar.relative_path), ending, image)
        if intent is not None:
            recorded = self._audit.record_late_sidecar(filed[0], intent)
            with self._moves.folders() as folders:
                [move] = self._moves.carry_out([(sidecar, [recorded])], folders, now)
            if self._moves.record_outcomes(now) and move.moved:
                source.works_again(now)
        return ""

    def _today(self, image_path: str, sidecar: Candidate) -> str | None:
        """Give where an image is by today's folders; None when it is in none of them."""
        if self._places.has(image_path):
            return image_path
        today = self._places.of_filed(image_path, sidecar.source, len(PurePath(sidecar.relative_path).parts))
        return next((path for path in today if self._places.has(path) and os.path.lexists(path)), None)
