"""What the tests of containers share."""

import os
from pathlib import Path

import pytest

from tests.helpers import images

ACCOUNT = 10001
"""The image's own."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Give a root that belongs to the image's account, with a good and a bad image in its inbox."""
    tmp_path.chmod(0o755)
    folder = tmp_path / "ingest"
    (folder / "inbox/cat").mkdir(parents=True)
    (folder / "inbox/cat/good.jpg").write_bytes(images.jpeg(images.photo()))
    (folder / "inbox/cat/bad.jpg").write_bytes(images.jpeg(images.blurred(images.photo(), 6.0)))
    for path in (folder, *folder.rglob("*")):
        os.chown(path, ACCOUNT, ACCOUNT)
    return folder
