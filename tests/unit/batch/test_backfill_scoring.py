"""What one shard comes to, wherever it is scored."""

import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imageguard_daemon import validate
from imageguard_daemon.batch.backfill import scoring
from imageguard_daemon.batch.backfill.scoring import score_shard
from imageguard_daemon.batch.backfill.shards import RESULT_COLUMNS, Reading
from imageguard_daemon.batch.backfill.store import Read, ReadingHungError, read_all
from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import StalledError, UnavailableError
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.sandbox.client import BytesMeasurer
from tests.helpers.images import blurred, jpeg, photo
from tests.helpers.shards import shard, terms

HEIC = Path(__file__).parents[2] / "data" / "heic" / "photo.heic"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good, blurred, damaged and hostile images, and what is no image file at all."""
    made = tmp_path_factory.mktemp("images")
    good = photo(280, 200, 1)
    (made / "good.jpg").write_bytes(jpeg(good))
    (made / "blurred.jpg").write_bytes(jpeg(blurred(good, 6)))
    (made / "cut.jpg").write_bytes(jpeg(good)[:1500])
    (made / "text.jpg").write_text("no image")
    (made / "link.jpg").symlink_to("good.jpg")
    deadly = bytearray(HEIC.read_bytes())
    deadly[177] = 206  # libheif of pi-heif 1.4.0 crashes on this
    (made / "deadly.heic").write_bytes(deadly)
    os.mkfifo(made / "pipe.jpg")
    return made


def test_a_shard_is_judged_as_the_library_judges_each_image(folder):
    """Rows come in the order of the lines, with `validate`'s verdicts; what cannot be read says why and has none."""
    names = [
        "good.jpg",
        "missing.jpg",
        "blurred.jpg",
        "cut.jpg",
        "text.jpg",
        "link.jpg",
        "pipe.jpg",
        "good.jpg",
        "a\0b",
    ]
    rows = score_shard(pickle.loads(pickle.dumps(shard([folder / name for name in names]))))  # noqa: S301 - ours
    assert [list(row) for row in rows] == [list(RESULT_COLUMNS)] * len(names)
    assert [row["row"] for row in rows] == list(range(len(names)))
    for row, name in zip(rows, names, strict=True):
        if row["error"] is None:
            expected = validate(folder / name)
            assert (row["score"], row["reason"], row["verdict"]) == (expected.score, expected.reason, expected.verdict)
    errors = {row["row"]: row["error"] for row in rows if row["error"]}
    assert errors[1] == "No such file or directory"
    assert errors[6].startswith("not a regular file")
    assert set(errors) == {1, 6, 8}
    assert all(rows[row]["verdict"] is None is rows[row]["score"] for row in errors)
    assert rows[0]["sha256"] == rows[7]["sha256"] == rows[5]["sha256"]
    assert {row["class"] for row in rows} == {"c"}


def test_an_image_that_crashes_its_decoder_costs_itself_alone(folder):
    """A damaged HEIC that ends the decoder is corrupt; the images around it are judged as ever."""
    pytest.importorskip("pi_heif", reason="needs the extra `heic`")
    rows = score_shard(shard([folder / name for name in ("good.jpg", "deadly.heic", "blurred.jpg")]))
    assert [row["reason"] for row in rows][::2] == ["", "blurry"]
    assert rows[1]["verdict"] == "quarantined"
    assert rows[1]["error"] is None


def test_threads_may_score_side_by_side(folder):
    """Four shards at a time in one process give what they give one after another."""
    one = shard([folder / name for name in ("good.jpg", "blurred.jpg", "cut.jpg")])
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(score_shard, [one] * 8))
    assert all(rows == made[0] for rows in made)


def test_a_worker_of_another_version_refuses(folder):
    """Results of two versions are never mixed: the worker says which it has and which is wanted."""
    with pytest.raises(UnavailableError, match=r"a worker has imageguard-daemon .* with scorer .* install the same"):
        score_shard(shard([folder / "good.jpg"], terms(scorer_version="0")))


