"""Files of results."""

import csv
import json
import random
import sys
from pathlib import Path

import pytest

from imageguard_daemon.batch import outputs
from imageguard_daemon.batch.judging import Rules, Value, judge, row_of
from imageguard_daemon.batch.outputs import JsonlForm, Outputs
from imageguard_daemon.core.errors import AlreadyRunningError, NoInputError, UsageError
from imageguard_daemon.core.model import FileIdentity, Measurement
from imageguard_daemon.quality.policy import thresholds_for
from tests.helpers.pipeline_bench import BLURRY, GOOD


def _row(name: str = "1.jpg", measures: object = GOOD) -> dict[str, Value]:
    measurement = Measurement("ab" * 32, measures, identity=FileIdentity(1, 2, 3, 4, 5))
    return row_of(judge(f"d/{name}", name, measurement, Rules("general", thresholds_for("general"))))


def _write(path: Path, form: str, *rows: dict[str, Value], **options) -> None:
    outputs = Outputs({form: str(path)}, **options)
    for row in rows:
        outputs.write(row)
    outputs.publish()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_file_that_no_scan_has_made_is_never_replaced(tmp_path: Path, form: str) -> None:
    """Labels that share a name with an output stay, until the user insists."""
    path = tmp_path / "labels"
    path.write_text("path,label\n1.jpg,cat\n")
    with pytest.raises(UsageError, match="was not made by a scan"):
        _write(path, form, _row())
    assert path.read_text() == "path,label\n1.jpg,cat\n"
    _write(path, form, _row(), overwrite=True)
    _write(path, form, _row())  # now it is one
    assert "label\n" not in path.read_bytes().decode(errors="replace")


def test_a_file_of_others_that_is_named_like_a_partial_result_is_never_taken_away(tmp_path: Path) -> None:
    """A download under way, for instance: the run is refused before it begins."""
    (tmp_path / "out.csv.partial").write_text("half a download")
    with pytest.raises(UsageError, match=r"out\.csv\.partial already exists and was not made by a scan"):
        _write(tmp_path / "out.csv", "csv", _row())
    assert (tmp_path / "out.csv.partial").read_text() == "half a download"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_shorter_result_leaves_nothing_of_a_longer_one(tmp_path: Path, form: str) -> None:
    """Results are replaced as a whole."""
    path = tmp_path / "out"
    _write(path, form, _row("1.jpg"), _row("2.jpg"))
    _write(path, form, _row("3.jpg"))
    assert "2.jpg" not in path.read_text()


def test_two_processes_cannot_write_one_file(tmp_path: Path) -> None:
    """The second one is told, and the first one's rows stay."""
    first = Outputs({"csv": str(tmp_path / "out.csv")})
    first.write(_row())
    with pytest.raises(AlreadyRunningError):
        Outputs({"csv": str(tmp_path / "out.csv")})
    first.publish()
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


def test_rows_can_be_read_while_more_are_coming(tmp_path: Path) -> None:
    """What was written is on disk about a second later, not only at the end."""
    moments = iter([0.0, 1.5, 1.5])
    with (tmp_path / "out.jsonl").open("wb") as stream:
        form = JsonlForm(stream, now=lambda: next(moments))
        form.write(_row())
        assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 1


@pytest.mark.parametrize("images", [0, 1, 2, 3, 7, 30])
def test_a_table_is_sorted_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: int) -> None:
    """However many rows there are, and in whatever order they come; memory has few of them."""
    monkeypatch.setattr(outputs, "_LINES_IN_MEMORY", 2)
    monkeypatch.setattr(outputs, "_MAX_RUNS", 3)
    names = [f"{number:02}\n\u00e9.jpg" for number in range(images)]
    random.Random(images).shuffle(names)  # noqa: S311 - no secret
    _write(tmp_path / "out.csv", "csv", *map(_row, names))
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [f"d/{name}" for name in sorted(names)]
    assert all(row["relative_path"] == row["path"].removeprefix("d/") for row in rows)


