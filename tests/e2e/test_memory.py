"""Real shortage of memory: the kernel takes what holds the pixels, the daemon lives, and no verdict comes of it."""

import contextlib
import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.daemon_process import Ingest, wait_until
from tests.helpers.children import all_below
from tests.helpers.images import jpeg, large_png, photo

SPAWNED = True

_GROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))
_LIMITS = ("memory.max", "memory.limit_in_bytes")
LIMIT_BYTES = 330 << 20
"""Room for daemon, worker and decoder, and for no image of `SIDE` pixels."""
SIDE = 11_000


@pytest.fixture
def group() -> Iterator[tuple[Path, str]]:
    """A control group of memory, without a limit yet, and the name of its limit."""
    for parent, limit in itertools.product(_GROUPS, _LIMITS):
        folder = parent / f"imageguard-{os.getpid()}"
        if not os.access(parent, os.W_OK) or not (parent / "cgroup.procs").exists():
            continue
        folder.mkdir()
        has_limit = (folder / limit).exists()
        if has_limit:
            yield folder, limit
        wait_until(partial(_is_removed, folder), "its processes have ended")
        if has_limit:
            return
    pytest.skip("needs a control group of memory that may be made")


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@pytest.mark.timeout(400)
def test_out_of_memory_costs_the_decoder_and_no_image_its_verdict(tmp_path, group):
    """The daemon goes on and judges what fits; what does not stays in the inbox, and is said to."""
    folder, limit = group
    one = Ingest(tmp_path / "ingest", scoring={"workers": 1}, filing={"max_attempts": 1})
    process = one.start()
    try:
        wait_until((one.root / ".imageguard" / "status.json").exists, "it watches")
        _move(process.pid, folder / "cgroup.procs")
        (folder / limit).write_text(str(LIMIT_BYTES))
        one.put("huge.png", large_png(SIDE))
        wait_until(lambda: one.status()["failures"] or not (one.inbox / "huge.png").exists(), "it is given up", 300)
        assert (one.inbox / "huge.png").exists(), "it fitted: was something outside of the group?"
        assert process.poll() is None
        (failure,) = one.status()["failures"]
        assert failure["relative_path"] == "huge.png"
        assert "perhaps for lack of memory" in failure["error"]
        one.put("small.jpg", jpeg(photo(640, 480), 95))
        wait_until((one.accepted / "small.jpg").exists, "what fits is judged")
        assert (one.inbox / "huge.png").exists()
        assert one.stop() == 0
    finally:
        one.close()


def _move(pid: int, members: Path) -> None:
    """Move a process and all below it, also what one of them starts meanwhile."""
    while missing := {pid, *all_below(pid)} - {*map(int, members.read_text().split())}:
        for one in missing:
            with contextlib.suppress(ProcessLookupError):
                members.write_text(str(one))
