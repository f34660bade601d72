"""The log itself: made by its migrations, as by a daemon."""

import pytest


@pytest.fixture(autouse=True, scope="module")
def _new_logs():
    """Replaces the short cut of all other tests."""