def test_a_table_that_was_interrupted_is_sorted_too(tmp_path: Path) -> None:
    """What is known by then is in order."""
    made = Outputs({"csv": str(tmp_path / "out.csv")})
    for name in ("2.jpg", "1.jpg"):
        made.write(_row(name))
    made.set_aside()
    lines = (tmp_path / "out.csv.partial").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["path", "d/1.jpg", "d/2.jpg"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_result_bears_its_name_only_when_it_is_whole(tmp_path: Path, form: str) -> None:
    """Nobody opens half a file, and what was there before stays until the new one is finished."""
    if form == "parquet":
        pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    path = tmp_path / f"out.{form}"
    _write(path, form, _row("1.jpg"))
    before = path.read_bytes()
    outputs = Outputs({form: str(path)})
    outputs.write(_row("2.jpg", BLURRY))
    assert path.read_bytes() == before
    outputs.discard()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    _write(path, form, _row("2.jpg", BLURRY))
    assert path.read_bytes() != before


def test_rows_of_parquet_have_the_types_of_their_columns(tmp_path: Path) -> None:
    """Lists stay lists, numbers numbers, and what is not there is null."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    _write(tmp_path / "out.parquet", "parquet", _row("1.jpg", BLURRY))
    (row,) = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert (row["path"], row["issues"], row["width"], row["destination"]) == ("d/1.jpg", ["blurry"], 2000, None)


def test_results_of_an_interrupted_run_say_so_in_their_names(tmp_path: Path) -> None:
    """What was there stays; what is known by now lies beside it, until a run comes to its end."""
    path = tmp_path / "out.csv"
    _write(path, "csv", _row("1.jpg"))
    outputs = Outputs({"csv": str(path)})
    outputs.write(_row("2.jpg"))
    assert outputs.set_aside() == (f"{path}.partial",)
    assert "1.jpg" in path.read_text()
    assert "2.jpg" in Path(f"{path}.partial").read_text()
    _write(path, "csv", _row("3.jpg"))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_second_run_is_refused_before_it_has_touched_anything(tmp_path: Path, form: str) -> None:
    """One output that another run is writing is enough: none of the others is begun."""
    if form == "parquet":
        pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    first = Outputs({form: str(tmp_path / "shared")})
    mine = {"csv": "mine.csv", "jsonl": "mine.jsonl"}
    with pytest.raises(AlreadyRunningError):
        Outputs(
            {name: str(tmp_path / file) for name, file in mine.items() if name != form}
            | {form: str(tmp_path / "shared")}
        )
    first.write(_row())
    first.publish()
    assert [entry.name for entry in tmp_path.iterdir()] == ["shared"]


def test_only_one_verdict_on_request(tmp_path: Path) -> None:
    """--only leaves the others out of the file."""
    _write(tmp_path / "out.jsonl", "jsonl", _row("1.jpg"), _row("2.jpg", BLURRY), only="quarantined")
    assert [json.loads(line)["path"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == ["d/2.jpg"]


def test_a_file_is_named_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder that is not there is told with the path."""
    with pytest.raises(NoInputError, match=r"nowhere/out\.csv"):
        Outputs({"csv": str(tmp_path / "nowhere" / "out.csv")})


def test_formulas_in_names_are_disarmed(tmp_path: Path) -> None:
    """A spreadsheet that opens the file runs nothing."""
    row = _row("1.jpg") | {"path": "=HYPERLINK(1)", "class": "@x"}
    _write(tmp_path / "out.csv", "csv", row)
    (read,) = csv.DictReader((tmp_path / "out.csv").read_text().splitlines())
    assert (read["path"], read["class"]) == ("./=HYPERLINK(1)", "'@x")


def test_without_pyarrow_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parquet is an extra, and the message names it."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"imageguard-daemon\[parquet\]"):
        Outputs({"parquet": str(tmp_path / "out.parquet")})
