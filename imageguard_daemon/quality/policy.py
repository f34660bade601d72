"""Scores and thresholds to a decision: the only place that says what is accepted. Standard library only."""

import difflib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from types import MappingProxyType

from imageguard_daemon.core.model import EXPOSURE_LIMITS, SCORE_NAMES, THRESHOLD_NAMES, Decision, Measurement, Measures
from imageguard_daemon.quality.decode.formats import contradiction
from imageguard_daemon.quality.scoring import BANDS, SCALES, Scale, scale_scores, signal_scores
from imageguard_daemon.quality.version import scorer_with

# A signal's score below its threshold is an issue. In the order of SCORE_NAMES.
_PRESET_ROWS: Mapping[str, tuple[float, ...]] = {
    "general": (40, 60, 30, 40, 50, 50),
    "fine_grained": (60, 75, 40, 40, 50, 50),
    "detection": (50, 70, 35, 40, 50, 50),
    "segmentation": (55, 70, 40, 40, 50, 50),
    # Crops and icons that are small by design, from 28 x 28 on: small is soft, and was often enlarged once.
    "small_images": (20, 1, 20, 40, 30, 25),
    # Pages, receipts, line art and screenshots are white by construction; one that is washed out is not.
    "documents": (40, 60, 30, 40, 50, 50),
}
_PRESET_ENDS: Mapping[str, Mapping[str, float]] = {"documents": {"overexposure_score": 15.0}}


def _preset(name: str) -> Mapping[str, float]:
    of_signals = dict(zip(SCORE_NAMES, map(float, _PRESET_ROWS[name]), strict=True))
    return MappingProxyType({**of_signals, **_PRESET_ENDS.get(name, {})})


PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType({name: _preset(name) for name in _PRESET_ROWS})
"""The six thresholds of each, and those of the ends of exposure where they differ."""
_JUST_BELOW_HALF = math.nextafter(0.5, 0)


def thresholds_for(preset: str, overrides: Mapping[str, object] | None = None) -> dict[str, float]:
    """Give the thresholds of a preset with some of them replaced, by all THRESHOLD_NAMES.

    Raises:
        ValueError: an unknown preset or threshold (with the nearest known one), or a value outside 0 to 100.
        TypeError: a value that is not a number.
    """
    _require_known(preset, PRESETS, "preset")
    if overrides is not None and not isinstance(overrides, Mapping):
        raise TypeError(f"thresholds must be a mapping of names to numbers, not {type(overrides).__name__}")
    wanted = overrides or {}
    for name in wanted:
        _require_known(name, THRESHOLD_NAMES, "threshold")
    return with_overrides(PRESETS[preset], {name: _checked(name, value) for name, value in wanted.items()})


def with_overrides(thresholds: Mapping[str, float], overrides: Mapping[str, float]) -> dict[str, float]:
    """Give thresholds with some replaced, by all THRESHOLD_NAMES; the six of an older record will do.

    Of what is given together the more specific wins: `exposure_score` sets the ends that are not named themselves.
    """
    found = {**spread(thresholds), **spread(overrides)}
    found["exposure_score"] = max(found[name] for name in EXPOSURE_LIMITS)
    return {name: found[name] for name in THRESHOLD_NAMES}


