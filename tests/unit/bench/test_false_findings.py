"""Findings are rarely wrong and rarely miss; `bench.findings` counts hundreds, these a few with fixed seeds."""

import pytest

from bench.findings import dealt_anew, false_kinds, found, is_told
from bench.streams import Stream, planted


@pytest.mark.parametrize("classes", [1, 20, 5_000])
@pytest.mark.parametrize("burst", [1, 3, 10])
@pytest.mark.parametrize(("rate", "day"), [(0.05, 0.0), (0.12, 0.3), (0.35, 0.3)])
def test_streams_without_a_pattern_have_no_findings(rate: float, day: float, burst: int, classes: int) -> None:
    """Whatever comes in bursts, on days that differ for all, or in thousands of classes: none of four is told of."""
    stream = Stream(rate=rate, burst=burst, day=day, classes=classes)
    assert false_kinds((stream.panel(seed) for seed in range(4)), rate)[""] == 0


@pytest.mark.parametrize("block", [1, 5, 20])
def test_verdicts_dealt_anew_have_no_findings(block: int) -> None:
    """Blocks of a bad quarter in another order: nothing but limits is above chance."""
    assert false_kinds((dealt_anew(seed, block) for seed in range(3)), 1.0)[""] == 0


@pytest.mark.parametrize("burst", [1, 3])
@pytest.mark.parametrize("name", planted())
def test_planted_patterns_are_told(name: str, burst: int) -> None:
    """Each pattern of realistic size is told by the finding that names it; with bursts in two of three streams."""
    pattern = planted(burst)[name]
    told = sum(is_told(pattern, found(pattern.stream.panel(seed))) for seed in range(2_000, 2_003))
    assert told >= (3 if burst == 1 else 1)


@pytest.mark.parametrize("name", planted())
def test_a_cause_is_told_once(name: str) -> None:
    """A pattern makes one finding of a kind that says where it is, not one for each group that it is seen in."""
    pattern = planted()[name]
    where = [one.subject for one in found(pattern.stream.panel(7)) if one.where or one.kind.endswith("got_worse")]
    assert len(where) <= (2 if "two" in name else 1) + ("mostly" in name), where
