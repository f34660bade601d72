"""Lines about images leave room for the others."""

import pytest

from imageguard_daemon.config import Logging
from imageguard_daemon.daemon.filed_images import ImageLog, LineBudget, Totals
from tests.helpers.records import Tree, intent, judged


def test_lines_about_images_are_bounded_and_counted():
    """So many in a window; how many were left out is told once, when the window is over."""
    budget = LineBudget(lines=3, window_seconds=30.0)
    assert [budget.take(now) for now in (0.0, 1.0, 2.0, 3.0, 29.0)] == [True, True, True, False, False]
    assert budget.take_left_out(29.5) == 0
    assert budget.take_left_out(30.0) == 2
    assert budget.take_left_out(31.0) == 0
    assert budget.take(31.0)


def test_the_rate_is_that_of_the_last_half_minute():
    """Old images don't count into the present rate."""
    totals = Totals()
    for second in range(10):
        totals.count("accepted", "", float(second))
    assert totals.images_per_second(10.0) == pytest.approx(1.0)
    totals.count("quarantined", "blurry", 100.0)
    assert totals.images_per_second(101.0) == pytest.approx(1.0)
    assert (totals.total, totals.reasons["blurry"]) == (11, 1)


def test_the_lines_that_a_flood_of_images_costs_are_counted(tmp_path, capsys):
    """Who reads the journal learns that lines are missing, how many, and where every image is."""
    tree = Tree(tmp_path)
    image_log = ImageLog(Logging(), LineBudget(lines=2, window_seconds=30.0))
    for _ in range(5):
        image_log.write(judged(intent(tree.arrive(), tree.accepted / "1.jpg")), 0.0)
    image_log.report_left_out(31.0)
    written = capsys.readouterr().out
    assert written.count("destination=") == 2
    assert "lines about images left out" in written
    assert "number=3" in written
