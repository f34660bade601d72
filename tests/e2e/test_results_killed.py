"""SIGKILL while results are written: whatever system call it hits, there is the old file or the new one.

All calls of the writing itself are in tests/unit/test_writing.py; here whole commands are killed at some of theirs.
"""

import json
import random
import re
import shutil
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.daemon_process import COMMAND, command
from tests.faults.requirements import need_strace
from tests.helpers.images import jpeg, photo

_EFFECTS = ("ftruncate", "write", "fsync", "rename")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images, and results of one of them in all forms: what a killed run must not spoil."""
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    need_strace()
    folder = tmp_path / "data" / "cat"
    folder.mkdir(parents=True)
    for number in (1, 2):
        (folder / f"{number}.jpg").write_bytes(jpeg(photo(280, 200, number)))
    return folder.parent


def _names(path: Path) -> list[str]:
    """Give the names in a result, read as a whole."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return sorted(Path(row["path"]).name for row in parquet.read_table(path).to_pylist())
    lines = path.read_text().splitlines()
    if path.suffix == ".csv":
        return sorted(Path(line.split(",")[0]).name for line in lines[1:])
    return sorted(Path(json.loads(line)["path"]).name for line in lines)


def _traced(arguments: list[object], places: list[Path], *options: str) -> subprocess.CompletedProcess[str]:
    paths = [word for place in places for word in ("-P", str(place))]
    words = ["strace", "-f", "-qq", *paths, *options, *COMMAND, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=150)


def _points(told: str, renames: int) -> list[tuple[str, int]]:
    """Give the last rename of those that must be among the calls that were made, and one of all others."""
    counts = Counter(re.findall(r"^(?:\[pid +\d+\] )?(\w+)\(", told, re.MULTILINE))
    assert counts["rename"] == renames, told
    others = [(call, number) for call in _EFFECTS for number in range(1, counts[call] + (call != "rename"))]
    return [("rename", renames), *random.sample(others, 1)]


def test_a_killed_scan_leaves_old_results_or_new_ones(data, tmp_path):
    """CSV, JSON lines and Parquet: each is of one piece after a kill wherever it hits, and the next run makes all."""
    outputs = [tmp_path / "out.csv", tmp_path / "out.jsonl", tmp_path / "out.parquet"]
    arguments = ["scan", data, "--state", tmp_path / "state", "--workers", "1"]
    for path in outputs:
        arguments += [f"--{path.suffix[1:]}", path]
    second = data / "cat/2.jpg"
    second.rename(tmp_path / "2.jpg")
    assert command(*arguments).returncode == 0
    old = {path: path.read_bytes() for path in outputs}
    (tmp_path / "2.jpg").rename(second)
    places = [*outputs, *(path.with_name(f".imageguard-{path.name}.part") for path in outputs)]
    made = _traced(arguments, places, "-e", f"trace={','.join(_EFFECTS)}")
    new = 0
    for call, number in _points(made.stderr, 3):
        for path, content in old.items():
            path.write_bytes(content)
        killed = _traced(arguments, places, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
        assert killed.returncode == -signal.SIGKILL, (call, number, killed.stderr)
        for path in outputs:
            if path.read_bytes() != old[path]:
                assert _names(path) == ["1.jpg", "2.jpg"], (call, number, path)
                new += 1
    assert new  # of the last rename
    assert command(*arguments).returncode == 0
    assert [_names(path) for path in outputs] == [["1.jpg", "2.jpg"]] * 3
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"data", "state", *(path.name for path in outputs)} | (left & {"state-wal", "state-shm"})


def test_a_killed_export_leaves_the_old_manifest_or_the_new(data, tmp_path):
    """A manifest that is there is a whole one."""
    results, output = tmp_path / "results.jsonl", tmp_path / "list"
    assert command("scan", data, "--jsonl", results).returncode == 0
    arguments = ["export", "--from", results, "--to", "list", "--overwrite", "--output", output]
    places = [output, tmp_path / ".imageguard-list.part"]
    made = _traced(arguments, places, "-e", f"trace={','.join(_EFFECTS)}")
    new = output.read_bytes()
    assert len(new.splitlines()) == 2, made.stderr
    for call, number in _points(made.stderr, 1):
        output.write_bytes(b"old\n")
        killed = _traced(arguments, places, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
        assert killed.returncode == -signal.SIGKILL, (call, number, killed.stderr)
        assert output.read_bytes() in {b"old\n", new}, (call, number)


def test_a_killed_back_fill_counts_nothing_as_done_that_is_not(data, tmp_path):
    """A shard that is there is whole; the same command again comes to the same end."""
    out, listed = tmp_path / "out", tmp_path / "list"
    listed.write_text(f"{data}/cat/1.jpg\n{data}/cat/2.jpg\n")
    arguments = ["backfill", "--manifest", listed, "--out", out, "--executor", "thread", "--workers", "1"]
    names = ("000000/shard-000000000.parquet", "_backfill.json")
    places = [out / name for name in names]
    places += [(out / name).with_name(f".imageguard-{(out / name).name}.part") for name in names]
    made = _traced(arguments, places, "-e", f"trace={','.join(_EFFECTS)}")
    for call, number in _points(made.stderr, 3):
        shutil.rmtree(out)
        killed = _traced(arguments, places, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}")
        assert killed.returncode == -signal.SIGKILL, (call, number, killed.stderr)
        again = command(*arguments, "--format", "json")
        assert again.returncode == 0, (call, number, again.stderr)
        assert json.loads(again.stdout)["is_complete"]
        assert _names(out / names[0]) == ["1.jpg", "2.jpg"]
