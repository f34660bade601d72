"""Fixtures for tests with the real command."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon_process import Ingest


@pytest.fixture
def ingest(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Ingest]]:
    """Make root folders whose daemons end with the test.

    `SPAWNED` in a module has them started as by people, where a test does not say otherwise of its own.
    """
    made: list[Ingest] = []
    usual = {"spawned": getattr(request.module, "SPAWNED", False)}

    def make(name: str = "ingest", **settings) -> Ingest:
        made.append(Ingest(tmp_path / name, **(usual | settings)))
        return made[-1]

    yield make
    for one in made:
        one.close()
