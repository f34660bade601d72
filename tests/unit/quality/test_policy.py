"""What is accepted, and what is said about the rest."""

import math
from dataclasses import replace

import pytest

from imageguard_daemon.core.model import SCORE_NAMES, Measurement, Measures
from imageguard_daemon.quality.policy import PRESETS, decide, overall_score, thresholds_for
from imageguard_daemon.quality.scoring import BANDS, LIMITS, SCALES
from imageguard_daemon.quality.version import SCORER_VERSION

GOOD = Measures(
    width=1200,
    height=900,
    blur_sigma_px=0.7,
    noise_sigma=2,
    jpeg_quality=92,
    enlargement=1,
    clipped_low=0,
    clipped_high=0,
    tone_low=10,
    tone_median=120,
    tone_high=240,
)


def decision_on(preset: str = "general", **changes: float):
    measurement = Measurement("00", measures=replace(GOOD, **changes))
    return decide(measurement, preset, thresholds_for(preset))


def test_a_good_image_is_accepted_without_words():
    """Nothing wrong means no issue, no reason, no detail, and all six scores."""
    decision = decision_on()
    assert decision.ok
    assert (decision.reason, decision.detail, decision.issues) == ("", "", ())
    assert decision.score == 1.0
    assert tuple(decision.scores) == SCORE_NAMES
    assert decision.scorer_version == SCORER_VERSION


@pytest.mark.parametrize(
    ("change", "issue", "words"),
    [
        ({"blur_sigma_px": 3.1}, "blurry", "blur of 3.1 px (limit 2.0)"),
        ({"noise_sigma": 18}, "noisy", "noise of 18.0 grey levels (limit 16.0)"),
        ({"jpeg_quality": 9}, "compressed", "looks like JPEG quality 9 (limit 20)"),
        ({"enlargement": 4}, "pixelated", "enlarged about 4.0 times (limit 2.0)"),
        ({"width": 150, "height": 100}, "low_resolution", "effective size of 15 kilopixels (limit 40)"),
        ({"width": 28, "height": 28}, "low_resolution", "effective size of 0.8 kilopixels (limit 40)"),
        ({"noise_sigma": 16.02}, "noisy", "noise of 16.02 grey levels (limit 16.00)"),
        ({"overexposure": 0.9, "clipped_high": 0.31}, "overexposed", "31% of the pixels clipped"),
        ({"underexposure": 0.9, "clipped_low": 0.4}, "underexposed", "40% of the pixels clipped"),
    ],
)
def test_each_issue_is_told_in_physical_units(change, issue, words):
    """A rejected image says what was measured and where the limit is."""
    decision = decision_on(**change)
    assert decision.reason == issue
    assert words in decision.detail
    assert decision.score < 0.5


def test_the_most_severe_issue_comes_first():
    """The reason is the signal furthest below its threshold, relative to it."""
    assert decision_on(blur_sigma_px=2.4, noise_sigma=38).issues == ("noisy", "blurry")
    assert decision_on(blur_sigma_px=7.5, noise_sigma=17).issues == ("blurry", "noisy")


def test_enlargement_takes_pixels_away():
    """A large file without large content is of low resolution."""
    assert "low_resolution" in decision_on(enlargement=6).issues


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.08, 1.149])
def test_an_enlargement_that_cannot_be_proved_counts_as_none(factor):
    """A factor below 1.15, from the readout or from a record, costs neither pixels nor score, and is told as 1."""
    decision = decision_on(enlargement=factor, width=640, height=480)
    assert decision.scores == decision_on(width=640, height=480).scores
    assert decision.measures["enlargement"] == 1.0
    assert Measures(**{**decision.measures, "enlargement": factor}).effective_pixels == 640 * 480
    assert decision_on(enlargement=1.15).measures["enlargement"] == 1.15


_SIZES = (224, 256, 299, 320, 384, 416, 448, 512, 640)
_SMALLEST = {"general": 224, "detection": 320, "segmentation": 320, "fine_grained": 384}


@pytest.mark.parametrize(
    ("preset", "side"), [(p, side) for p, least in _SMALLEST.items() for side in _SIZES if side >= least]
)
def test_the_usual_sizes_of_training_pass_with_slack(preset, side):
    """Square crops of the sizes that networks take are large enough for each preset meant for them, and 3 % less."""
    assert decision_on(preset, width=side, height=side).ok
    less = int(side * 0.97)
    assert decision_on(preset, width=less, height=less, enlargement=1.14).ok


@pytest.mark.parametrize("issue", ["corrupt", "unsupported", "too_large"])
def test_what_could_not_be_measured_scores_zero(issue):
    """An unmeasured image has its issue as reason, zeros for scores and no measures."""
    decision = decide(Measurement("00", issue=issue, detail="why"), "general", thresholds_for("general"))
    assert (decision.issues, decision.detail, decision.score) == ((issue,), "why", 0.0)
    assert decision.measures == {}
    assert set(decision.scores.values()) == {0.0}


def test_stricter_presets_reject_more():
    """A blur that does for classification does not for fine-grained labels."""
    assert decision_on(blur_sigma_px=1.6).ok
    assert decision_on("fine_grained", blur_sigma_px=1.6).reason == "blurry"


@pytest.mark.parametrize("threshold", [0.0, 0.1, 40.0, 99.9, 100.0])
def test_a_score_equal_to_its_threshold_is_good(threshold):
    """Below the threshold is an issue, on it is none, at both ends of the scale too."""
    thresholds = dict.fromkeys(LIMITS, threshold)
    scores = {scale.measure: threshold for scale in SCALES}
    assert overall_score(scores, thresholds) >= 0.5
    if threshold:
        scores["underexposure"] = math.nextafter(threshold, 0)
        assert overall_score(scores, thresholds) < 0.5


