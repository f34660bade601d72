"""Filed files of which only the time has changed."""

from pathlib import Path

import pytest

from imageguard_daemon.daemon import comparing
from imageguard_daemon.daemon.comparing import Comparing
from tests.helpers.records import intent


def test_a_large_file_is_compared_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop reads a little at each step, and goes on with its other work in between; an error is an answer, too."""
    monkeypatch.setattr(comparing, "SECONDS_PER_STEP", 0.0)
    line: Comparing[str] = Comparing()
    for name, data in (("same", bytes(3 << 20)), ("other", bytes(2 << 20)), ("longer", bytes(1 << 20)), ("gone", b"")):
        path = tmp_path / name
        path.write_bytes(data)
        line.begin(name, str(path), intent(path, path))
    (tmp_path / "other").write_bytes(b"x" * (2 << 20))
    (tmp_path / "longer").write_bytes(bytes(3 << 20))
    (tmp_path / "gone").unlink()
    answers = [line.step() for _ in range(10)]
    assert answers[:3] == [[], [], []]
    found = [one for step in answers for one in step]
    assert found[:3] == [("same", True), ("other", False), ("longer", False)]
    assert isinstance(found[3][1], FileNotFoundError)
    assert not line
