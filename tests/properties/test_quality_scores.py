"""What holds for all scores, thresholds and decisions."""

import math

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.core.model import EXPOSURE_LIMITS, SCORE_NAMES, THRESHOLD_NAMES, Measurement, Measures
from imageguard_daemon.quality.policy import PRESETS, decide, overall_score, thresholds_for, with_overrides
from imageguard_daemon.quality.scoring import LIMITS, SCALES, scores_by_threshold

scores = st.one_of(st.floats(0, 100), st.sampled_from([0.0, 40.0, 50.0, 60.0, 100.0]))
six = st.fixed_dictionaries(dict.fromkeys(SCORE_NAMES, scores))
by_measure = st.fixed_dictionaries({scale.measure: scores for scale in SCALES})
by_limit = st.fixed_dictionaries(dict.fromkeys(LIMITS, scores))
overrides = st.dictionaries(st.sampled_from(THRESHOLD_NAMES), scores)
positive = st.floats(0, 1e9)
shares = st.floats(0, 1)
measures = st.builds(
    Measures,
    width=st.integers(1, 100_000),
    height=st.integers(1, 100_000),
    blur_sigma_px=positive,
    noise_sigma=positive,
    jpeg_quality=st.floats(1, 100),
    enlargement=st.floats(1, 20),
    clipped_low=shares,
    clipped_high=shares,
    tone_low=st.floats(0, 255),
    tone_median=st.floats(0, 255),
    tone_high=st.floats(0, 255),
    overexposure=shares,
    underexposure=shares,
)


@given(st.sampled_from(SCALES), positive, positive)
def test_scores_are_monotone_in_their_measure(scale, first, second):
    """A worse measure never has a better score."""
    worse_is_larger = scale.anchors[0][1] < scale.anchors[-1][1]
    better, worse = sorted((first, second), reverse=not worse_is_larger)
    assert 0 <= scale.score(worse) <= scale.score(better) <= 100


@given(st.sampled_from(SCALES), scores)
def test_the_limit_is_the_measure_with_that_score(scale, score):
    """The limit told to a person is where the verdict really changes."""
    assert math.isclose(scale.score(scale.limit(score)), score, abs_tol=1e-6)


@given(by_measure, by_limit)
def test_overall_score_is_half_exactly_at_the_thresholds(values, thresholds):
    """The overall score is at least 0.5 exactly when no score is below its threshold, at both ends of exposure."""
    ok = all(values[scale.measure] >= thresholds[scale.threshold] for scale in SCALES)
    overall = overall_score(values, thresholds)
    assert 0 <= overall <= 1
    assert (overall >= 0.5) == ok


@given(by_measure, by_limit, st.sampled_from([scale.measure for scale in SCALES]), scores)
def test_overall_score_is_monotone(values, thresholds, name, other):
    """Improving one signal never lowers the overall score."""
    low, high = sorted((values[name], other))
    worse = overall_score({**values, name: low}, thresholds)
    assert worse <= overall_score({**values, name: high}, thresholds)


@given(measures, st.sampled_from(sorted(PRESETS)), overrides)
def test_a_decision_agrees_with_itself(values, preset, thresholds):
    """`ok`, the issues, the reason and the overall score never contradict each other."""
    decision = decide(Measurement("00", measures=values), preset, thresholds_for(preset, thresholds))
    assert decision.ok == (decision.score >= 0.5) == (not decision.issues)
    in_force, found = decision.thresholds, scores_by_threshold(decision.scores, decision.measures)
    assert decision.ok == all(found[name] >= in_force[name] for name in LIMITS)
    assert in_force["exposure_score"] == max(in_force[name] for name in EXPOSURE_LIMITS)
    assert decision.scores["exposure_score"] == min(found[name] for name in EXPOSURE_LIMITS)
    assert set(decision.scores) == set(SCORE_NAMES)
    assert len(set(decision.issues)) == len(decision.issues)
    assert bool(decision.detail) != decision.ok


@given(st.sampled_from(sorted(PRESETS)), overrides, overrides)
def test_thresholds_say_the_same_when_read_back(preset, first, later):
    """What a record has in force is what it gives again; what is set later for all exposure goes for both ends."""
    in_force = thresholds_for(preset, first)
    assert thresholds_for(preset, in_force) == in_force == with_overrides(in_force, {})
    ends = {name: later.get(name, later["exposure_score"]) for name in EXPOSURE_LIMITS if "exposure_score" in later}
    assert ends.items() <= with_overrides(in_force, later).items()


@given(measures, by_limit, st.sampled_from(LIMITS), scores)
def test_a_stricter_threshold_never_accepts_more(values, thresholds, name, other):
    """Raising a threshold can only reject."""
    low, high = sorted((thresholds[name], other))
    measurement = Measurement("00", measures=values)
    lenient = decide(measurement, "general", thresholds_for("general", {**thresholds, name: low}))
    strict = decide(measurement, "general", thresholds_for("general", {**thresholds, name: high}))
    assert set(lenient.issues) <= set(strict.issues)
