"""`report` on real logs, from argv to output."""

import csv
import io
import itertools
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from imageguard_daemon.audit.counts import Dimension
from imageguard_daemon.cli.report import report
from imageguard_daemon.core.errors import NoInputError, UsageError
from tests.helpers.audit_logs import Judged, write_log

app = Typer()
app.command()(report)

NOW = datetime.now(UTC)
LONG_AGO = NOW - timedelta(days=30)


def monday(moment: datetime) -> datetime:
    """Give the Monday of a week."""
    return moment - timedelta(days=moment.weekday())


BATCHES = (
    Judged("dog", "low_resolution", 36, "scraper", decided_at=NOW),
    Judged("dog", "", 4, "scraper", decided_at=NOW),
    Judged("cat", "", 57, camera="Canon EOS R6", decided_at=NOW),
    Judged("cat", "blurry", 3, decided_at=LONG_AGO),
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a log of a hundred images."""
    folder = tmp_path_factory.mktemp("root")
    write_log(folder / "audit.db", BATCHES)
    return folder


def run(*arguments: object, width: int = 80) -> Result:
    """Run `report` in a pipe."""
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": str(width)})


def test_json_is_the_whole_report(root: Path) -> None:
    """A program gets totals, groups and the three findings of a log with one bad class."""
    made = json.loads(run(root, "--format", "json").stdout)
    assert (made["total"], made["accepted"], made["quarantined"]) == (100, 61, 39)
    kinds = {finding["kind"] for finding in made["findings"]}
    assert {"class_consistently_rejected", "source_mostly_rejected", "high_rejection_rate"} <= kinds


@pytest.mark.parametrize("span", [timedelta(minutes=2), timedelta(hours=10), timedelta(days=9)], ids=str)
@pytest.mark.parametrize("by_class", [True, False], ids=["a class after the other", "mixed"])
def test_first_batch_shows_its_patterns(tmp_path: Path, span: timedelta, *, by_class: bool) -> None:
    """What somebody sees after the first batch: which class fails, mostly for what, and that it is too many."""
    of = {"dog": "low_resolution", "cat": ""}
    names = ["dog"] * 60 + ["cat"] * 140
    if not by_class:
        random.Random(1).shuffle(names)  # noqa: S311
    rows = [
        Judged(name, of[name] if at % 10 else "", 5, decided_at=NOW - span * (1 - at / 200))
        for at, name in enumerate(names)
    ]
    write_log(tmp_path / "audit.db", rows)
    made = json.loads(run(tmp_path, "--format", "json").stdout)
    found = {finding["kind"]: finding for finding in made["findings"]}
    assert found["class_consistently_rejected"]["subject"] == "dog"
    assert {"mostly_low_resolution", "high_rejection_rate"} <= found.keys()


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("class", {"dog", "cat"}),
        ("source", {"scraper", "default"}),
        ("reason", {"low_resolution", "blurry"}),
        ("day", {f"{NOW:%Y-%m-%d}", f"{LONG_AGO:%Y-%m-%d}"}),
        ("camera", {"", "Canon EOS R6"}),
        ("preset", {"general"}),
        ("hour", {f"{NOW:%Y-%m-%dT%H}", f"{LONG_AGO:%Y-%m-%dT%H}"}),
        ("week", {f"{monday(NOW):%Y-%m-%d}", f"{monday(LONG_AGO):%Y-%m-%d}"}),
    ],
)
def test_every_grouping_is_available(root: Path, by: str, keys: set[str]) -> None:
    """Groups are those of the log, and CSV and JSON agree on them."""
    groups = json.loads(run(root, "--by", by, "--format", "json").stdout)["groups"]
    rows = list(csv.DictReader(io.StringIO(run(root, "--by", by, "--format", "csv").stdout)))
    assert {group["key"] for group in groups} == keys
    assert [row["key"] for row in rows] == [group["key"] for group in groups]
    assert [float(row["rate"]) for row in rows] == [group["rate"] for group in groups]


def test_a_period_a_source_and_a_class_narrow_the_report(root: Path) -> None:
    """Options leave out what is not asked for."""
    for arguments, total in (
        (("--since", "7d"), 97),
        (("--until", "7d"), 3),
        (("--source", "scraper"), 40),
        (("--class", "cat"), 60),
    ):
        assert json.loads(run(root, "--format", "json", *arguments).stdout)["total"] == total


def test_the_table_says_what_matters_in_sentences(root: Path) -> None:
    """A person reads counts, rates and findings within 80 columns."""
    text = run(root).stdout
    assert "rejection rate 39.0 %" in text
    assert "- Class 'dog': 36 of 40 images were rejected (90.0 %)" in text
    assert max(map(len, text.splitlines())) <= 80


def test_another_database_can_be_named(root: Path, tmp_path: Path) -> None:
    """`--db` reads a copy of a log, wherever it is."""
    copy = tmp_path / "copy of log.db"
    copy.write_bytes((root / "audit.db").read_bytes())
    assert json.loads(run("--db", copy, "--format", "json").stdout)["total"] == 100


def test_limits_come_from_the_configuration(root: Path, tmp_path: Path) -> None:
    """A limit set in the file decides what is a finding; what differs from the rest differs whatever the limits."""
    """A limit set in the file decides what is above it; a class that differs is told as that, whatever the limits."""
    (tmp_path / "config.yaml").write_text("reporting: {rejection_rate_limit: 0.9, class_rate_limit: 0.95}")
    made = json.loads(run(root, "--config", tmp_path / "config.yaml", "--format", "json").stdout)
    assert [finding["kind"] for finding in made["findings"]] == ["source_mostly_rejected", "differs_from_others"]


def test_a_new_log_is_reported_as_empty(tmp_path: Path) -> None:
    """A daemon that has judged nothing yet is no error."""
    write_log(tmp_path / "audit.db", [])
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "No decisions" in result.stdout


def test_a_missing_log_is_said_to_be_missing(tmp_path: Path) -> None:
    """Without a log the command says where it looked."""
    assert isinstance(run(tmp_path).exception, NoInputError)


def test_a_wrong_time_is_a_usage_error(root: Path) -> None:
    """A time that is none ends the command before the log is read."""
    assert isinstance(run(root, "--since", "soon").exception, UsageError)


def test_two_things_are_crossed(root: Path) -> None:
    """A cross has a column for each of the two, in CSV and Parquet alike, and no image is counted twice."""
    rows = list(csv.DictReader(io.StringIO(run(root, "--by", "class,source", "--format", "csv").stdout)))
    assert {(row["class"], row["source"], row["total"]) for row in rows} == {
        ("dog", "scraper", "40"),
        ("cat", "default", "60"),
    }
    made = json.loads(run(root, "--by", "class,reason", "--format", "json").stdout)
    assert made["by"] == "class,reason"
    assert {"class": "dog", "reason": "low_resolution"} in [group["keys"] for group in made["groups"]]


@pytest.mark.parametrize("by", ["colour", "class,class", "day,week", "class,reason,day", ""])
def test_what_cannot_be_grouped_by_is_a_usage_error(root: Path, by: str) -> None:
    """The message names what there is."""
    error = run(root, "--by", by).exception
    assert isinstance(error, UsageError)
    assert "--by" in str(error)


def test_a_name_never_seen_is_a_slip_with_a_hint(root: Path) -> None:
    """A misspelt class, source, camera, host or preset is told apart from one without images in the period."""
    error = run(root, "--class", "dgo").exception
    assert isinstance(error, UsageError)
    assert str(error) == "the log has no class 'dgo'; did you mean 'dog'?"
    for option in ("--source", "--camera", "--host", "--preset"):
        assert isinstance(run(root, option, "nowhere").exception, UsageError)
    result = run(root, "--class", "dog", "--until", "7d")
    assert result.exit_code == 0
    assert "No decisions" in result.stdout


def test_the_period_before_is_compared_with(root: Path) -> None:
    """With a beginning the report says how the rate changed; without one there is nothing to compare with."""
    made = json.loads(run(root, "--since", "20d", "--format", "json").stdout)
    assert made["trend"]["before"]["total"] == 3
    assert made["trend"]["change"] == pytest.approx(36 / 97 - 1)
    assert json.loads(run(root, "--format", "json").stdout)["trend"] is None
    assert "points less against the period before: 100.0 % of 3" in run(root, "--since", "20d").stdout


@pytest.mark.parametrize("by", [*map(",".join, itertools.permutations(map(str, Dimension), 2)), *map(str, Dimension)])
def test_every_report_can_be_compared_with_the_period_before(root: Path, by: str) -> None:
    """Whatever it is grouped by, times too, a report with a beginning has its total and its trend."""
    if sum(part in {"hour", "day", "week"} for part in by.split(",")) > 1:
        pytest.skip("times are not crossed with one another")
    made = json.loads(run(root, "--by", by, "--since", "20d", "--format", "json").stdout)
    assert (made["total"], made["trend"]["before"]["total"]) == (97, 3)
    assert sum(group["rejected"] for group in made["groups"]) == 36


def test_parquet_has_the_types_of_a_table(root: Path, tmp_path: Path) -> None:
    """A data frame gets numbers as numbers."""
    from pyarrow import parquet

    assert run(root, "--format", "parquet", "--output", tmp_path / "r.parquet").exit_code == 0
    table = parquet.read_table(tmp_path / "r.parquet")
    assert table.column_names == ["key", "total", "rejected", "rate", "low", "high", "top_reason"]
    assert {row["key"]: row["rejected"] for row in table.to_pylist()} == {"dog": 36, "cat": 3}


def test_the_page_is_written_whole_or_not_at_all(root: Path, tmp_path: Path) -> None:
    """A page replaces the one before; where it cannot be written, the message says so and nothing is left behind."""
    page = tmp_path / "r.html"
    page.write_text("old")
    assert run(root, "--format", "html", "-o", page).exit_code == 0
    assert "Image quality report" in page.read_text()
    assert list(tmp_path.iterdir()) == [page]
    assert isinstance(run(root, "--format", "html", "-o", tmp_path / "no" / "r.html").exception, NoInputError)
    assert run(root, "--output", tmp_path / "r.txt").stdout == ""
    assert "100 images judged" in (tmp_path / "r.txt").read_text()


def test_details_are_shown_when_asked_for(tmp_path: Path) -> None:
    """Percentiles in units, and the images nearest to a threshold, within 80 columns."""
    write_log(tmp_path / "audit.db", [Judged(images=50, exposure=(0.1, 0.0))])
    text = run(tmp_path, "--details").stdout
    assert "blur (px)" in text
    assert "Nearest to a threshold" in text
    assert max(map(len, text.splitlines())) <= 80
    assert "Nearest" not in run(tmp_path).stdout
