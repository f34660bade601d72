"""More damage never makes a score better; whatever the pixels, the scores are numbers of 0 to 100."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.kinds import KINDS, Kind
from imageguard_daemon import validate
from imageguard_daemon.core.model import SCORE_NAMES, Decision
from imageguard_daemon.quality.scoring import SCALES
from tests.helpers.images import photo

ISSUES_OF_EXPOSURE = {scale.issue: scale for scale in SCALES if scale.signal == "exposure"}
TOLERANCE = 5.0
"""Points that a score may rise by although the damage grew: a readout is an estimate."""
LOST = 25.0
"""Below so many points an exposure is beyond doubt, and so little is left that it may look like a drawing."""
STEPS = 4
"""The range of strengths in steps of equal ratio; a step is a difference that people see."""


def series(kind: Kind, seed: int, offset: float) -> list[float]:
    """Give the scores of one scene, first undamaged, then ever more damaged by the same chance."""
    scene = photo(400, 300, seed)
    ratio = kind.severe / kind.mild
    strengths = [kind.mild * ratio ** ((step + offset) / STEPS) for step in range(STEPS)]
    copies = [kind.damaged(scene, strength, np.random.default_rng(seed)) for strength in strengths]
    return [score_of(kind, validate(rgb)) for rgb in (scene, *copies)]


def score_of(kind: Kind, decision: Decision) -> float:
    """Give the score the damage is about: a scene a little too bright may well gain from less light."""
    if kind.signal != "exposure":
        return decision.scores[f"{kind.signal}_score"]
    (issue,) = kind.issues & ISSUES_OF_EXPOSURE.keys()
    scale = ISSUES_OF_EXPOSURE[issue]
    return scale.score(decision.measures[scale.measure])


@pytest.mark.parametrize("name", KINDS)
@given(st.integers(0, 1000), st.floats(0, 1))
@settings(max_examples=12, derandomize=True)
def test_more_damage_never_raises_the_score_of_its_signal(name: str, seed: int, offset: float):
    """Each score falls, or stays within five points, from step to step of growing damage; a lost picture stays lost."""
    kind = KINDS[name]
    scores = series(kind, seed, offset)
    lost = LOST if kind.signal == "exposure" else 0.0
    bounds = [max(min(scores[: index + 1]) + TOLERANCE, lost) for index in range(len(scores))]
    assert all(score <= bound for score, bound in zip(scores, bounds, strict=True)), scores


@pytest.mark.parametrize("name", KINDS)
@given(st.integers(0, 1000))
@settings(max_examples=8, derandomize=True)
def test_the_worst_damage_costs_its_signal_half_of_the_score(name: str, seed: int):
    """A score that never fell could not rise: from undamaged to the worst it is below half."""
    undamaged, *_, worst = series(KINDS[name], seed, 1.0)
    assert worst < 0.5 * undamaged


def filled(kind: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.integers(0, 256, 2).tolist())
    if kind == "constant":
        return np.full(shape, low, np.uint8)
    if kind == "noise":
        return rng.integers(low, high + 1, shape, np.uint8)
    period = int(rng.integers(1, 40))
    index = np.indices(shape)[0 if kind == "rows" else 1 if kind == "columns" else slice(0, 2)]
    stripes = (index if index.ndim == len(shape) else index.sum(axis=0)) // period % 2
    return np.where(stripes, high, low).astype(np.uint8)


side = st.one_of(st.integers(1, 300), st.sampled_from([1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 64, 300]))


@given(
    st.sampled_from(["constant", "noise", "rows", "columns", "checks"]),
    side,
    side,
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=150)
def test_any_pixels_of_any_size_have_six_scores(kind: str, width: int, height: int, grey: bool, seed: int):
    """Constant, noisy and striped pictures of 1 to 300 px have six finite scores of 0 to 100, and finite measures."""
    decision = validate(filled(kind, (height, width) if grey else (height, width, 3), seed))
    assert tuple(decision.scores) == SCORE_NAMES
    assert all(math.isfinite(score) and 0 <= score <= 100 for score in decision.scores.values())
    assert all(math.isfinite(value) for value in decision.measures.values())
    assert decision.ok == (decision.score >= 0.5)
