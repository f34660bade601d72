"""Judges uploads by every preset. Nothing is stored: bytes live in memory files until they have been measured."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import FatalError, RetryableError
from imageguard_daemon.core.locks import running_process
from imageguard_daemon.core.model import SCORE_NAMES, Decision, Measurement
from imageguard_daemon.daemon import status
from imageguard_daemon.quality.policy import PRESETS, decide_on_file, thresholds_for
from imageguard_daemon.quality.scoring import LIMITS, rounded, scores_by_threshold
from imageguard_daemon.reporting.text import measured_in_words
from imageguard_daemon.sandbox.client import BytesMeasurer

_MAX_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Checked:
    """One image, judged by every preset; `name` is what the browser said, and only ever shown."""

    name: str
    measurement: Measurement
    decisions: Mapping[str, Decision]

    @property
    def any(self) -> Decision:
        """One of the decisions, for what is the same in all: scores and measures."""
        return self.decisions["general"]

    @property
    def measured(self) -> dict[Any, str]:
        """What was measured, by signal, in words."""
        return measured_in_words(self.measurement.measures) if self.measurement.measures else {}


class Checker:
    """Has bytes measured in a confined process, one at a time; process and readout are those of the first use.

    With a `state_folder` images are judged as the daemon would that runs there, or not at all.
    """

    def __init__(self, settings: Scoring, state_folder: Path | None = None) -> None:
        self._settings = settings
        self._state_folder = state_folder
        self._measurer: BytesMeasurer | None = None
        self._lock = threading.Lock()

    def check(self, name: str, data: bytes) -> Checked:
        """Measure and judge; a hostile image gives decisions that are not ok. Any thread may call it.

        Raises:
            RetryableError: there is no readout to be had, or the daemon judges by another.
        """
        measurement = self._measurer_in_force().measure(data)
        decisions = {
            preset: decide_on_file(name, measurement, preset, thresholds) for preset, thresholds in PRESETS.items()
        }
        return Checked(name, measurement, decisions)

    def _measurer_in_force(self) -> BytesMeasurer:
        """Give the one that measures as the daemon does; one whose readout is no longer the daemon's is replaced."""
        with self._lock:
            if self._measurer is None:
                self._measurer = self._new_measurer()
            if self._scorer_of_daemon_beside(self._measurer):
                fresh = self._new_measurer()
                if wanted := self._scorer_of_daemon_beside(fresh):
                    raise RetryableError(
                        f"The daemon judges by scorer {wanted}, and what scoring.readout names by now makes "
                        f"{fresh.scorer_version}: images can be checked again once the daemon was restarted."
                    )
                self.close()
                self._measurer = fresh
            return self._measurer

    def _scorer_of_daemon_beside(self, measurer: BytesMeasurer) -> str:
        """Name the scorer of the daemon that runs, if it is another than the measurer's."""
        if self._state_folder is None:
            return ""
        last = status.read(self._state_folder)
        if last is None or last["scorer_version"] == measurer.scorer_version:
            return ""
        # What a daemon that has ended judged by binds nobody.
        is_running = last["process_id"] == running_process(self._state_folder)
        return str(last["scorer_version"]) if is_running else ""

    def _new_measurer(self) -> BytesMeasurer:
        try:
            return BytesMeasurer(self._settings, min(_MAX_SECONDS, self._settings.timeout_seconds))
        except FatalError as error:  # what is not there today may be there tomorrow, and other pages need none
            raise RetryableError(f"No image can be checked: {' '.join(str(error).split())}") from error

    def close(self) -> None:
        """End the process."""
        if self._measurer is not None:
            self._measurer.close()


def as_dict(checked: Checked) -> dict[str, Any]:
    """Give the answer of the API: what is the same under all presets once, and the verdict under each."""
    decision = checked.any
    return {
        "name": checked.name,
        "format": checked.measurement.image_format,
        "scores": dict(decision.scores),
        "measures": dict(decision.measures),
        "scorer_version": decision.scorer_version,
        "presets": {
            preset: {
                "ok": one.ok,
                "score": one.score,
                "reason": one.reason,
                "borderline": one.borderline,
                "issues": list(one.issues),
                "detail": one.detail,
                "thresholds": dict(one.thresholds),
            }
            for preset, one in checked.decisions.items()
        },
    }


def bars_of(
    scores: Mapping[str, Any], measures: Mapping[str, Any], own: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Give what the bars show, one for each threshold that decides: score, that threshold, and those of all presets."""
    presets = {preset: thresholds_for(preset) for preset in PRESETS}
    limits = own or presets["general"]
    is_measured = all(scores.get(name) is not None for name in SCORE_NAMES)
    found = scores_by_threshold(scores, measures) if is_measured else {}
    return [
        {
            "signal": name.removesuffix("_score"),
            "score": found.get(name),
            "shown": f"{rounded(found[name], limits[name]):.0f}" if name in found else "-",
            "needed": limits[name],
            "presets": {preset: thresholds[name] for preset, thresholds in presets.items()},
        }
        for name in LIMITS
    ]
