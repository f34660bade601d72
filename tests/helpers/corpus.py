"""Real images that are too many for the repository: IMAGEGUARD_CORPUS names the folder, tests without it skip."""

import os
from pathlib import Path


def corpus(name: str) -> Path:
    """Give a folder of the corpus; one that does not exist where no corpus is named."""
    return Path(os.environ.get("IMAGEGUARD_CORPUS") or "/no-corpus-is-named") / name


WHY_SKIPPED = "needs a corpus of real images, which IMAGEGUARD_CORPUS names"
