"""Who swaps things between two steps of a move gets nothing moved but what was judged."""

from bench.races import NaiveSite, run


def test_an_attacker_wins_no_round():
    """Swapped files, links and folders: only what was judged is published, nothing outside touched."""
    ends, wins = run(250, seed=11)
    assert not wins
    assert {"moved", "stayed"} <= set(ends)


def test_moving_by_path_loses_rounds():
    """The test of the test: the same attacker beats a move by path."""
    assert run(100, seed=11, site_type=NaiveSite)[1].total() >= 5
