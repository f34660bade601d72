"""`backfill --dask` on a cluster of real processes."""

import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e.daemon_process import COMMAND, command, wait_until
from tests.helpers.dask_cluster import DaskCluster
from tests.helpers.images import blurred, jpeg, photo

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="needs the extra `dask`")  # slow to import
IMAGES = 320


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of small images in two classes; one is damaged, one is missing."""
    folder = tmp_path_factory.mktemp("images")
    contents = [jpeg(photo(280, 200, 0)), jpeg(photo(280, 200, 1)), jpeg(blurred(photo(280, 200, 1), 6))]
    paths = []
    for number in range(IMAGES):
        path = folder / ("cat" if number % 2 else "dog") / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[number % 3][: 1500 if number == 7 else None])
        paths.append(f"{path}\n")
    (folder / "dog/0.jpg").unlink()
    (folder / "list.txt").write_text("".join(paths))
    return folder / "list.txt"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """Two workers and their scheduler."""
    with DaskCluster(tmp_path_factory.mktemp("cluster"), 2) as started:
        yield started


def _arguments(listed: Path, out: Path, *further: str) -> list[str]:
    return ["backfill", "--manifest", str(listed), "--out", str(out), "--shard-size", "10", *further]


def _rows(out: Path) -> list[dict]:
    from pyarrow import dataset

    return dataset.dataset(out, format="parquet").to_table().sort_by("row").to_pylist()


def _results(out: Path) -> int:
    return len(list(out.rglob("*.parquet")))


def test_a_cluster_that_loses_a_worker_gives_what_this_machine_gives(cluster, listed, tmp_path):
    """With a worker killed in the middle, the rows are those of a local run, each once, to the last digit."""
    process = subprocess.Popen(
        [*COMMAND, *_arguments(listed, tmp_path / "far", "--dask", cluster.address)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: _results(tmp_path / "far") >= 2 and cluster.is_scoring(2), "the first results")
    cluster.kill_one()
    assert _results(tmp_path / "far") < IMAGES / 10
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 66, errors
    told = [line for line in errors.splitlines() if not line.endswith("in work")]  # which comes once a minute
    assert len(told) == 2, errors  # the missing file, and how to go on
    near = command(*_arguments(listed, tmp_path / "near", "--executor", "thread"))
    assert near.returncode == 66
    rows = _rows(tmp_path / "far")
    assert [row["row"] for row in rows] == list(range(IMAGES))
    assert rows == _rows(tmp_path / "near")
    assert [row["row"] for row in rows if row["reason"] == "corrupt"] == [7]
    assert [row["row"] for row in rows if row["error"]] == [0]


def test_a_worker_of_another_version_is_found_before_anything_is_scored(cluster, listed, tmp_path):
    """Which worker it is and which versions there are is told in a sentence; nothing is mixed."""
    (tmp_path / "sitecustomize.py").write_text(
        "import imageguard_daemon.quality.version as version\nversion.SCORER_VERSION = '0'\n"
    )
    (tmp_path / "list.txt").write_text(
        listed.read_text().splitlines()[1] + "\n"
    )  # each try before it is there is short
    older = cluster.add_worker(PYTHONPATH=str(tmp_path))
    arguments = _arguments(tmp_path / "list.txt", tmp_path / "out", "--dask", cluster.address)
    try:
        wait_until(lambda: "with scorer 0, and this command" in command(*arguments).stderr, "the older worker")
        refused = command(*arguments)
        assert refused.returncode == 69
        assert refused.stderr.startswith("error: the Dask worker tcp://127.0.0.1:")
    finally:
        older.terminate()
        older.wait(60)
        cluster.workers.remove(older)


def test_a_scheduler_that_goes_keeps_what_is_done(listed, tmp_path):
    """It is told within seconds, with the right code; without the cluster the same results are finished here."""
    out = tmp_path / "out"
    with DaskCluster(tmp_path, 1) as short_lived:
        process = subprocess.Popen(
            [*COMMAND, *_arguments(listed, out, "--dask", short_lived.address)], stderr=subprocess.PIPE, text=True
        )
        wait_until(lambda: _results(out) >= 2, "the first results")
        short_lived.scheduler.kill()
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 69, errors
        assert "what is done is kept, and the same command goes on from there" in errors
        assert "Traceback" not in errors
        done = _results(out)
        gone = command(*_arguments(listed, tmp_path / "none", "--dask", short_lived.address))
        assert gone.returncode == 69
        assert gone.stderr.startswith(f"error: no Dask scheduler at {short_lived.address}: ")
    assert 2 <= done < IMAGES / 10
    assert command(*_arguments(listed, out, "--executor", "thread")).returncode == 66
    assert [row["row"] for row in _rows(out)] == list(range(IMAGES))
