"""What must hold for the commands that findings give: they run, and show images of the finding."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from typer.testing import CliRunner

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import page
from imageguard_daemon.cli.app import app
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding, moment_of
from imageguard_daemon.reporting.query import report_on, risen_in
from imageguard_daemon.web.filters import Filters
from tests.helpers.audit_logs import Judged, write_log

BEGIN = datetime(2025, 3, 3, tzinfo=UTC)
DAYS = 35
NOW = BEGIN + timedelta(days=DAYS)
SETTINGS = Reporting()
SOURCES = ("scraper", "it's one", "gone", "more", "gate")
CLASSES = ("lynx", "(none)", "", " dog", "cat", "Cat")


def images() -> Iterator[Judged]:
    """Give five weeks of five sources, with patterns of most kinds and names that need care."""
    for day in range(DAYS):
        at = BEGIN + timedelta(days=day, hours=9, seconds=day)

        def some(
            source: str, class_name: str, number: int, bad: int, reason: str, *, at: datetime = at, **more: object
        ):
            one = Judged(class_name, "", number - bad, source, f"cam {source}", at, **more)
            yield one
            yield replace(one, images=bad, reason=reason, borderline=False)

        yield from some("scraper", "lynx", 8, 7, "low_resolution")
        yield from some("it's one", " dog", 10, 8 if day >= 25 else 1, "blurry")
        yield from some("it's one", "(none)", 6, 3 if day % 7 == 1 else 0, "noisy")
        if day < DAYS - 8:
            yield from some("gone", "", 10, 5, "overexposed")
        yield from some("more", "Cat", 60 if day >= DAYS - 2 else 4, 0, "blurry")
        yield from some("gate", "cat", 10, 1, "noisy" if day >= 20 else "blurry", borderline=day >= 22)
        yield replace(Judged("cat", "", 4, "gate", "cam gate", at), repeated=True)
    yield Judged("cat", "blurry", 3, "gate", "", datetime(2031, 1, 1, 12, 0, 30, 5_000, tzinfo=UTC))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the log."""
    return write_log(tmp_path_factory.mktemp("log") / "audit.db", images())


@pytest.fixture(scope="module")
def engine(log: Path) -> Iterator[Engine]:
    """Give it opened."""
    with open_log(log) as opened:
        yield opened


_names = {"source": SOURCES, "class_name": CLASSES, "camera": [f"cam {one}" for one in SOURCES], "preset": ["general"]}
scopes = st.builds(
    Scope,
    since=st.none()
    | st.integers(0, 20).map(lambda day: BEGIN + timedelta(days=day, hours=3, milliseconds=1_001 * day)),
    until=st.none() | st.integers(30, 35).map(lambda day: BEGIN + timedelta(days=day, hours=8)),
    **{name: st.none() | st.sampled_from(values) for name, values in _names.items()},
)


@pytest.mark.parametrize("hourly", [False, True])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(scope=scopes)
def test_every_command_runs_and_shows_images_of_its_finding(
    log: Path, engine: Engine, hourly: bool, scope: Scope
) -> None:
    """Whatever a report is on: what is listed are the images that were counted, of its source, class and time."""
    if hourly:
        scope = replace(scope, since=scope.since or BEGIN, until=scope.until or NOW)
        findings = tuple(risen_in(engine, scope, SETTINGS))
    else:
        findings = report_on(engine, (Dimension.class_,), scope, SETTINGS, NOW).findings
    for one in findings:
        if one.command.startswith("imageguard-daemon quarantine list"):
            _check_listed(one, log, engine)
        else:
            _check_reported(one, log)


_shown: dict[str, object] = {}


def _run(command: str, log: Path) -> object:
    if command not in _shown:
        _, *words = shlex.split(command.replace("--format html --output found.html", ""))
        words.remove("ROOT")
        answer = CliRunner().invoke(app, [*words, "--db", str(log), "--format", "json"])
        assert answer.exit_code == 0, (command, answer.output)
        _shown[command] = json.loads(answer.stdout)
    return _shown[command]


def _check_listed(one: Finding, log: Path, engine: Engine) -> None:
    listed = _run(f"{one.command} --limit 10000", log)
    assert isinstance(listed, dict)
    rows = listed["images"]
    assert rows, one.command
    for row in rows:
        for name, value in one.where.items():
            assert row.get(name, value) == value, one.command
        for option, value in (("source", one.scope.source), ("class", one.scope.class_name)):
            assert value in {None, row[option]}, one.command
    if "apart from" not in one.sentence and one.score is None:
        assert len(rows) == one.evidence["rejected"], (one.command, one.sentence)
    chosen = Filters.of(dict(parse_qsl(one.query, keep_blank_values=True))).selection(NOW)
    assert [each.id for each in page(engine, replace(chosen, limit=10_000))] == [row["id"] for row in rows]


def _check_reported(one: Finding, log: Path) -> None:
    if one.command:
        shown = _run(one.command, log)
        assert isinstance(shown, dict)
        assert shown["total"] > 0, one.command
        assert shown["source"] in {None, one.where.get("source", one.scope.source)}


def test_what_is_usual_is_known_from_weeks_before_a_short_period(engine: Engine) -> None:
    """Alerts on the last day tell the rise that alerts on all weeks tell."""
    told = [
        [(one.subject, one.evidence) for one in risen_in(engine, Scope(since, until=NOW), SETTINGS)]
        for since in (BEGIN, NOW - timedelta(days=1))
    ]
    assert told[0] == told[1]
    assert "it's one" in {subject for subject, _ in told[0]}


def test_times_are_exact() -> None:
    """A period that begins within a minute is not rounded to it."""
    assert moment_of(datetime(2025, 3, 1, 12, 30, tzinfo=UTC)) == "2025-03-01T12:30"
    assert moment_of(datetime(2025, 3, 1, 12, 30, 0, 5_000, tzinfo=UTC)) == "2025-03-01T12:30:00.005"
