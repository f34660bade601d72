"""Rejected images judged again from recorded scores."""

import json
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.audit.counts import RecordedScores
from imageguard_daemon.core.model import THRESHOLD_NAMES
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.quality.scoring import ends_of_exposure
from imageguard_daemon.quality.version import SCORER_VERSION
from imageguard_daemon.reporting.simulation import Rules, judge_again
from tests.helpers.simulations import simulated


@dataclass
class Numbers:
    """Gives each row a number of its own."""

    last: int = 0

    def row(self, scores: tuple[object, ...], **other: str) -> RecordedScores:
        """Give a rejected image as the log has it."""
        self.last += 1
        values = {
            "source": "default",
            "class_name": "cat",
            "relative_path": f"cat/{self.last}.jpg",
            "verdict": "quarantined",
            "reason": "blurry",
            "preset": "general",
            "profile": json.dumps({"exposure_score": 40.0}),
            "scorer_version": SCORER_VERSION,
            "measures": "{}",
        } | other
        return RecordedScores(id=self.last, scores=scores, **values)  # type: ignore[arg-type]


def test_what_other_thresholds_accept_is_accepted_with_them() -> None:
    """One image just above the new threshold, one below; the thresholds that accepted it come along."""
    numbers = Numbers()
    rows = [numbers.row((35.0, 90.0, 90.0, 90.0, 90.0, 90.0)), numbers.row((25.0, 90.0, 90.0, 90.0, 90.0, 90.0))]
    made = judge_again(rows, Rules({"blur_score": 30.0}))
    assert dict(made.accepted) == {1: thresholds_for("general", {"blur_score": 30.0})}
    assert (made.still_rejected, made.total, made.reasons) == (1, 2, {"blurry": 1})


def test_what_cannot_be_judged_again_stays() -> None:
    """Nothing measured, a profile that is none, a text in place of a number: none of them is released."""
    numbers = Numbers()
    rows = [
        numbers.row((None,) * 6, reason="corrupt"),
        numbers.row((90.0,) * 6, profile="{"),
        numbers.row(("90",) * 6),
        numbers.row((90.0,) * 6, scorer_version="1"),
    ]
    made = judge_again(rows, Rules({"blur_score": 30.0}))
    assert list(made.accepted) == [4]
    assert (made.kept, made.unreadable, made.other_versions) == ({"corrupt": 1}, 2, 1)


scores = st.tuples(*[st.floats(0, 100)] * 6)
ends = st.fixed_dictionaries({"overexposure": st.floats(0, 1), "underexposure": st.floats(0, 1)})


@given(
    st.lists(st.tuples(scores, ends), max_size=8), st.dictionaries(st.sampled_from(THRESHOLD_NAMES), st.floats(0, 100))
)
def test_rejudge_accepts_exactly_what_simulate_says(
    found: list[tuple[tuple[float, ...], dict]], overrides: dict
) -> None:
    """The two commands never disagree."""
    numbers = Numbers()
    rows = [
        numbers.row(
            (*one[:3], min(ends_of_exposure(100.0, {**measured}).values()), *one[4:]), measures=json.dumps(measured)
        )
        for one, measured in found
    ]
    rules = Rules(overrides)
    assert len(judge_again(rows, rules).accepted) == simulated(rows, rules).overall.newly_accepted
