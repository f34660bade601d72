"""Every question gets the same answer from a log and from the fleet's database that it was forwarded to."""

import json
import re
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psycopg
import pytest
from typer.testing import CliRunner

from imageguard_daemon.audit import alerts, by_score, quarantine_queries, queries, reviewed_images
from imageguard_daemon.audit.columns import open_columns
from imageguard_daemon.audit.counts import PERIODS, Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import Selection
from imageguard_daemon.audit.reviewed_images import count_reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.cli.app import app
from imageguard_daemon.config import Reporting, Settings
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.model import Measures
from imageguard_daemon.reporting.query import report_on, simulation_of
from imageguard_daemon.reporting.rendering import as_dict
from imageguard_daemon.reporting.simulation import Rules
from imageguard_daemon.reporting.simulation_rendering import simulation_as_dict
from imageguard_daemon.review import acting
from imageguard_daemon.web.app import make_app
from imageguard_daemon.web.site import Site
from tests.helpers.audit_logs import NOON, Judged, count_decisions, write_log
from tests.helpers.fleets import forward
from tests.helpers.postgres import Server
from tests.helpers.rejections import Rejections

BASE = 1 << 40
MEASURES = Measures(640, 480, 3.0, 1.0, 95.0, 1.0, 0.0, 0.0, 3.0, 120.0, 240.0, 0.1, 0.4)
BATCHES = [
    Judged(images=30, exposure=(0.0, 0.0), camera="Nikon D7"),
    Judged(images=7, exposure=(0.0, 0.0), camera="Nikon D7", borderline=True),
    Judged("dog", "blurry", images=25, exposure=(0.1, 0.4), source="scraper", borderline=True),
    Judged("dog", "underexposed", images=9, exposure=(0.2, 0.9), decided_at=NOON + timedelta(hours=1, milliseconds=7)),
    Judged("Äpfel", "overexposed", images=8, exposure=(0.9, 0.2), decided_at=NOON + timedelta(days=3650)),
    Judged("b", "corrupt", images=3, decided_at=NOON - timedelta(days=9, hours=11)),
    Judged("B", "noisy", images=4, repeated=True, exposure=(1.0, 1.2)),
    Judged("", "blurry", images=2, outcome="abandoned"),
]
SCOPES = [
    Scope(),
    Scope(since=NOON, until=NOON + timedelta(hours=1)),
    Scope(since=NOON - timedelta(days=30), class_name="dog"),
    Scope(source="scraper"),
    Scope(camera="", until=NOON + timedelta(days=4000)),
    Scope(host=socket.gethostname(), preset="general"),
]


