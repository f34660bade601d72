"""What must hold for the findings and the forms of every report."""

import csv
import io
import json

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from imageguard_daemon.audit.counts import Count, Dimension
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.model import ISSUES
from imageguard_daemon.reporting.finding import DOUBT
from imageguard_daemon.reporting.rendering import as_csv, as_dict, as_table
from imageguard_daemon.reporting.report import Report
from tests.helpers.reports import report_of

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
REASONS = st.sampled_from(("", *ISSUES))
ROWS = st.dictionaries(st.tuples(NAMES, NAMES, REASONS), st.integers(1, 5000), max_size=25)
SETTINGS = Reporting()


@st.composite
def counts(draw: st.DrawFn) -> list[Count]:
    """Give counts as the log could answer."""
    return [
        Count((class_name, source), "quarantined" if reason else "accepted", reason, images)
        for (class_name, source, reason), images in draw(ROWS).items()
    ]


def report_on(rows: list[Count], by: Dimension = Dimension.class_) -> Report:
    """Give the report on these counts."""
    return report_of(rows, by, settings=SETTINGS)


@given(counts(), st.sampled_from([Dimension.class_, Dimension.source, Dimension.reason]))
def test_nothing_is_lost_on_the_way_from_counts_to_groups(rows: list[Count], by: Dimension) -> None:
    """Rejected images of all groups, of all reasons and overall are the same number."""
    report = report_on(rows, by)
    rejected = sum(row.images for row in rows if row.reason)
    assert report.overall.rejected == rejected == sum(group.rejected for group in report.groups.values())
    if by is not Dimension.reason:
        assert sum(group.total for group in report.groups.values()) == report.overall.total


@given(counts())
def test_every_finding_rests_on_enough_images_above_its_limit(rows: list[Count]) -> None:
    """No finding is about few images, a rate below its limit or what may be chance."""
    for finding in report_on(rows).findings:
        evidence = finding.evidence
        assert evidence["total"] >= SETTINGS.min_sample
        assert evidence["rate"] > evidence["limit"]
        assert evidence["p_value"] < DOUBT


@given(counts(), st.randoms())
def test_the_order_of_rows_means_nothing(rows: list[Count], randomness: object) -> None:
    """The same counts in another order give the same report, to the letter."""
    shuffled = list(rows)
    randomness.shuffle(shuffled)
    assert json.dumps(as_dict(report_on(rows))) == json.dumps(as_dict(report_on(shuffled)))


@given(counts())
def test_json_and_csv_tell_the_same_of_every_name(rows: list[Count]) -> None:
    """Both forms can be read back, have a row for each group, and no cell is a live formula."""
    report = report_on(rows)
    groups = json.loads(json.dumps(as_dict(report), allow_nan=False))["groups"]
    table = list(csv.DictReader(io.StringIO(as_csv(report))))
    assert [int(row["total"]) for row in table] == [group["total"] for group in groups]
    assert not any(row["key"].lstrip().startswith(("=", "+", "-", "@")) for row in table)


@given(counts(), st.integers(80, 200))
def test_a_table_never_breaks(rows: list[Count], width: int) -> None:
    """Whatever the names, a pipe gets only printable letters, and every finding is there."""
    out = io.StringIO()
    report = report_on(rows)
    Console(file=out, width=width, highlight=False, markup=False, emoji=False).print(as_table(report))
    assert out.getvalue().replace("\n", "").isprintable()
    assert out.getvalue().count("\n- ") >= len(report.findings)
