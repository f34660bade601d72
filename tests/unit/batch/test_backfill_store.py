"""Images and results in object stores, on their good and their bad days."""

from collections.abc import Iterator

import pytest

from imageguard_daemon.batch.backfill import store
from imageguard_daemon.batch.backfill.results import Results
from imageguard_daemon.batch.backfill.scoring import score_shard
from imageguard_daemon.batch.backfill.shards import Reading
from imageguard_daemon.batch.backfill.store import StoreError, fetch, is_url
from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.core.errors import StalledError, StorageError, UnavailableError
from tests.helpers.bad_store import BadStore, serving
from tests.helpers.images import jpeg, photo
from tests.helpers.shards import shard, terms

fsspec = pytest.importorskip("fsspec", reason="needs the extra `object-stores`")
pytest.importorskip("aiohttp", reason="needs the extra `object-stores`")
IMAGE = jpeg(photo(280, 200, 1))
IMPATIENT = Reading(at_a_time=4, timeout_seconds=0.5, attempts=3)


@pytest.fixture(scope="module")
def bad_store() -> Iterator[BadStore]:
    """One server for all tests."""
    with serving(IMAGE) as started:
        yield started


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> object:
    """An empty store in memory."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    return system


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(store, "_PAUSES", Backoff(0.001))


def test_objects_are_judged_as_files_are(memory, tmp_path):
    """The same bytes get the same row from a store as from a disk; what is not there is told."""
    memory.pipe_file("/bucket/cat/1.jpg", IMAGE)
    memory.pipe_file("/bucket/cat/empty.jpg", b"")
    (tmp_path / "1.jpg").write_bytes(IMAGE)
    (tmp_path / "empty.jpg").touch()
    names = ["memory://bucket/cat/1.jpg", "memory://bucket/cat/empty.jpg", "memory://bucket/cat/2.jpg"]
    names += [f"file://{tmp_path}/1.jpg", str(tmp_path / "empty.jpg")]
    there, there_empty, missing, here, here_empty = score_shard(shard(names))
    for one, other in ((there, here), (there_empty, here_empty)):
        differing = {name for name in one if one[name] != other[name]}
        assert differing <= {"path", "relative_path", "row", "mtime_ns"}
    assert there["sha256"] == here["sha256"]
    assert there["verdict"] == "accepted"
    assert missing["verdict"] is None
    assert "bucket/cat/2.jpg" in missing["error"]


def test_a_bad_day_of_the_store_costs_the_objects_concerned(bad_store):
    """Slow, refusing, cut off, endless or silent: each object is judged or has a reason, within its time."""
    names = ["ok", "flaky", "missing", "forbidden", "down", "cut", "hanging", "stalled", "endless", "empty"]
    rows = score_shard(shard([f"{bad_store.url}/{name}.jpg" for name in names], terms(IMPATIENT, max_megabytes=1)))
    by_name = dict(zip(names, rows, strict=True))
    assert by_name["ok"]["verdict"] == by_name["flaky"]["verdict"] == "accepted"
    assert by_name["empty"]["reason"] == "corrupt"
    assert (by_name["endless"]["reason"], by_name["endless"]["detail"]) == ("too_large", "more than 1 MB")
    errors = {name: row["error"] for name, row in by_name.items() if row["error"]}
    assert set(errors) == {"missing", "forbidden", "down", "cut", "hanging", "stalled"}
    assert errors["hanging"] == errors["stalled"] == "reading took longer than 0.5 s"
    assert "500" in errors["down"]
    assert "403" in errors["forbidden"]
    asked = {path.strip("/").removesuffix(".jpg"): times for path, times in bad_store.asked.items()}
    assert (asked["flaky"], asked["down"], asked["cut"]) == (3, 3, 3)
    assert (asked["missing"], asked["forbidden"], asked["endless"]) == (1, 1, 1)


def test_a_store_that_is_down_for_all_fails_the_shard(bad_store):
    """No row is written of an hour in which nothing could be read; the shard is tried again later."""
    with pytest.raises(StalledError, match="none of 3 images could be read"):
        score_shard(shard([f"{bad_store.url}/down.{number}" for number in range(3)], terms(IMPATIENT)))
    with pytest.raises(StoreError, match="Cannot connect"):
        fetch("http://127.0.0.1:9/1.jpg", 10)


def test_no_more_is_fetched_than_an_image_may_have(memory):
    """The limit on bytes holds before decoding, and before the rest is even sent."""
    memory.pipe_file("/bucket/large", bytes(5000))
    assert len(fetch("memory://bucket/large", 100)) == 100


@pytest.mark.parametrize("url", ["nosuch://bucket/1.jpg", "s4://x/y"])
def test_a_store_of_an_unknown_kind_is_told(url):
    """What is not installed or does not exist is named, as it concerns every image."""
    with pytest.raises(UnavailableError, match=url.partition(":")[0]):
        score_shard(shard([url]))


def test_urls_are_told_from_paths():
    """A colon in a name makes no URL; file:// is a file."""
    assert [is_url(one) for one in ("s3://a/b", "memory://x", "a:b", "/a://b", "file:///a", "C:/x")] == [
        *(True, True),
        *(False, False, False, False),
    ]


def test_results_in_a_store_are_what_they_are_in_a_folder(memory):
    """Objects under the same names, listed, read, described and removed in the same way."""
    results = Results("memory://bucket/results")
    with results.held():
        assert results.description() is None
        assert results.is_empty()
        for number in (0, 1, 1234):
            results.write(number, b"content")
        results.describe({"a": 1})
    assert memory.cat_file("/bucket/results/000001/shard-000001234.parquet") == b"content"
    assert [results.has(number) for number in (0, 2, 1234)] == [True, False, True]
    assert list(results.numbers()) == [0, 1, 1234]
    assert results.description() == {"a": 1}
    assert not results.is_empty()
    assert results.read(1) == b"content"
    results.remove(1)
    assert list(Results("memory://bucket/results").numbers()) == [0, 1234]


def test_results_that_a_store_does_not_take_are_told(bad_store):
    """A store that can only be read from is no place for results."""
    results = Results(f"{bad_store.url}/results")
    with pytest.raises(StorageError, match="cannot write http"):
        results.write(0, b"content")
