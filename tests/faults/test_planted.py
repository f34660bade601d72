"""The mistakes of `python -m tests.faults planted` can still be planted; that each is seen takes minutes."""

import pytest

from tests.faults import planted


@pytest.mark.parametrize("mistake", planted.MISTAKES, ids=lambda mistake: mistake.what)
def test_a_mistake_can_be_planted(mistake):
    """What it makes wrong is in the package, once, and the tests that must see it are there."""
    assert (planted.ROOT / "imageguard_daemon" / mistake.file).read_text().count(mistake.right) == 1
    file, _, test = mistake.tests.partition("::")
    assert f"def {test}" in (planted.ROOT / file).read_text()
