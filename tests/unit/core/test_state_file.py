"""Small files that older and newer versions of the program read."""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imageguard_daemon.core import files
from imageguard_daemon.core.files import atomic_write
from imageguard_daemon.core.state_file import StateFile, as_key, path_of_key


@dataclass(frozen=True)
class Part:
    """A part of a state."""

    name: str
    share: float = 0.5


@dataclass(frozen=True)
class State:
    """What a program says of itself."""

    process_id: int
    parts: tuple[Part, ...] = ()
    reasons: dict[str, int] = field(default_factory=dict)
    other: dict[str, object] | None = None


FILE = StateFile("state.json", State)
FULL = State(7, (Part("a\udce9", 1), Part("b")), {"blurry": 2}, {"x": [1]})


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    assert FILE.read(tmp_path) is None
    FILE.write(tmp_path, FULL)
    assert FILE.read(tmp_path) == FULL
    assert FILE.read_plain(tmp_path) == json.loads((tmp_path / "state.json").read_bytes())
    assert os.listdir(tmp_path) == ["state.json"]


def test_a_file_of_another_version_is_read_without_what_only_that_knows(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"process_id": 7, "new": [1], "parts": [{"name": "a", "age": 3}]}')
    assert FILE.read(tmp_path) == State(7, (Part("a"),))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{half",
        "[]",
        "{}",
        "1",
        '{"process_id": "7"}',
        '{"process_id": 7, "parts": [1]}',
        '{"process_id": 7, "parts": {}}',
    ],
)
def test_a_damaged_file_counts_as_none_and_it_is_said_why(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    reasons: list[str] = []
    assert FILE.read(tmp_path, reasons.append) is None
    assert [why.partition(" ")[0] for why in reasons] == [str(tmp_path / "state.json")]


def test_a_mapping_of_paths_keeps_their_bytes(tmp_path: Path) -> None:
    places: StateFile[dict[str, tuple[int, int]]] = StateFile("places.json", dict[str, tuple[int, int]])
    path = os.fsdecode(b"/srv/caf\xe9/\xff")
    places.write(tmp_path, {as_key(path): (1, 2)}, durable=True)
    assert {path_of_key(key): value for key, value in (places.read(tmp_path) or {}).items()} == {path: (1, 2)}
    (tmp_path / "places.json").write_text('{"/srv": [1]}')
    assert places.read(tmp_path) is None


def test_on_a_full_disk_it_is_written_into_the_space_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is when people look; where there was no file there is none, and nothing is raised."""

    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(28, "No space left on device")

    FILE.write(tmp_path, FULL)
    monkeypatch.setattr("imageguard_daemon.core.state_file.atomic_write", full)
    FILE.write(tmp_path, State(8))
    FILE.write(tmp_path / "missing", State(9))
    assert FILE.read(tmp_path) == State(8)


def test_small_content_is_replaced_in_one_step_or_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process left is no hindrance, and a failure leaves nothing behind."""
    path = tmp_path / "token"
    (tmp_path / "token.new").symlink_to(tmp_path / "elsewhere")
    atomic_write(path, b"old", durable=True, mode=0o600)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"old", 0o600)

    def refuse(*_paths: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["token"]