@pytest.fixture(scope="module")
def both(server: Server, prepared: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A log of images, reviews and alerts, and the address of the database that has it too."""
    made = Rejections(tmp_path_factory.mktemp("both") / "root")
    names = [made.file(f"cat/{n}.jpg", measures=MEASURES, labels=[".txt"] if n % 2 else []) for n in range(8)]
    made.do(acting.release, *names[:2])
    made.do(acting.undo, names[0])
    made.do(acting.confirm, *names[2:4])
    made.do(acting.purge, names[3])
    fine = [made.file(f"cat/fine{n}.jpg", measures=MEASURES, ok=True) for n in range(3)]
    made.do(acting.reject, *fine[:2])
    made.do(acting.undo, fine[1])
    made.do(acting.approve, fine[2])
    log = made.root / "audit.db"
    write_log(log, BATCHES)
    writer = AuditWriter(log, made.root)
    found = alerts.Alert(NOON, "high_rejection_rate", "dog", "told", "webhook", {"rate": 0.5})
    [recorded] = alerts.AlertLog(writer).record_alerts([found])
    alerts.AlertLog(writer).record_attempts([alerts.Attempt(recorded.alert_id, NOON, True, "well")])
    writer.close()
    made.close()
    url = server.new_database(like=prepared)
    forward(log, url, socket.gethostname(), batch_records=37)
    return log, url


@pytest.fixture
def engines(both: tuple[Path, str]) -> Iterator[tuple[Store, Store]]:
    """Both opened for reading."""
    opened = [open_log(place, complete=True) for place in both]
    yield opened[0], opened[1]
    for engine in opened:
        engine.close()


def local(answer: Any) -> Any:
    """Give an answer with the ids of the log in place of the fleet's numbers."""
    if isinstance(answer, bool | None | str | float | datetime):
        return answer
    if isinstance(answer, int):
        return answer - BASE if BASE < answer < 2 * BASE else answer
    if isinstance(answer, dict):
        return {local(key): local(value) for key, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [local(one) for one in answer]
    return {name: local(getattr(answer, name)) for name in answer.__dataclass_fields__}


GROUPINGS = [
    *((one,) for one in Dimension),
    *(pair for pair in combinations(Dimension, 2) if sum(one in PERIODS for one in pair) < 2),
]


@pytest.mark.parametrize("scope", SCOPES, ids=lambda scope: str(SCOPES.index(scope)))
def test_counts_and_reports_agree(engines: tuple[Store, Store], scope: Scope) -> None:
    """Every grouping, crossed with every other, and the whole report with its examples and percentiles."""
    here, there = ([sorted(counts) for counts in count_decisions(engine, GROUPINGS, scope)] for engine in engines)
    assert here == there
    assert any(here)
    now = NOON + timedelta(days=10)
    reports = [as_dict(report_on(one, (Dimension.class_,), scope, Reporting(), now)) for one in engines]
    assert reports[0] == local(reports[1])


def test_simulations_agree(engines: tuple[Store, Store]) -> None:
    """Other thresholds would have decided the same on both."""
    for changed in ({"blur_score": 60.0, "noise_score": 0.0}, {"overexposure_score": 0.0}):
        rules = Rules(changed, "detection", {})
        made = [simulation_as_dict(simulation_of(engine, Scope(), rules), "x") for engine in engines]
        assert made[0] == local(made[1])
        assert made[0]["newly_rejected"] is not None


def test_columns_agree_to_the_last_bit(engines: tuple[Store, Store]) -> None:
    """Moments, flags, keys and scores of every image, forwards and backwards."""
    found = []
    for engine in engines:
        with open_columns(engine) as columns:
            for newest_first in (False, True):
                images = {}
                for batch in columns.batches(Scope(), scores=True, newest_first=newest_first):
                    for at, number in enumerate(batch.ids.tolist()):
                        key = columns.keys[batch.keys[at]]
                        values = (int(batch.moments[at]), int(batch.flags[at]), key, batch.scores[at].tobytes())
                        images[local(number)] = values
                found.append(images)
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 11 + 86
    assert not np.isnan(np.frombuffer(found[0][9][3])).any()


def _quarantine(engine: Store) -> list[object]:
    selections = [
        Selection(),
        Selection(states=("released", "purged", "confirmed"), limit=3),
        Selection(Scope(since=NOON, class_name="dog"), reason="blurry", scores={"blur_score": (2.0, 9.5)}),
        Selection(action="release", reviewed_since=datetime.now(UTC) - timedelta(days=1), states=("released",)),
        Selection(states=("rejected", "approved")),
        Selection(states=("accepted",), limit=5),
        Selection(states=quarantine_queries.EVER_QUARANTINED, limit=7),
    ]
    accepted, rejected = Selection(states=("accepted",)), Selection(states=quarantine_queries.EVER_QUARANTINED)
    doubtful, nearby = by_score.borderline_page(engine, accepted, 3), by_score.nearest_page(engine, rejected, 3)
    return [
        [doubtful, by_score.borderline_page(engine, accepted, 100, doubtful.after)],
        [nearby, by_score.nearest_page(engine, rejected, 100, nearby.after)],
        [[*quarantine_queries.page(engine, one)] for one in selections],
        [[*quarantine_queries.selected(engine, one)] for one in selections],
        [[*quarantine_queries.scores_of(engine, one)] for one in selections],
        sorted(reviewed_images.reviewed_measures(engine)),
        sorted(count_reviews(engine, Scope()), key=repr),
    ]


def _one_by_one(engine: Store) -> list[object]:
    ids = [int(str(row["id"])) for row in queries.decision_rows(engine)]
    return [
        ids,
        [queries.decision_row(engine, one) for one in ids],
        queries.newest_decisions(engine, ids[-3], 20),
        queries.last_decision(engine),
        [quarantine_queries.reviewable_image(engine, one) for one in ids],
        [quarantine_queries.reviews_of(engine, one) for one in ids],
        queries.images_by_id(engine, ids),
        quarantine_queries.ids_of(engine, ["cat/2.jpg", "dog/40.jpg", "nothing"], "/srv/ingest"),
    ]


def _alerts(engine: Store) -> list[alerts.Alert]:
    return alerts.recorded_alerts(engine, NOON - timedelta(days=1))


@pytest.mark.parametrize("asked", [_quarantine, _one_by_one, _alerts])
def test_listings_agree(engines: tuple[Store, Store], asked: Callable[[Store], list[object]]) -> None:
    """Pages, the quarantine with its reviews, single decisions, alerts: row by row, column by column."""
    here, there = map(asked, engines)
    assert here
    assert local(here) == local(there)


def test_two_hosts_are_a_dimension(server: Server, prepared: str, tmp_path: Path) -> None:
    """Reports count all hosts, by host, and one of them; the same image on two hosts is two images."""
    url = server.new_database(like=prepared)
    for host, images in (("east", 3), ("west", 5)):
        (tmp_path / host).mkdir()
        log = write_log(tmp_path / host / "audit.db", [Judged(images=images), Judged(reason="blurry", images=2)])
        forward(log, url, host)
    made = run("report", "--db", url, "--by", "host", "--format", "json")
    groups = {group["key"]: (group["total"], group["rejected"]) for group in json.loads(made)["groups"]}
    assert groups == {"east": (5, 2), "west": (7, 2)}
    assert json.loads(run("report", "--db", url, "--host", "east", "--format", "json"))["total"] == 5
    assert "did you mean 'east'" in run("report", "--db", url, "--host", "easst")


def run(*arguments: object) -> str:
    """Run a command and give what it writes, or what it ends with."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return str(result.exception) if isinstance(result.exception, ImageguardError) else result.output


def test_every_command_that_only_looks_takes_an_address(both: tuple[Path, str]) -> None:
    """What they print is the same but for the numbers; commands that need the files say so."""
    for command in (
        ("report", "--details", "--format", "json", "--until", "2030-01-01"),
        ("simulate", "--set", "blur_score=60", "--format", "json"),
        ("quarantine", "list", "--format", "json"),
        ("quarantine", "list", "--state", "confirmed", "--format", "csv"),
        ("alerts", "list", "--format", "json"),
    ):
        # A finding about what is stamped for later has a command that begins with the moment of asking.
        here, there = (re.sub(r"--since \S+ --until", "--until", run(*command, "--db", place)) for place in both)
        assert here == re.sub(r"\b10995116\d{5}\b", lambda found: str(int(found[0]) - BASE), there)
        assert len(here) > 20
    assert "on the server that wrote it" in run("verify", "--db", both[1], both[0].parent)
    assert "on the server that wrote it" in run("export", "--to", "list", "--db", both[1])


def test_an_address_that_cannot_be_read_is_told(server: Server, prepared: str) -> None:
    """Not prepared, not there, of a newer version: a sentence each."""
    assert "is not prepared yet" in run("report", "--db", server.new_database())
    assert "does not exist" in run("report", "--db", server.url("nowhere"))
    newer = server.new_database(like=prepared)
    with psycopg.connect(newer) as connection:
        connection.execute("UPDATE fleet_version SET version_num = '0999'")
    assert "newer version" in run("report", "--db", newer)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_pages_show_the_fleet_and_act_on_nothing(both: tuple[Path, str], tmp_path: Path) -> None:
    """Every page is there for the fleet's database, without buttons and without pictures of other servers' files."""
    site = Site(Settings().anchored(tmp_path), both[1], "anna", may_act=False)
    transport = httpx.ASGITransport(make_app(site), raise_app_exceptions=False)
    first = BASE + 1
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765") as client:
        for page in ("/", "/live", "/quarantine", "/quarantine?order=nearest", "/thresholds", f"/decisions/{first}"):
            answer = await client.get(page)
            assert answer.status_code == 200, (page, answer.text)
            assert "No daemon runs" not in answer.text
        assert (await client.get(f"/decisions/{first}/image")).status_code == 404
        assert re.search(r"<footer>127\.0\.0\.1/fleet\d+ ", (await client.get("/")).text)
        decisions = (await client.get("/api/decisions?limit=5")).json()
        assert len(decisions["decisions"]) == 5
    site.connections.close()
