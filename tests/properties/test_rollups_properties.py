"""The roll-ups say exactly what the records say, however the log came about."""

import math
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from imageguard_daemon.audit import rollups
from imageguard_daemon.audit.columns import open_columns
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.database import open_for_writing
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.core.model import SCORE_NAMES
from tests.helpers.audit_logs import NOON, Judged, count_decisions, write_log

SCORES = ", ".join(SCORE_NAMES)
BATCHES = st.lists(
    st.builds(
        Judged,
        class_name=st.sampled_from(["cat", "dog", ""]),
        reason=st.sampled_from(["", "blurry", "underexposed"]),
        images=st.integers(1, 6),
        source=st.sampled_from(["default", "scraper"]),
        camera=st.sampled_from(["", "Canon EOS R6"]),
        # Also backwards: a clock is set, a crash is finished days later.
        decided_at=st.integers(-90, 90).map(lambda minutes: NOON + timedelta(minutes=minutes * 7)),
        outcome=st.sampled_from(["moved", "moved", "moved", "abandoned", "lost"]),
        exposure=st.sampled_from([None, (0.0, 0.9), (0.9, 0.0), (1.0, 1.2), (0.3, 0.3)]),
        repeated=st.booleans(),
    ),
    max_size=12,
)
BY_SQL = {
    Dimension.class_: "class",
    Dimension.camera: "camera",
    Dimension.source: "source",
    Dimension.preset: "preset",
    Dimension.hour: "substr(decided_at, 1, 13)",
    Dimension.day: "substr(decided_at, 1, 10)",
    Dimension.week: "date(decided_at, '-6 days', 'weekday 1')",
}


def by_the_records(database: Path, expression: str) -> Counter[tuple[str, str]]:
    """Count the view as anybody would."""
    with sqlite3.connect(database) as connection:
        query = f"SELECT {expression}, reason, count(*) FROM decisions GROUP BY 1, 2"
        return Counter({(key, reason): images for key, reason, images in connection.execute(query)})


def by_the_rollups(database: Path, by: Dimension) -> Counter[tuple[str, str]]:
    """Count the same as a report does."""
    with open_log(database) as log:
        [counts] = count_decisions(log, [(by,)], Scope())
    return Counter({(count.keys[0], count.reason): count.images for count in counts})


def images_of(database: Path) -> dict[int, tuple[object, ...]]:
    """Give what the roll-ups have of each image."""
    with open_log(database) as log, open_columns(log) as columns:
        return {
            int(number): (int(moment), columns.keys[key], int(flags), *np.nan_to_num(scores, nan=-1.0))
            for batch in columns.batches(Scope(), scores=True)
            for number, moment, key, flags, scores in zip(
                batch.ids, batch.moments, batch.keys, batch.flags, batch.scores, strict=True
            )
        }


@settings(max_examples=25)
@given(BATCHES, st.sampled_from([1, 5, 4_096]))
def test_reports_count_what_the_records_hold(batches: list[Judged], most_recent: int) -> None:
    """By any dimension, packed or not, the counts are those of the view; only images that moved are in them."""
    with TemporaryDirectory() as folder, patch.object(rollups, "MAX_RECENT", most_recent):
        database = write_log(Path(folder) / "audit.db", batches)
        for by, expression in BY_SQL.items():
            assert by_the_rollups(database, by) == by_the_records(database, expression)


@settings(max_examples=25)
@given(BATCHES)
def test_scores_moments_and_flags_are_those_of_the_record(batches: list[Judged]) -> None:
    """Every image is there once: its six scores to the last bit, its moment, what is wrong with its exposure."""
    with TemporaryDirectory() as folder, patch.object(rollups, "MAX_RECENT", 5):
        database = write_log(Path(folder) / "audit.db", batches)
        found = images_of(database)
        with sqlite3.connect(database) as connection:
            rows = connection.execute(
                f"SELECT id, decided_at, duplicate_of IS NOT NULL, coalesce(measures ->> 'underexposure', 0),"
                f" coalesce(measures ->> 'overexposure', 0), {SCORES} FROM decisions"
            ).fetchall()
        assert set(found) == {row[0] for row in rows}
        for number, decided_at, duplicate, dark, bright, *scores in rows:
            moment, _, flags, *stored = found[number]
            assert datetime.fromtimestamp(moment / 1000, UTC) == datetime.fromisoformat(decided_at)
            assert bool(flags & rollups.FLAG_DUPLICATE) == bool(duplicate)
            assert bool(flags & rollups.FLAG_DARK) == (dark > bright and bright < 1)
            assert stored == [-1.0 if score is None else score for score in scores]


@settings(max_examples=15)
@given(BATCHES)
def test_a_migration_makes_the_same_rollups_from_the_records(batches: list[Judged]) -> None:
    """Emptied and made anew, they say the same of every image."""
    with TemporaryDirectory() as folder, patch.object(rollups, "MAX_RECENT", 5):
        database = write_log(Path(folder) / "audit.db", batches)
        before = images_of(database)
        engine = open_for_writing(database)
        with engine.begin() as connection, patch.object(rollups, "_OUTCOMES_AT_A_TIME", 3):
            for table in ("rollup_hours", "rollup_recent", "rollup_keys"):
                connection.execute(sa.text(f"DELETE FROM {table}"))
            rollups.rebuild(connection)
        engine.dispose()
        assert images_of(database) == before


@given(st.lists(st.tuples(st.integers(0, rollups.HOUR_MS - 1), st.floats(0, 100) | st.none()), min_size=1, max_size=20))
def test_packing_keeps_every_value(images: list[tuple[int, float | None]]) -> None:
    """What is packed comes out as it went in; what is not there comes out as not a number."""
    rows = [(moment, 7, 3, number, *[score] * 6, 1) for number, (moment, score) in enumerate(images)]
    hour, number, rejected, moments, keys, flags, ids, scores = rollups.packed_hour(0, rows)
    assert (hour, number, rejected) == (0, len(images), len(images))
    assert np.frombuffer(moments, "<i8").tolist() == [moment for moment, _ in images]
    assert set(np.frombuffer(keys, "<u4")) == {7}
    assert set(flags) == {3}
    assert np.frombuffer(ids, "<i8").tolist() == list(range(len(images)))
    read = np.frombuffer(scores, "<f8").reshape(-1, 6)[:, 0].tolist()
    assert all(math.isnan(got) if score is None else got == score for got, (_, score) in zip(read, images, strict=True))
