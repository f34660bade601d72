"""What a scan finds out about a folder, from rows alone, and from its results, of which nothing else is taken."""

import gzip
import io
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imageguard_daemon.batch.judging import Rules, judge, row_of
from imageguard_daemon.batch.outputs import CsvForm, JsonlForm
from imageguard_daemon.batch.scan_summary import Totals, totals_of
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.errors import NoInputError
from imageguard_daemon.core.model import FileIdentity, Measurement
from imageguard_daemon.quality.policy import PRESETS
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.quality.version import SCORER_VERSION
from tests.helpers.pipeline_bench import GOOD

SCALE = next(scale for scale in SCALES if scale.measure == "effective_pixels")


def row(number: int, width: int, height: int, reason: str = "") -> dict[str, object]:
    """Give the columns of one image that are counted."""
    return {
        "path": f"{number}.jpg",
        "class": "cat",
        "reason": reason,
        "detail": "",
        "score": 0.2 if reason else 0.9,
        "width": width,
        "height": height,
        "resolution_score": SCALE.score(width * height),
    }


def totals(*rows: dict[str, object]) -> Totals:
    """Count these images."""
    made = Totals()
    for one in rows:
        made.add(one)
    return made


def test_a_scan_tells_of_thumbnails_with_their_size() -> None:
    """Previews among photos are told of the folder, whether counted in one go or in parts."""
    small = [row(n, 259, 194) for n in range(40)]
    large = [row(n, 4000, 3000) for n in range(40, 240)]
    whole = totals(*small, *large)
    [finding] = whole.report(Reporting()).findings
    assert finding.kind == "thumbnails_mixed_in"
    assert finding.sentence.startswith("40 of 240 images (16.7 %) have nearly the same size")
    assert "(259 x 194)" in finding.sentence
    merged = Totals()
    for part in (totals(*small), totals(*large)):
        merged.merge(part.as_plain())
    assert merged.report(Reporting()).findings == (finding,)


def test_a_scan_tells_that_one_reason_rejects_most_and_what_to_do() -> None:
    """Without a log it is the folder that thresholds are made from."""
    soft = totals(*(row(n, 4000, 3000, "blurry") for n in range(60)))
    [finding] = soft.report(Reporting()).findings
    assert finding.kind == "source_mostly_rejected"
    assert "`imageguard-daemon calibrate FOLDER`" in finding.look_at


def test_results_of_earlier_versions_are_still_counted() -> None:
    """A back-fill's results from before sizes were counted have none, and no finding about them."""
    plain = totals(*(row(n, 259, 194) for n in range(20))).as_plain()
    del plain["sizes"]
    made = Totals()
    made.merge(plain)
    assert (made.total, made.report(Reporting()).findings) == (20, ())


MEASURED = Measurement("ab" * 32, GOOD, image_format="JPEG", identity=FileIdentity(1, 2, 1000, 3, 4))
NOT_WRITTEN = "has something in it that no scan has written"


def _row(number: int, measurement: Measurement = MEASURED) -> dict[str, Any]:
    return row_of(
        judge(f"data/cat/{number}.jpg", f"cat/{number}.jpg", measurement, Rules("general", PRESETS["general"]))
    )


ROWS = (_row(1), _row(2, Measurement("cd" * 32, issue="corrupt", detail="cut, off", identity=MEASURED.identity)))


def _written(form: Callable[[Any], CsvForm | JsonlForm], *rows: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    made = form(stream)
    for row in rows:
        made.write(row)
    made.finish()
    return stream.getvalue()


def _refusal(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(NoInputError) as refused:
        totals_of(path)
    return str(refused.value).removeprefix(f"{path} ")


@pytest.mark.parametrize("form", [CsvForm, JsonlForm])
def test_what_a_scan_has_written_is_counted_with_its_scorers(tmp_path: Path, form: Any) -> None:
    """Also what could not be measured, and what another readout has measured."""
    other = _row(3, replace(MEASURED, readout="0123456789ab"))
    (tmp_path / "results").write_bytes(_written(form, *ROWS, other))
    found = totals_of(tmp_path / "results")
    assert (found.total, found.rejected) == (3, 1)
    assert found.scorer_versions == [SCORER_VERSION, f"{SCORER_VERSION}+0123456789ab"]


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    """What is looked at twice would be empty the second time: no report on 0 images is made of that."""
    reading, writing = os.pipe()
    os.write(writing, _written(CsvForm, *ROWS))
    os.close(writing)
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    for path in (Path(f"/dev/fd/{reading}"), tmp_path / "pipe", tmp_path):
        with pytest.raises(NoInputError, match="is not a regular file"):
            totals_of(path)
    os.close(reading)


def test_a_link_to_results_is_followed(tmp_path: Path) -> None:
    """As by every other reader of files."""
    (tmp_path / "results").write_bytes(_written(CsvForm, *ROWS))
    (tmp_path / "link").symlink_to("results")
    assert totals_of(tmp_path / "link").total == 2


def test_a_compressed_file_is_told_what_to_do(tmp_path: Path) -> None:
    """Nobody need guess why results that were compressed are none."""
    assert "unpack it first" in _refusal(tmp_path / "results.csv.gz", gzip.compress(_written(CsvForm, *ROWS)))


def test_a_table_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    """In the last cell, too, where what is left may be a value; only a cut at the very end of a line cannot be seen."""
    path, whole = tmp_path / "results", _written(CsvForm, *ROWS)
    begin = whole.index(b"\n") + 1
    for cut in {*range(begin + 1, len(whole), 7), len(whole) - 1, len(whole) - 2}:
        if whole[:cut].endswith(b"\n"):
            continue
        assert _refusal(path, whole[:cut]), cut
    path.write_bytes(whole[: whole.rindex(b"\n", 0, -1) + 1])
    assert totals_of(path).total == 1


def test_rows_with_more_or_fewer_cells_are_refused(tmp_path: Path) -> None:
    """A comma too many shifts what stands behind it."""
    whole = _written(CsvForm, ROWS[0])
    assert _refusal(tmp_path / "results", whole[:-1] + b",\n") == NOT_WRITTEN
    assert _refusal(tmp_path / "results", whole + b"data/cat/3.jpg,1\n") == NOT_WRITTEN


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "good"},
        {"verdict": "quarantined"},
        {"reason": "blurry"},
        {"reason": 1},
        {"score": "0.9"},
        {"score": True},
        {"score": 1.5},
        {"score": float("nan")},
        {"width": float("inf")},
        {"width": "wide"},
        {"resolution_score": [1]},
        {"class": ["cat"]},
        {"detail": None},
        {"scorer_version": {}},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    """A verdict that is none is not counted as one, and no number ends with a traceback."""
    line = json.dumps({**ROWS[0], **changes}) + "\n"
    assert _refusal(tmp_path / "results", line.encode()) == NOT_WRITTEN


@pytest.mark.parametrize("value", ["[" * 200_000, "[]", "1", '"path"', "null", "[[1, 2]]", "9" * 5000])
def test_json_that_is_no_row_is_refused(tmp_path: Path, value: str) -> None:
    """A list, a word, or brackets without an end after a good row."""
    content = _written(JsonlForm, ROWS[0]) + value.encode() + b"\n"
    assert _refusal(tmp_path / "results", content) in {
        NOT_WRITTEN,
        "lacks columns of a scan's results, or has a row that is cut off",
    }