def test_each_end_of_exposure_has_a_threshold():
    """Pages may be white without a dark picture passing; exposure_score sets what is not named by itself."""
    white, dark = {"overexposure": 0.9}, {"underexposure": 0.9}

    def reasons(**thresholds: float) -> list[str]:
        in_force = thresholds_for("general", thresholds)
        return [decide(Measurement("", replace(GOOD, **one)), "general", in_force).reason for one in (white, dark)]

    assert reasons(overexposure_score=0) == ["", "underexposed"]
    assert reasons(underexposure_score=0) == ["overexposed", ""]
    assert reasons(exposure_score=0) == ["", ""]
    assert reasons(exposure_score=0, underexposure_score=40) == ["", "underexposed"]
    assert thresholds_for("general", {"overexposure_score": 10})["exposure_score"] == 40.0


@pytest.mark.parametrize(
    ("changes", "borderline"),
    [
        ({}, False),
        ({"blur_sigma_px": 1.9}, True),  # accepted at 44 points, 4 above the limit
        ({"blur_sigma_px": 1.7}, False),
        ({"blur_sigma_px": 2.1}, True),
        ({"blur_sigma_px": 3.0}, False),
        ({"blur_sigma_px": 2.1, "noise_sigma": 38}, False),  # noise decides, and is beyond doubt
        ({"width": 201, "height": 200}, False),  # sizes are facts
        ({"width": 199, "height": 200}, False),
        ({"overexposure": 0.45}, True),
        ({"underexposure": 0.55}, True),
    ],
)
def test_a_decision_is_borderline_where_its_deciding_signal_is_in_doubt(changes, borderline):
    """Of a rejected image its reason counts, of an accepted one whatever is nearest; the verdict stays."""
    assert decision_on(**changes).borderline is borderline


def test_the_published_presets_have_their_published_thresholds():
    """Four rows of six numbers are quoted elsewhere, and stay."""
    rows = {name: tuple(row.values()) for name, row in PRESETS.items()}
    assert rows["general"] == (40, 60, 30, 40, 50, 50)
    assert rows["fine_grained"] == (60, 75, 40, 40, 50, 50)
    assert rows["detection"] == (50, 70, 35, 40, 50, 50)
    assert rows["segmentation"] == (55, 70, 40, 40, 50, 50)


@pytest.mark.parametrize("side", [28, 32, 64, 128])
def test_small_images_may_be_small(side):
    """What is small by design is not of low resolution in the preset for it, and is in the others."""
    assert decision_on("small_images", width=side, height=side).ok
    assert decision_on("general", width=side, height=side).reason == "low_resolution"


def test_documents_may_be_white_but_neither_washed_out_nor_black():
    """Only over-exposure is lenient, and not for everything."""
    assert decision_on("documents", overexposure=0.75).ok
    assert decision_on("documents", overexposure=0.9).reason == "overexposed"
    assert decision_on("documents", underexposure=0.6).reason == "underexposed"
    assert decision_on("general", overexposure=0.75).reason == "overexposed"


def test_a_check_that_is_off_makes_nothing_borderline():
    """With a threshold of 0 nothing could have been rejected."""
    measurement = Measurement("", replace(GOOD, overexposure=0.99))
    assert not decide(measurement, "general", thresholds_for("general", {"overexposure_score": 0})).borderline
    assert not decide(Measurement("", issue="blank"), "general", thresholds_for("general")).borderline


def test_every_scale_has_a_band():
    """The bands are of the scales there are, and the fact among them has none."""
    assert set(BANDS) == {scale.measure for scale in SCALES}
    assert BANDS["effective_pixels"] == (0, 0)


def test_what_is_told_of_an_end_is_its_own_limit():
    """The limit in words is that of the end that rejects."""
    in_force = thresholds_for("general", {"underexposure_score": 80})
    decision = decide(Measurement("", replace(GOOD, overexposure=0.3, underexposure=0.3)), "general", in_force)
    assert decision.detail == "under-exposure of 0.30 (limit 0.17), 0% of the pixels clipped"


def test_threshold_names_are_checked_with_a_suggestion():
    """A mistyped name is refused and the right one proposed."""
    with pytest.raises(ValueError, match="blur_score"):
        thresholds_for("general", {"blurr_score": 3})
    with pytest.raises(ValueError, match="general"):
        thresholds_for("generall")


@pytest.mark.parametrize("value", [-0.1, 100.1, math.nan, math.inf])
def test_threshold_values_are_checked(value):
    """A threshold no score can be compared with is refused."""
    with pytest.raises(ValueError, match="within 0 and 100"):
        thresholds_for("general", {"blur_score": value})


@pytest.mark.parametrize("value", ["40", None, True])
def test_threshold_types_are_checked(value):
    """A threshold that is no number is refused."""
    with pytest.raises(TypeError, match="blur_score"):
        thresholds_for("general", {"blur_score": value})


def test_overrides_leave_the_preset_alone():
    """Thresholds are copies; presets cannot be changed by accident."""
    changed = thresholds_for("general", {"blur_score": 55})
    assert changed["blur_score"] == 55.0
    assert thresholds_for("general")["blur_score"] == PRESETS["general"]["blur_score"] == 40.0
    with pytest.raises(TypeError):
        PRESETS["general"]["blur_score"] = 1