def spread(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Give the same with `exposure_score`, if it is there, set for both ends that are not."""
    if "exposure_score" not in thresholds:
        return dict(thresholds)
    # The ends first: those that `thresholds` names replace them.
    return {**dict.fromkeys(EXPOSURE_LIMITS, thresholds["exposure_score"]), **thresholds}


def _require_known(name: str, known: Iterable[str], what: str) -> None:
    names = list(known)
    if name in names:
        return
    near = difflib.get_close_matches(str(name), names, 1)
    hint = f", did you mean {near[0]!r}?" if near else f"; known are {', '.join(names)}"
    raise ValueError(f"unknown {what} {name!r}{hint}")


def _checked(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    number = float(value)
    if not 0 <= number <= 100:
        raise ValueError(f"{name} must be within 0 and 100, not {value}")
    return number


def decide(measurement: Measurement, preset: str, thresholds: Mapping[str, float]) -> Decision:
    """Give the decision on a measurement; `thresholds` has at least the six of a preset."""
    thresholds = with_overrides(thresholds, {})
    if measurement.measures is None:
        return _unmeasured(measurement, preset, thresholds)
    by_measure = scale_scores(measurement.measures)
    scores = signal_scores(by_measure)
    bad = scales_below(by_measure, thresholds)
    return Decision(
        score=overall_score(by_measure, thresholds),
        issues=tuple(scale.issue for scale in bad),
        scores=scores,
        measures=measurement.measures.as_dict(),
        preset=preset,
        thresholds=thresholds,
        scorer_version=scorer_with(measurement.readout),
        detail="; ".join(_explanation(scale, measurement.measures, thresholds) for scale in bad),
        borderline=_is_borderline(by_measure, thresholds, bad),
    )


def decide_on_file(name: str, measurement: Measurement, preset: str, thresholds: Mapping[str, float]) -> Decision:
    """Give the decision on the measurement of a file; its detail says so when the name's suffix is wrong."""
    decision = decide(measurement, preset, thresholds)
    lie = contradiction(os.path.splitext(name)[1], measurement.image_format)
    return replace(decision, detail="; ".join(filter(None, (decision.detail, lie))))


def overall_score(by_measure: Mapping[str, float], thresholds: Mapping[str, float]) -> float:
    """Give one number in [0, 1]: at least 0.5 exactly when no scale's score is below its threshold, monotone in each.

    Below 0.5 the worst signal alone decides; above, the others add a little, so that good images rank.
    """
    of_scales = {scale.measure: _margin(by_measure[scale.measure], thresholds[scale.threshold]) for scale in SCALES}
    margins = signal_scores(of_scales).values()
    worst = min(margins)
    if worst < 0.5:
        return worst
    of_others = 0.2 * math.fsum(margins) / len(margins)
    # Rounding must not take it over either end: 0.5 is what accepts.
    return min(1.0, max(0.5, 0.8 * worst + of_others))


def _margin(score: float, threshold: float) -> float:
    if score < threshold:
        return min(0.5 * score / threshold, _JUST_BELOW_HALF)
    room = 100.0 - threshold
    return 0.5 + 0.5 * (score - threshold) / room if room > 0 else 1.0


def scales_below(by_measure: Mapping[str, float], thresholds: Mapping[str, float]) -> list[Scale]:
    """Give the scales below their threshold, most severe first; equally severe ones in the table's order."""
    bad = [scale for scale in SCALES if by_measure[scale.measure] < thresholds[scale.threshold]]

    def severity(scale: Scale) -> float:
        limit = thresholds[scale.threshold]
        return (limit - by_measure[scale.measure]) / limit

    return sorted(bad, key=severity, reverse=True)


def _is_borderline(by_measure: Mapping[str, float], thresholds: Mapping[str, float], bad: Sequence[Scale]) -> bool:
    """Check whether the signal that decides lies where good and bad images mix.

    Of a rejected image that is its reason; of an accepted one the signal with the least margin in its own band. A
    threshold of 0 rejects nothing, so nothing is near to it.
    """

    def margin(scale: Scale) -> float:
        return by_measure[scale.measure] - thresholds[scale.threshold]

    if bad:
        reason = bad[0]
        below, _ = BANDS[reason.measure]
        return -margin(reason) <= below
    return any(_is_near(scale, margin(scale)) for scale in SCALES if thresholds[scale.threshold])


def _is_near(scale: Scale, margin: float) -> bool:
    _, above = BANDS[scale.measure]
    return above > 0 and margin < above


def _explanation(scale: Scale, measures: Measures, thresholds: Mapping[str, float]) -> str:
    measure, limit = getattr(measures, scale.measure), scale.limit(thresholds[scale.threshold])
    # "noise of 16.0 grey levels (limit 16.0)" would be no reason.
    telling = (more for more in range(5) if scale.number(measure, more) != scale.number(limit, more))
    finer = next(telling, 0)
    value = scale.phrase(measure, finer)
    share = f", {getattr(measures, scale.clipped):.0%} of the pixels clipped" if scale.clipped else ""
    return f"{scale.wording} {value} (limit {scale.number(limit, finer)}){share}"


def _unmeasured(measurement: Measurement, preset: str, thresholds: dict[str, float]) -> Decision:
    return Decision(
        score=0.0,
        issues=(measurement.issue,),
        scores=dict.fromkeys(SCORE_NAMES, 0.0),
        measures={},
        preset=preset,
        thresholds=thresholds,
        scorer_version=scorer_with(measurement.readout),
        detail=measurement.detail,
    )
