"""Rejected images to be reviewed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.rejections import Rejections


@pytest.fixture
def rejections(tmp_path: Path) -> Iterator[Rejections]:
    """A root with nothing filed yet."""
    made = Rejections(tmp_path / "root")
    yield made
    made.close()
