"""What the tests with the world's file systems and clients share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.daemon_process import Ingest
from tests.world.mounts import KINDS


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of a kind; it is gone with the test."""
    with ExitStack() as stack:

        def mount(kind: str) -> Path:
            (tmp_path / kind).mkdir()
            return stack.enter_context(KINDS[kind](tmp_path / kind))

        yield mount


@pytest.fixture
def ingest(mounted: object, tmp_path: Path) -> Iterator[Callable[..., Ingest]]:
    """Make root folders whose daemons end with the test, before what is mounted does."""
    made: list[Ingest] = []

    def make(**settings) -> Ingest:
        made.append(Ingest(tmp_path / "root", **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()
