"""`backfill` with real processes, real signals and a real full disk."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.daemon_process import COMMAND, command, wait_until
from tests.helpers.children import children
from tests.helpers.images import blurred, jpeg, photo

arrow = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
IMAGES = 400


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred small images in two classes, every fourth blurred, and the list of them."""
    folder = tmp_path_factory.mktemp("backfill")
    contents = [jpeg(photo(280, 200, seed)) for seed in range(3)]
    contents.append(jpeg(blurred(photo(280, 200, 1), 6)))
    paths = []
    for number in range(IMAGES):
        path = folder / ("cat" if number % 2 else "dog") / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[number % 4])
        paths.append(str(path))
    parquet.write_table(arrow.table({"path": paths}), folder / "list.parquet")
    return folder


def _arguments(images: Path, out: Path) -> list[str]:
    return [
        "backfill",
        "--manifest",
        f"{images}/list.parquet",
        "--out",
        str(out),
        "--shard-size",
        "20",
        "--workers",
        "2",
    ]


def _rows(out: Path) -> list[dict]:
    columns = ["row", "path", "verdict", "reason"]
    from pyarrow import dataset  # loads pandas, too

    return dataset.dataset(out, format="parquet").to_table(columns).sort_by("row").to_pylist()


def _results(out: Path) -> list[Path]:
    return sorted(out.rglob("*.parquet"))


def _begun(images: Path, out: Path) -> subprocess.Popen[str]:
    """Give a back-fill that has made its first results."""
    process = subprocess.Popen(
        [*COMMAND, *_arguments(images, out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(_results(out)) >= 2, "the first results")
    return process


def _is_shard_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return False


def test_a_back_fill_survives_a_killed_worker_an_interruption_and_a_kill(images, tmp_path):
    """A worker killed amid, Ctrl-C, and SIGKILL: in the end each row is there once, with the verdict of a scan."""
    out = tmp_path / "out"
    process = _begun(images, out)
    workers = [pid for pid in children(process.pid) if _is_shard_worker(pid)]
    os.kill(workers[0], signal.SIGKILL)
    done = len(_results(out))
    wait_until(lambda: len(_results(out)) > done + 1, "results after the loss of a worker")
    process.send_signal(signal.SIGINT)
    told, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "what was in work is lost; it goes out again" in errors
    assert "interrupted; run the same command again to resume" in errors
    assert "Traceback" not in errors
    assert "images judged so far" in told
    before = {path: path.stat().st_mtime_ns for path in _results(out)}
    assert len(before) < IMAGES / 20

    process = subprocess.Popen([*COMMAND, *_arguments(images, out)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: len(_results(out)) > len(before), "a further result")
    family = [process.pid, *children(process.pid)]
    process.kill()
    process.communicate()
    wait_until(lambda: not any(_is_alive(pid) for pid in family), "the end of its workers")

    last = command(*_arguments(images, out), "--format", "json")
    assert last.returncode == 0, last.stderr
    rows = _rows(out)
    assert [row["row"] for row in rows] == list(range(IMAGES))
    assert all(path.stat().st_mtime_ns == mtime for path, mtime in before.items())
    summary = json.loads(last.stdout)
    assert (summary["total"], summary["rejected"], summary["failed_shards"]) == (IMAGES, IMAGES // 4, {})
    assert {finding["kind"] for finding in summary["findings"]} >= {"mostly_blurry"}
    scanned = command(
        "scan", images, "--jsonl", "-", "--workers", 2, env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    )
    by_scan = {row["path"]: row["reason"] for row in map(json.loads, scanned.stdout.splitlines())}
    assert {row["path"]: row["reason"] for row in rows} == by_scan
    status = command("backfill", "status", "--out", out)
    assert f"{IMAGES} images judged in" in status.stdout
    assert status.stderr == ""


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_keeps_what_fits_and_the_next_run_does_the_rest(images, tmp_path):
    """It ends with the code for disks and a sentence; with more room the same command goes on."""
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", out], check=True)
    try:
        full = command(*_arguments(images, out), "--executor", "thread")
        assert full.returncode == 74, full.stderr
        assert "No space left on device" in full.stderr
        assert "Traceback" not in full.stderr
        kept = {path: path.stat().st_mtime_ns for path in _results(out)}
        assert kept
        subprocess.run(["mount", "-o", "remount,size=10m", out], check=True)
        assert command(*_arguments(images, out), "--executor", "thread").returncode == 0
        assert all(path.stat().st_mtime_ns == mtime for path, mtime in kept.items())
        assert len(_rows(out)) == IMAGES
        subprocess.run(["mount", "-o", "remount,ro", out], check=True)
        refused = command(*_arguments(images, out))
        assert refused.returncode == 77
        assert refused.stderr.startswith("error: cannot write")
    finally:
        subprocess.run(["umount", "-l", out], check=True)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 64, "--manifest and --out are needed"),
        (["--manifest", "nowhere.parquet", "--out", "out"], 66, "cannot read nowhere.parquet: No such file"),
        (["--manifest", "list.txt", "--out", "out", "--executor", "a.b:c"], 64, "--executor a.b:c: No module named"),
        (["status", "--out", "nowhere"], 66, "no back-fill was begun there"),
    ],
)
def test_what_cannot_begin_says_why(tmp_path, arguments, code, told):
    """A sentence on standard error, the right exit code, and no folder left behind by what was never begun."""
    (tmp_path / "list.txt").write_text("a.jpg\n")
    made = command("backfill", *arguments, cwd=tmp_path)
    assert made.returncode == code
    assert made.stderr.startswith("error: ")
    assert told in made.stderr
    assert not list(tmp_path.rglob("*.parquet"))
