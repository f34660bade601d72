"""Results: whole or not there, known by their footer, here or in a store."""

import os

import pytest

from imageguard_daemon.batch.backfill import results
from imageguard_daemon.batch.backfill.results import (
    DamagedShardError,
    Results,
    make_result,
    name_of,
    read_footer,
    read_rows,
)
from imageguard_daemon.batch.backfill.shards import RESULT_COLUMNS, ShardTask
from imageguard_daemon.batch.judging import judge, row_of
from imageguard_daemon.batch.scan_summary import OTHER_CLASSES, Totals
from imageguard_daemon.core.errors import AlreadyRunningError, DataError, NoInputError, StorageError
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.quality.version import loops_here
from tests.helpers.pipeline_bench import BLURRY, GOOD
from tests.helpers.shards import shard, terms

pytest.importorskip("pyarrow", reason="needs the extra `parquet`")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> results.ShardResult:
    """A result of four rows: good, blurred, not read, and one that an earlier run has read."""

    def rows(one: object) -> list[dict]:
        found = [Measurement("ab", GOOD), Measurement("cd", BLURRY)]
        judged = [row_of(judge(f"{n}.jpg", f"{n}.jpg", each, terms().rules)) for n, each in enumerate(found)]
        return [
            *({**row, "row": number, "error": None} for number, row in enumerate(judged)),
            {**dict.fromkeys(RESULT_COLUMNS), "path": "gone.jpg", "row": 3, "error": "No such file"},
        ]

    monkeypatch.setattr(results, "score_in_worker", rows)
    kept = {**rows(None)[1], "row": 2}
    return make_result(ShardTask(shard(["a", "b", "c"]), "digest", "mark", (kept,)))


def test_a_result_says_in_its_footer_what_it_is(made):
    """Number, rows, digest, terms, counts and what was not read are known without reading a row."""
    footer = read_footer(made.content)
    assert (footer.number, footer.rows, footer.digest, footer.terms) == (0, 4, "digest", "mark")
    assert footer.code == loops_here()
    assert (footer.unread, footer.unread_rows, footer.examples) == (
        {"No such file": 1},
        1,
        [["gone.jpg", "No such file"]],
    )
    totals = Totals()
    totals.merge(footer.totals)
    assert (totals.total, totals.rejected) == (3, 2)
    assert [path for path, _ in totals.worst()] == ["1.jpg", "1.jpg"]


def test_rows_of_an_earlier_run_stand_where_they_belong(made):
    """What was kept and what is new is one table in the order of the manifest."""
    rows = read_rows(made.content)
    assert [row["row"] for row in rows] == [0, 1, 2, 3]
    assert [row["verdict"] for row in rows] == ["accepted", "quarantined", "quarantined", None]


def test_a_damaged_result_is_never_taken_for_a_good_one(made):
    """Cut anywhere, empty, other Parquet, a flipped bit or a zeroed page anywhere: it is told, not used."""
    content = made.content
    for cut in (0, 3, len(content) // 2, len(content) - 1):
        with pytest.raises(DamagedShardError):
            read_footer(content[:cut])
    for at in range(0, len(content), 7):
        flipped = bytearray(content)
        flipped[at] ^= 1 << at % 8
        with pytest.raises(DamagedShardError):
            read_footer(bytes(flipped))
    for at in range(0, len(content), 512):
        zeroed = content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]
        with pytest.raises(DamagedShardError):
            read_footer(zeroed)
    assert len(read_rows(content)) == 4


def test_whatever_reads_parquet_reads_a_result(made, tmp_path):
    """The digest is in its place without harm to anybody else's reading."""
    from pyarrow import dataset

    (tmp_path / "shard.parquet").write_bytes(made.content)
    table = dataset.dataset(tmp_path, format="parquet").to_table()
    assert table.column("path").to_pylist() == ["0.jpg", "1.jpg", "1.jpg", "gone.jpg"]


def test_a_result_is_written_whole_and_leaves_nothing_beside_it(tmp_path):
    """It is there under its name with its content; neither temporaries nor other names are."""
    results = Results(str(tmp_path / "out"))
    with results.held():
        assert results.is_empty()
        results.write(1234, b"content")
        results.describe({"a": 1})
    assert (tmp_path / "out" / "000001" / "shard-000001234.parquet").read_bytes() == b"content"
    assert name_of(1234) == "000001/shard-000001234.parquet"
    found = sorted(path.name for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert found == ["_backfill.json", "_backfill.lock", "shard-000001234.parquet"]
    assert results.has(1234)
    assert not results.has(1235)
    assert not results.has(7)
    assert list(results.numbers()) == [1234]
    assert results.description() == {"a": 1}
    assert not results.is_empty()


def test_what_cannot_be_written_leaves_no_half_file(tmp_path, monkeypatch):
    """A disk that is full or refuses to sync is told in a sentence, and no result bears a name."""
    results = Results(str(tmp_path))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        results.write(0, b"content")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    """The second is told, at once."""
    second = Results(str(tmp_path)).held()
    with Results(str(tmp_path)).held(), pytest.raises(AlreadyRunningError, match="another back-fill"):
        second.__enter__()


def test_a_description_that_is_none_is_told(tmp_path):
    """Something else in its place is not overwritten."""
    (tmp_path / "_backfill.json").write_text("[]")
    with pytest.raises(DataError, match="not a description of a back-fill"):
        Results(str(tmp_path)).description()
    (tmp_path / "file").touch()
    with pytest.raises(NoInputError, match="is not a folder"):
        Results(str(tmp_path / "file")).description()


def test_counts_of_many_shards_are_those_of_all_their_rows():
    """Merged counts are what counting every row gives, the worst included; endless classes do not fill memory."""
    rows = [
        {"class": f"c{n % 3}", "reason": "blurry" if n % 4 else "", "detail": "", "score": n / 100, "path": str(n)}
        for n in range(100)
    ]
    whole, merged = Totals(), Totals()
    for start in range(0, 100, 10):
        part = Totals()
        for row in rows[start : start + 10]:
            part.add(row)
            whole.add(row)
        merged.merge(part.as_plain())
    assert merged.as_plain() == whole.as_plain()
    assert list(merged.worst()) == list(whole.worst())
    many = Totals()
    many.merge({"counts": [(str(n), "", 1) for n in range(100_500)], "worst": []})
    assert many.total == 100_500
    assert (OTHER_CLASSES, "", 500) in many.as_plain()["counts"]
