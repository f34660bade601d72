"""One launcher for all tests here, and folders for each."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.launching import Launcher
from tests.faults.requirements import need


@pytest.fixture(scope="session")
def session_launcher() -> Iterator[Launcher]:
    """Load everything once."""
    with Launcher() as launcher:
        yield launcher


@pytest.fixture
def launcher(session_launcher: Launcher) -> Iterator[Launcher]:
    """Start daemons that end with the test."""
    yield session_launcher
    session_launcher.end_all()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that other accounts can get into, as they cannot into pytest's."""
    with tempfile.TemporaryDirectory(prefix="imageguard-faults-") as folder:
        yield Path(folder)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """Give a folder on another device than `tmp_path`."""
    memory = Path("/dev/shm")
    need(memory.is_dir() and os.stat(memory).st_dev != os.stat(tmp_path).st_dev, "/dev/shm as a second file system")
    with tempfile.TemporaryDirectory(prefix="imageguard-faults-", dir=memory) as folder:
        yield Path(folder)
