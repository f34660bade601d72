"""Judges uploads by every preset. Nothing is stored: bytes live in memory files until they have been measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imageguard_daemon.config import Scoring
from imageguard_daemon.model import SCORE_NAMES, Decision, Measurement
from imageguard_daemon.quality.policy import PRESETS, decide_on_file, thresholds_for
from imageguard_daemon.quality.scoring import LIMITS, scores_by_threshold
from imageguard_daemon.reporting.wording import measured_in_words
from imageguard_daemon.service.measuring_bytes import BytesMeasurer

_MOST_SECONDS = 20.0


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
    """Has bytes measured in a confined process, one at a time; the process is made at first use."""

    def __init__(self, settings: Scoring) -> None:
        self._measurer = BytesMeasurer(settings, min(_MOST_SECONDS, settings.timeout_seconds))

    def check(self, name: str, data: bytes) -> Checked:
        """Measure and judge; a hostile image gives decisions that are not ok. Any thread may call it."""
        measurement = self._measurer.measure(data)
        decisions = {
            preset: decide_on_file(name, measurement, preset, thresholds) for preset, thresholds in PRESETS.items()
        }
        return Checked(name, measurement, decisions)

    def close(self) -> None:
        """End the process."""
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
            "needed": limits[name],
            "presets": {preset: thresholds[name] for preset, thresholds in presets.items()},
        }
        for name in LIMITS
    ]
