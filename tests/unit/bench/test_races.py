"""Who swaps things between two steps of a move gets nothing moved but what was judged."""

import pytest

from bench.races import LinkedSite, NaiveSite, Site, run


@pytest.mark.parametrize(("site_type", "rounds"), [(Site, 250), (LinkedSite, 80)], ids=["renamed", "copied"])
def test_an_attacker_wins_no_round(site_type, rounds):
    """Swapped files, links and folders: only what was judged is published, nothing outside touched."""
    ends, wins = run(rounds, 11, site_type)
    assert not wins
    assert {"moved", "stayed"} <= set(ends)


def test_moving_by_path_loses_rounds():
    """The test of the test: the same attacker beats a move by path."""
    assert run(100, seed=11, site_type=NaiveSite)[1].total() >= 5
