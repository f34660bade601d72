"""Figures are counted as they are defined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.labelled import Label
from bench.tally import Share, kind_figures, pair_shares, quality_share, rank_correlation, ranks, too_small
from bench.trials import Judged, PhotoTrials, Trial


def trial(badness: float, zone: str, issues: set[str], score: float) -> Trial:
    return Trial("gaussian", badness, zone, frozenset(issues), next(iter(sorted(issues)), ""), score)


def photo(*trials: Trial, issues: set[str] = frozenset(), pairs: tuple = (), qualities: tuple = ()) -> PhotoTrials:
    return PhotoTrials("a.jpg", frozenset(issues), trials, pairs, qualities)


def test_equal_values_share_their_ranks():
    """Ties have the mean of the ranks they take up."""
    assert ranks([5, 1, 5, 9]).tolist() == [1.5, 0, 1.5, 3]


def test_rank_correlation_of_known_sequences():
    """Values worked out by hand: 1 for the same order, -1 for the opposite, sqrt(3) / 2 with a tie of two in three."""
    assert rank_correlation([1, 2, 3], [10, 20, 30]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3], [1, 1, 2]) == pytest.approx(3**0.5 / 2)


def test_rank_correlation_where_there_is_nothing_to_rank():
    """A score that never moves is worth nothing; a single strength asks nothing."""
    assert rank_correlation([1, 2, 3], [7, 7, 7]) == 0
    assert rank_correlation([2], [7]) is None
    assert rank_correlation([], []) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_rank_correlation_is_symmetric_and_bounded(pairs: list[tuple[int, int]]):
    """It lies in -1 to 1, whichever of both comes first."""
    first, second = zip(*pairs, strict=True)
    found = rank_correlation(first, second)
    if found is not None and len(set(second)) > 1:
        assert -1 - 1e-9 <= found <= 1 + 1e-9
        assert found == pytest.approx(rank_correlation(second, first))


def test_a_kind_is_summed_up():
    """Recall and reason count fatal damage, false alarms harmless damage, and grey strengths only the ranking."""
    photos = [
        photo(
            trial(1, "pass", set(), 90),
            trial(2, "grey", {"noisy"}, 60),
            trial(3, "reject", {"blurry"}, 20),
            trial(4, "reject", {"a", "blurry"}, 10),
        ),
        photo(
            trial(1, "pass", {"noisy"}, 50),
            trial(2, "grey", set(), 50),
            trial(3, "reject", set(), 50),
            trial(4, "reject", {"noisy"}, 50),
        ),
    ]
    found = kind_figures("gaussian", photos)
    assert found.recall == Share(2, 4)
    assert found.reason_right == Share(1, 4)
    assert found.false_alarms == Share(1, 2)
    assert found.rank_correlation == pytest.approx(0.5)
    assert found.photos == 2


def test_an_issue_of_the_undamaged_photo_is_no_false_alarm():
    """What was wrong before is counted with the undamaged photos."""
    noisy_before = photo(trial(1, "pass", {"noisy"}, 80), issues={"noisy"})
    assert kind_figures("gaussian", [noisy_before]).false_alarms == Share(0, 1)


def test_a_pair_is_found_only_if_both_are():
    """One of two faults is half the truth and counts as none."""
    pair = ("defocus", "high ISO")
    photos = [photo(pairs=((pair, frozenset(issues)),)) for issues in ({"blurry", "noisy"}, {"blurry"}, {"noisy"})]
    assert pair_shares(photos)[pair] == Share(1, 3)


def test_qualities_may_differ_by_one():
    """Rounding is no error; two is."""
    assert quality_share([photo(qualities=((50, 51.0), (50, 48.0), (90, 90.0)))]) == Share(2, 3)


def test_a_share_is_written_with_its_interval():
    """Few trials show as a wide interval; none show as a dash, and as null for programs."""
    assert str(Share(10, 10)) == "100 (72-100)"
    assert str(Share(0, 0)) == "-"
    assert Share(0, 0).as_dict()["share"] is None


def test_a_photo_that_is_too_small_by_its_header_is_no_wrong_rejection():
    """Size is a fact; only what was estimated can be wrong."""
    small, large, unmeasured = (
        Judged("a.jpg", Label.parse("good"), frozenset({"low_resolution"}), "low_resolution", pixels)
        for pixels in (39_000, 41_000, 0)
    )
    assert too_small([small, large, unmeasured]) == [small]
