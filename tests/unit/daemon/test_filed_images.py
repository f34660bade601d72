"""Lines about images leave room for the others."""

from imageguard_daemon.daemon.filed_images import LineBudget


def test_lines_about_images_are_bounded_and_counted():
    """So many in a window; how many were left out is told once, when the window is over."""
    budget = LineBudget(lines=3, window_seconds=30.0)
    assert [budget.take(now) for now in (0.0, 1.0, 2.0, 3.0, 29.0)] == [True, True, True, False, False]
    assert budget.take_left_out(29.5) == 0
    assert budget.take_left_out(30.0) == 2
    assert budget.take_left_out(31.0) == 0
    assert budget.take(31.0)
