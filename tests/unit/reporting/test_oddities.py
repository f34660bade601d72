"""Names that a person takes for one, and decisions from the future, are told as such."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import page
from imageguard_daemon.cli.report import report
from imageguard_daemon.cli.selection_options import SelectionOptions, StateName, selection_of
from imageguard_daemon.cli.simulate import simulate
from imageguard_daemon.config import Audit, Metrics, Reporting, Settings
from imageguard_daemon.daemon.alerting import current_findings
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.findings import find_patterns
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.query import report_on
from imageguard_daemon.reporting.questions.oddities import class_twins
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.tallies import Tally
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.panels import panel_at_once

COMPOSED, APART = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
SETTINGS = Reporting(min_sample=10)
NOW = datetime.now(UTC)
HOUR, YEAR = timedelta(hours=1), timedelta(days=365)
app = Typer()
app.command()(report)
app.command()(simulate)


def twins(totals: dict[str, int]) -> list[Finding]:
    """Give what is found of classes with so many good images."""
    panel = panel_at_once({(name, "default"): Tally(total, {}) for name, total in totals.items()})
    found = class_twins(Patterns(panel), SETTINGS)
    told = [one for one in find_patterns(Patterns(panel), SETTINGS) if one.kind == "class_twins"]
    assert [one.subject for one in told] == [one.subject for one in found]
    return found


def test_case_and_accents_alone_make_no_class() -> None:
    """The rarest spelling is the topic, all are named, and what cannot be seen of one is said."""
    (finding,) = twins({"Cat": 40, "cat": 1, "CAT": 3, "dog": 5})
    assert finding.subject == "cat"
    assert "'Cat' with 40 images, 'CAT' with 3 images, 'cat' with 1 images" in finding.sentence
    (finding,) = twins({COMPOSED: 40, APART: 2})
    assert finding.subject == APART
    assert f"'{APART}' (accents apart, NFD) with 2 images" in finding.sentence
    assert len(twins({COMPOSED: 20, APART.upper(): 20, "Dog": 20, "dog": 1})) == 2


def test_different_names_are_different_classes() -> None:
    """Nothing is told of other letters, nor of fewer images than a finding needs."""
    assert twins({"cat": 40, "cats": 40, "cafe": 40, COMPOSED: 40}) == []
    assert twins({"Cat": 5, "cat": 1}) == []


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with forty images of this hour and thirty of next year, all of those rejected."""
    batches = (
        Judged("cat", "", 36, decided_at=NOW - HOUR),
        Judged("cat", "blurry", 4, decided_at=NOW - HOUR),
        Judged("cat", "blurry", 30, decided_at=NOW + YEAR),
    )
    return write_log(tmp_path_factory.mktemp("log") / "audit.db", batches)


def made(database: Path, scope: Scope, now: datetime = NOW) -> Report:
    """Give a report on the log."""
    with open_log(database) as log:
        return report_on(log, (Dimension.class_,), scope, Reporting(), now)


def test_a_report_since_then_has_nothing_of_next_year(database: Path) -> None:
    """Forty images are of the last week; thirty of next year are no part of it, and of all of the log."""
    assert made(database, Scope(NOW - 7 * 24 * HOUR)).overall.total == 40
    assert made(database, Scope()).overall.total == 70


def test_what_is_stamped_later_than_now_is_a_finding_of_its_own(database: Path) -> None:
    """It says how many there are and until when, in any period that is not over."""
    [told] = [one for one in made(database, Scope(NOW - 2 * HOUR)).findings if one.kind == "stamped_later_than_now"]
    assert told.sentence.startswith("30 decisions are stamped later than now, the latest ")
    assert told.evidence["total"] == 30
    over = made(database, Scope(NOW - 2 * HOUR, NOW - HOUR / 2)).findings
    assert "stamped_later_than_now" not in {one.kind for one in over}


def test_clocks_that_differ_by_minutes_are_no_finding(database: Path) -> None:
    """Hosts of a fleet are some seconds apart: what another one has just stamped is not told."""
    shortly_before = NOW + YEAR - timedelta(minutes=4)
    assert "stamped_later_than_now" not in {one.kind for one in made(database, Scope(), shortly_before).findings}


def test_who_asks_for_what_is_to_come_gets_it(database: Path) -> None:
    """`--since` of tomorrow shows what is stamped for later."""
    assert made(database, Scope(NOW + 24 * HOUR)).overall.total == 30


@pytest.mark.parametrize(("command", "total"), [("report", "total"), ("simulate", "total")])
def test_commands_end_a_period_now(database: Path, command: str, total: str) -> None:
    """`report` and `simulate` count the same images."""
    more = ["--set", "blur_score=1"] if command == "simulate" else []
    arguments = [command, "--db", str(database), "--since", "1d", "--format", "json", *more]
    assert json.loads(CliRunner().invoke(app, arguments).stdout)[total] == 40


def test_alerts_end_their_period_now(database: Path) -> None:
    """Four of forty in the last day are no news; thirty of thirty next year are none of them."""
    settings = Settings(root=database.parent, audit=Audit(database=database), metrics=Metrics(enabled=True))
    assert {one.kind for one in current_findings(settings, NOW)} == {"stamped_later_than_now"}


def test_a_selection_of_rejected_images_ends_now(database: Path) -> None:
    """What is released or purged since yesterday is not what is stamped for next year."""
    with open_log(database) as log:
        assert len(page(log, selection_of(SelectionOptions(since="1d", state=StateName.all), None, []))) == 4
        assert len(page(log, selection_of(SelectionOptions(state=StateName.all), None, []))) == 34
