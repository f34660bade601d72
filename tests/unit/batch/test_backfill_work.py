"""Whole back-fills of a few real images, on threads: what is kept, what is made anew, what is refused."""

import io
import json
import shutil
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from imageguard_daemon.batch.backfill import dispatch, work
from imageguard_daemon.batch.backfill.results import make_result
from imageguard_daemon.batch.backfill.shards import ManifestRequest, ShardTask
from imageguard_daemon.batch.backfill.work import Backfill, BackfillRequest, status_of
from imageguard_daemon.batch.judging import Rules
from imageguard_daemon.batch.running import Result, run
from imageguard_daemon.core.errors import DataError, NoInputError, UnavailableError
from imageguard_daemon.quality.policy import thresholds_for
from tests.helpers.images import blurred, jpeg, photo
from tests.helpers.shards import terms

arrow = pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
IMAGES = 23


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small images in two classes, every third blurred."""
    folder = tmp_path_factory.mktemp("originals")
    contents = [jpeg(photo(280, 200, 1)), jpeg(photo(280, 200, 2)), jpeg(blurred(photo(280, 200, 1), 6))]
    for number in range(IMAGES):
        path = folder / ("cat" if number % 2 else "dog") / f"{number:02}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[number % 3])
    return folder


@pytest.fixture
def data(originals: Path, tmp_path: Path) -> Path:
    """A copy that a test may do with what it likes, and its manifest."""
    shutil.copytree(originals, tmp_path / "data")
    _list(tmp_path, IMAGES)
    return tmp_path


def _list(folder: Path, images: int) -> None:
    names = [f"data/{'cat' if number % 2 else 'dog'}/{number:02}.jpg" for number in range(images)]
    parquet.write_table(arrow.table({"path": names}), folder / "list.parquet")


def _request(data: Path, preset: str = "general", **options) -> BackfillRequest:
    rules = Rules(preset, thresholds_for(preset, None))
    manifest = ManifestRequest(str(data / "list.parquet"), root=str(data))
    return BackfillRequest(
        manifest, replace(terms(), rules=rules), str(data / "out"), 5, executor="thread", workers=2, **options
    )


def _run(data: Path, preset: str = "general", **options) -> Result:
    return _run_request(_request(data, preset, **options))


def _run_request(request: BackfillRequest) -> Result:
    return run(Backfill(request), Console(file=io.StringIO()))


def _rows(data: Path) -> list[dict]:
    from pyarrow import dataset  # loads pandas, too

    return dataset.dataset(data / "out", format="parquet").to_table().sort_by("row").to_pylist()


def _results(data: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (data / "out").rglob("*.parquet")}


def test_all_results_are_one_dataset_and_a_second_run_makes_none_of_them_again(data):
    """Each row of the manifest is there once; another run touches no result and tells the same."""
    first = _run(data)
    rows = _rows(data)
    assert [row["row"] for row in rows] == list(range(IMAGES))
    assert [row["reason"] for row in rows] == [("" if number % 3 < 2 else "blurry") for number in range(IMAGES)]
    assert first.summary.is_complete
    assert (first.summary.totals.total, first.summary.totals.rejected, first.summary.known) == (IMAGES, 7, 0)
    before = _results(data)
    assert len(before) == 5
    second = _run(data)
    assert _results(data) == before
    assert second.summary.known == IMAGES
    assert second.summary.totals.as_plain() == first.summary.totals.as_plain()
    told = status_of(str(data / "out"))
    description = json.loads((data / "out" / "_backfill.json").read_text())
    assert told.summary.totals.as_plain() == first.summary.totals.as_plain()
    assert told.summary.is_complete
    assert (description["is_complete"], description["rows_of_manifest"], description["shard_size"]) == (True, 23, 5)


def test_what_is_missing_is_all_that_is_made(data):
    """A result that is gone or damaged is made anew, and no other is touched."""
    _run(data)
    before = _results(data)
    (data / "out/000000/shard-000000001.parquet").unlink()
    damaged = data / "out/000000/shard-000000003.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert not status_of(str(data / "out")).summary.is_complete
    assert _run(data).summary.is_complete
    after = _results(data)
    assert {name for name in after if after[name] != before[name]} == {
        "shard-000000001.parquet",
        "shard-000000003.parquet",
    }
    assert [row["row"] for row in _rows(data)] == list(range(IMAGES))


def test_files_that_were_missing_are_judged_by_a_later_run_and_no_others(data):
    """Their rows say why they have no verdict; when the files are back, only those are looked at."""
    missing = [data / "data/dog/00.jpg", data / "data/cat/07.jpg"]
    for path in missing:
        path.rename(path.with_suffix(".away"))
    first = _run(data)
    assert not first.summary.is_complete
    assert first.unread.reasons == {"No such file or directory": 2}
    assert sorted(first.unread.examples, reverse=True) == [
        ("data/dog/00.jpg", "No such file or directory"),
        ("data/cat/07.jpg", "No such file or directory"),
    ]
    assert [row["row"] for row in _rows(data)] == list(range(IMAGES))
    assert [row["row"] for row in _rows(data) if row["error"]] == [0, 7]
    before = _results(data)
    assert not _run(data).summary.is_complete
    assert _results(data) == before  # nothing new, so nothing written
    missing[0].with_suffix(".away").rename(missing[0])
    for path in (data / "data/dog").iterdir():
        if path != missing[0]:
            path.write_bytes(b"never looked at again")
    _run(data)
    after = _results(data)
    assert {name for name in after if after[name] != before[name]} == {"shard-000000000.parquet"}
    assert [row["verdict"] for row in _rows(data)][:2] == ["accepted", "accepted"]
    assert [row["row"] for row in _rows(data) if row["error"]] == [7]


def test_a_manifest_that_has_grown_goes_on_and_one_that_has_changed_is_refused(data):
    """Rows at the end that fill new shards are simply new; other rows in a shard that is done are told, not mixed."""
    _list(data, 20)
    _run(data)
    _list(data, IMAGES)
    grown = _run(data)
    assert (grown.summary.is_complete, grown.summary.known, grown.summary.totals.total) == (True, 20, IMAGES)
    before = _results(data)
    _list(data, 22)
    with pytest.raises(DataError, match=r"shard 4 was made from other rows than the manifest has now.*--refresh"):
        _run(data)
    _list(data, 10)
    with pytest.raises(DataError, match="has become shorter: 3 results are of rows that it no longer has"):
        _run(data)
    assert _results(data) == before
    assert _run(data, refresh=True).summary.is_complete
    assert [row["row"] for row in _rows(data)] == list(range(10))


def test_other_terms_are_refused_and_told(data):
    """Another preset is no silent mixture: the message has both; --refresh makes all anew."""
    _run(data)
    before = _results(data)
    with pytest.raises(DataError, match=r"rules was preset general.*is preset fine_grained") as caught:
        _run(data, "fine_grained")
    assert "--refresh" in str(caught.value)
    assert _results(data) == before
    _run(data, "fine_grained", refresh=True)
    assert {row["preset"] for row in _rows(data)} == {"fine_grained"}


def test_a_folder_with_other_things_is_not_written_to(data):
    """Results get a folder of their own."""
    (data / "out").mkdir()
    (data / "out" / "labels.csv").touch()
    with pytest.raises(DataError, match="has other files and no back-fill"):
        _run(data)
    assert not _results(data)


def test_results_of_a_newer_version_are_left_alone(data):
    """Whoever cannot understand them does not touch them."""
    _run(data)
    description = data / "out" / "_backfill.json"
    description.write_text(description.read_text().replace('"format": 2', '"format": 3'))
    with pytest.raises(DataError, match="begun by a newer version"):
        _run(data)


def test_results_of_an_older_version_are_told_apart(data):
    """Those in which names were escaped are not mixed with new ones; it takes --refresh."""
    _run(data)
    description = data / "out" / "_backfill.json"
    description.write_text(description.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(DataError, match="format was 1, and is 2"):
        _run(data)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.99])
def test_a_damaged_result_is_told_by_status_and_mended_by_the_next_run(data, share):
    """A flipped bit in the rows or in the footer, or a zeroed block: it counts as done nowhere."""
    _run(data)
    path = data / "out/000000/shard-000000001.parquet"
    good = bytearray(path.read_bytes())
    at = int(len(good) * share)
    good[at : at + 1] = bytes([good[at] ^ 4])
    path.write_bytes(good)
    told = status_of(str(data / "out"))
    assert (list(told.failed), told.summary.is_complete) == ([1], False)
    result = _run(data)
    assert (result.summary.is_complete, result.summary.known) == (True, IMAGES - 5)
    assert status_of(str(data / "out")).summary.is_complete


def test_a_run_of_which_nothing_will_come_ends_soon(data, monkeypatch):
    """When the first images are all missing, most often --root is wrong: it says so."""
    monkeypatch.setattr(work, "_NONE_READ_ROWS", 10)
    shutil.rmtree(data / "data")
    with pytest.raises(
        NoInputError, match=r"none of the first 1\d images could be read \(No such file.*--root says where"
    ):
        _run(data)


def test_a_store_that_is_gone_ends_the_run_with_what_is_done(data, monkeypatch):
    """Shards that fail one after another are no work for a night: it ends, and says why."""
    monkeypatch.setattr(work, "_FAILED_IN_A_ROW", 3)
    request = _request(data)
    with pytest.raises(UnavailableError, match="nosuch"):
        _run_request(replace(request, manifest=replace(request.manifest, root="nosuch://bucket")))


def test_a_shard_that_hangs_is_scored_by_another_worker(data, monkeypatch):
    """When all others are long done, a second copy goes out; its result counts, and the run ends."""
    let_go, asked = threading.Event(), Counter()

    def hang_once(task: ShardTask) -> object:
        asked[task.shard.number] += 1
        if task.shard.number == 2 and asked[2] == 1:
            let_go.wait(60)
        return make_result(task)

    monkeypatch.setattr(dispatch, "make_result", hang_once)
    try:
        assert _run(data, linger_seconds=0.01).summary.is_complete
    finally:
        let_go.set()
    assert asked[2] == 2
    assert max(asked.values()) == 2
    assert [row["row"] for row in _rows(data)] == list(range(IMAGES))


def test_a_shard_that_fails_is_reported_and_a_later_run_finishes_it(data, monkeypatch):
    """Three attempts, then its reason; the others are done, and the next run makes what is missing."""

    def fail(task: ShardTask) -> object:
        if task.shard.number == 3:
            raise MemoryError("no more")
        return make_result(task)

    with monkeypatch.context() as patched:
        patched.setattr(dispatch, "make_result", fail)
        result = _run(data)
    assert (result.failed, result.summary.is_complete) == ({3: "MemoryError: no more"}, False)
    assert status_of(str(data / "out")).failed == {3: "MemoryError: no more"}
    assert sorted({row["row"] // 5 for row in _rows(data)}) == [0, 1, 2, 4]
    assert _run(data).summary.is_complete
    told = status_of(str(data / "out"))
    assert (told.failed, told.summary.is_complete) == ({}, True)


def test_a_status_of_nothing_is_told(tmp_path):
    """A folder without a back-fill is named."""
    with pytest.raises(NoInputError, match="no back-fill was begun there"):
        status_of(str(tmp_path))


def test_list_images_and_results_may_all_be_in_a_store(data):
    """By URL everything is as in folders: one run makes all, the next none, and the status is the same."""
    fsspec = pytest.importorskip("fsspec", reason="needs the extra `object-stores`")
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe_file("/bucket/list.parquet", (data / "list.parquet").read_bytes())
    for path in (data / "data").rglob("*.jpg"):
        memory.pipe_file(f"/bucket/{path.relative_to(data)}", path.read_bytes())
    request = _request(data)
    manifest = ManifestRequest("memory://bucket/list.parquet", root="memory://bucket")
    request = replace(request, manifest=manifest, out="memory://bucket/out")
    first, second = (_run_request(request) for _ in range(2))
    assert first.summary.is_complete
    assert (second.summary.known, second.summary.totals.as_plain()) == (IMAGES, first.summary.totals.as_plain())
    assert status_of("memory://bucket/out").summary.totals.as_plain() == first.summary.totals.as_plain()
    with fsspec.open("memory://bucket/out/000000/shard-000000004.parquet") as file:
        assert [row["row"] for row in parquet.read_table(file).to_pylist()] == [20, 21, 22]
    _run(data)
    assert [row["reason"] for row in _rows(data)] == [
        row["reason"]
        for number in range(5)
        for row in parquet.read_table(
            io.BytesIO(memory.cat_file(f"/bucket/out/000000/shard-00000000{number}.parquet"))
        ).to_pylist()
    ]
