"""Fixtures for the service."""

import pytest

from tests.helpers.pipeline_bench import Bench


@pytest.fixture
def bench(tmp_path):
    """Give a bench whose log is closed at the end."""
    made = Bench(tmp_path)
    yield made
    made.audit.close()
