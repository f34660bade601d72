"""What reports and `calibrate` say of reviews is the same before and after their records were archived."""

import io
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

pytest.importorskip("pyarrow", reason="needs the extra parquet")

from imageguard_daemon.audit.archive.archiving import ArchiveRequest, archive
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.database import open_for_writing
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.cli.calibrate import calibrate
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.model import Measures
from imageguard_daemon.quality import version
from imageguard_daemon.reporting.query import report_on, simulation_of
from imageguard_daemon.reporting.rendering import as_csv, as_dict, as_table
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.simulation import Rules
from imageguard_daemon.reporting.simulation_rendering import simulation_as_dict
from imageguard_daemon.review.acting import approve, confirm, purge, reject, rejudge, release, undo
from tests.helpers.images import jpeg, photo
from tests.helpers.rejections import ANNA, Rejections

NOW = datetime(2099, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SCOPES = (Scope(), Scope(NOW - 36_500 * DAY, NOW), Scope(class_name="cat"), Scope(until=NOW - 36_500 * DAY))
app = Typer()
app.command()(calibrate)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Rejections]:
    """Twenty rejected images, of which people released seven, confirmed four, deleted two of these, and so on.

    Of five accepted ones they rejected three, took one of these back and deleted one, and approved one.
    """
    one = Rejections(tmp_path / "root")
    ids = [one.file(f"cat/{number}.jpg", measures=_measures(number)) for number in range(20)]
    ids += [one.file(f"cat/{number}.jpg", ok=True, measures=_measures(number)) for number in range(20, 25)]
    one.do(reject, *ids[20:23])
    one.do(undo, ids[22])
    one.do(purge, ids[21])
    one.do(approve, ids[23])
    one.do(release, *ids[:8])
    one.do(undo, ids[7])
    one.do(confirm, *ids[8:12])
    one.do(purge, *ids[10:12])
    with one.acting() as acting:
        list(rejudge(acting, ids[12:15], ANNA, {number: {"blur_score": 10.0} for number in ids[12:15]}))
    yield one
    one.close()


def _measures(number: int) -> Measures:
    return Measures(640, 480, 1.0 + number / 10, 1.0, 95.0, 1.0, 0.0, 0.0, 3.0, 120.0, 240.0, 0.0, 0.0)


def reports(made: Rejections) -> list[Report]:
    """Give reports on several scopes by several things."""
    with open_log(made.root / "audit.db") as log:
        return [
            report_on(log, by, scope, Reporting(), NOW)
            for scope in SCOPES
            for by in ((Dimension.class_,), (Dimension.reason, Dimension.day), (Dimension.week,))
        ]


def written(made: Rejections) -> str:
    """Give all forms of them; of an example, and of images near a threshold, an archived one has no path any more."""
    text = io.StringIO()
    console = Console(width=100, file=text)
    for report in reports(made):
        plain = as_dict(report)
        plain["nearest"] = [one | {"relative_path": None, "class": None} for one in plain["nearest"]]
        plain["findings"] = [one | {"example": None} for one in plain["findings"]]
        shown = replace(report, findings=tuple(replace(one, example=None) for one in report.findings))
        console.print(as_table(shown))
        text.write(json.dumps(plain, indent=2) + as_csv(report))
    return text.getvalue()


def archived(made: Rejections, *, include_quarantined: bool) -> None:
    """Archive all that may go."""
    cutoff = datetime.now(UTC) + timedelta(minutes=1)
    request = ArchiveRequest(cutoff, made.root / "archive", "anna", include_quarantined)
    assert archive(made.settings, request) is not None


@pytest.mark.parametrize("include_quarantined", [False, True])
def test_a_report_is_the_same_before_and_after_archiving(made: Rejections, include_quarantined: bool) -> None:
    """Byte for byte: totals, groups, precision, what was released and deleted since."""
    before = written(made)
    words = "20 rejected, 10 released since, 2 accepted and rejected by people since, 3 deleted since, 9 in quarantine"
    assert words in " ".join(before.split())
    assert "4 of 11 reviewed rejections were right" in before
    assert "2 of 3 reviewed acceptances were wrong" in before
    archived(made, include_quarantined=include_quarantined)
    assert written(made) == before


@pytest.mark.parametrize("include_quarantined", [False, True])
def test_calibrate_learns_from_reviews_after_archiving_as_before(
    made: Rejections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, include_quarantined: bool
) -> None:
    """Byte for byte: the same images are good and bad, so the same thresholds come out."""
    monkeypatch.setattr(version, "SCORER_VERSION", "test")
    good = tmp_path / "good"
    good.mkdir()
    for number in range(12):
        (good / f"{number}.jpg").write_bytes(jpeg(photo(320, 240, seed=number)))
    arguments = [str(good), "--reviews", str(made.root), "--format", "json"]
    before = CliRunner().invoke(app, arguments)
    told = "8 released or approved count as good, 6 confirmed or rejected as bad"
    assert (before.exit_code, told in before.stderr) == (0, True)
    archived(made, include_quarantined=include_quarantined)
    after = CliRunner().invoke(app, arguments)
    assert (after.stdout, after.stderr) == (before.stdout, before.stderr)


@pytest.mark.parametrize("include_quarantined", [False, True])
def test_other_thresholds_are_tried_on_archived_images_too(made: Rejections, include_quarantined: bool) -> None:
    """`simulate` has the same counts before and after; only the names of archived images are gone."""

    def counted() -> dict:
        with open_log(made.root / "audit.db") as log:
            simulated = simulation_as_dict(simulation_of(log, Scope(), Rules({"blur_score": 50.0})), "other thresholds")
        return {name: value for name, value in simulated.items() if name != "examples"}

    before = counted()
    assert before["total"] == 25
    archived(made, include_quarantined=include_quarantined)
    assert counted() == before


def test_archiving_twice_keeps_what_was_kept(made: Rejections) -> None:
    """What an earlier archive noted stays; what is reviewed later is added by the next."""
    archived(made, include_quarantined=False)
    made.do(release, made.file("cat/late.jpg"))
    before = written(made)
    archived(made, include_quarantined=False)
    assert written(made) == before


def test_an_older_log_is_brought_up_to_date_and_says_what_it_does_not_know(made: Rejections) -> None:
    """Of what an older version archived nobody knows whether it was released or deleted; it is not in quarantine."""
    archived(made, include_quarantined=False)
    database = made.root / "audit.db"
    made.audit.close()
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE rollup_reviews")
        connection.executescript("DROP INDEX ix_quarantined_camera; DROP INDEX ix_accepted_borderline")
        connection.executescript("DROP VIEW decisions; ALTER TABLE decision_records DROP COLUMN code")
        connection.execute(import_module("imageguard_daemon.audit.migrations.versions.0009_borderline").DECISIONS)
        connection.execute("UPDATE alembic_version SET version_num = (SELECT '0009')")
    connection.close()
    [report, *_] = reports(made)  # read before anybody brought it up to date
    assert (report.overall.rejected, report.in_quarantine) == (20, 21)  # with one that a person rejected
    open_for_writing(database).dispose()
    [report, *_] = reports(made)
    assert (report.overall.rejected, report.in_quarantine) == (20, 9)
    assert as_dict(report)["archived"] == 12
    assert "12 released or deleted and archived, 9 in quarantine" in " ".join(written(made).split())