def test_a_measuring_process_that_is_killed_is_made_anew(folder):
    """Whoever kills it costs one answer; the next image has a new process."""
    measurer = BytesMeasurer(Scoring())
    data = (folder / "good.jpg").read_bytes()
    assert measurer.measure(data).measures
    measurer._client._process.kill()
    measurer._client._process.wait()
    assert measurer.measure(data).measures
    measurer.close()


def test_a_measuring_process_has_memory_and_threads_of_its_own(folder, monkeypatch):
    """What Dask sets for its workers' memory does not slow it down, and its libraries start no threads."""
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    measurer = BytesMeasurer(Scoring())
    assert measurer.measure((folder / "good.jpg").read_bytes()).measures
    environment = Path(f"/proc/{measurer._client._process.pid}/environ").read_bytes().split(b"\0")
    measurer.close()
    assert b"OPENBLAS_NUM_THREADS=1" in environment
    assert not [entry for entry in environment if entry.startswith(b"MALLOC_")]


def test_a_measuring_process_that_cannot_begin_is_told(monkeypatch):
    """Too little memory for the libraries is no verdict on images."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(UnavailableError, match="ends before it has done anything"):
        BytesMeasurer(Scoring()).measure(b"")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(UnavailableError, match="no process to decode images in: No such file"):
        BytesMeasurer(Scoring()).measure(b"")


def test_a_shard_of_which_nothing_can_be_read_for_now_is_no_result(monkeypatch, folder):
    """When the disk or store is gone for all images, the shard fails as a whole, to be tried again."""

    def gone(*_arguments: object) -> Measurement:
        raise StalledError("the store does not answer")

    monkeypatch.setattr(scoring, "measure_at", gone)
    with pytest.raises(StalledError, match="none of 2 images could be read; the first: the store does not answer"):
        score_shard(shard([folder / "good.jpg", folder / "cut.jpg"]))


def test_a_mistake_of_ours_fails_the_shard_and_is_no_verdict(monkeypatch, folder):
    """An unexpected exception is raised, with the images none the worse for it."""

    def broken(*_arguments: object) -> Measurement:
        raise ZeroDivisionError

    monkeypatch.setattr(scoring, "measure_at", broken)
    with pytest.raises(ZeroDivisionError):
        score_shard(shard([folder / "good.jpg"]))


def test_reads_that_hang_are_left_behind_and_the_rest_is_not_waited_for():
    """Two threads hang: both are told after their time, and what is queued behind them fails at once."""
    let_go = threading.Event()

    def hang(one: Read[str]) -> str:
        one.begin()
        let_go.wait(60)
        return one.path

    results = read_all([str(number) for number in range(50)], Reading(2, 0.05), hang)
    let_go.set()
    assert all(isinstance(one, ReadingHungError) for one in results)
    assert [str(one) for one in results[:3]] == [
        *["reading took longer than 0.05 s"] * 2,
        "not read: all reads before it hang",
    ]


def test_one_read_that_hangs_does_not_hold_up_the_others():
    """With another thread free, everything else is read."""
    let_go = threading.Event()

    def hang_on_first(one: Read[str]) -> str:
        one.begin()
        if one.path == "0":
            let_go.wait(60)
        one.end()
        return one.path

    results = read_all([str(number) for number in range(20)], Reading(2, 0.05), hang_on_first)
    let_go.set()
    assert isinstance(results[0], ReadingHungError)
    assert results[1:] == [str(number) for number in range(1, 20)]


def test_time_in_the_decoder_is_no_time_of_reading():
    """Once its bytes are there, an image takes as long as its own limits allow."""
    one: Read[str] = Read("x")
    one.begin()
    assert one.is_overdue(-1)
    one.end()
    assert not one.is_overdue(-1)
    assert Reading().timeout_seconds > 0
