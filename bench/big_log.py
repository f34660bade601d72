"""Fills an audit log with a year of decisions, fast: `python -m bench.big_log fill|index|upgrade FOLDER`.

    python -m bench.big_log fill BIG --images 10000000      # records, as the version before the roll-ups wrote them
    python -m bench.big_log index BIG                       # its indexes and triggers
    python -m bench.big_log upgrade BIG                     # the daemon's own migration, which makes the roll-ups

Records have the columns and sizes that the daemon's have, but for the links of the hash chain: no report reads them,
and hashing thirty million rows takes longer than all the rest. `verify` would say so.
"""

import argparse
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from bench.year import DecidedDay, Year, patterns_of_a_bad_year
from imageguard_daemon.audit.database import open_for_writing
from imageguard_daemon.core.model import SCORE_NAMES

BEFORE_ROLLUPS = "0002"
_MEASURES = (
    '{"width": 1024, "height": 768, "blur_sigma_px": 0.9134253, "noise_sigma": 2.4431, "jpeg_quality": 91.23, '
    '"enlargement": 1.0213, "clipped_low": 0.00213, "clipped_high": 0.0123, "tone_low": 3.0, "tone_median": 121.0, '
    '"tone_high": 243.0, "overexposure": 0.1, "underexposure": %s}'
)
_DETAILS = {
    "blurry": "blur of 3.4 px (limit 2.0)",
    "low_resolution": "effective size of 34 kilopixels (limit 40)",
    "noisy": "noise of 21.3 grey levels (limit 16.0)",
    "underexposed": "under-exposure of 0.71 (limit 0.50), 64% of the pixels clipped",
    "compressed": "looks like JPEG quality 9 (limit 20)",
    "pixelated": "enlarged about 3.1 times (limit 2.0)",
    "corrupt": "JPEG: Premature end of JPEG file",
}
_DECISION = (
    *("id", "decided_at", "host", "source", "class", "relative_path", "sha256", "size_bytes", "verdict", "reason"),
    *("issues", "detail", "score", *SCORE_NAMES, "measures", "preset", "profile", "scorer_version", "image_format"),
    *("camera", "duplicate_of", "duration_ms"),
)
_INTENT = (
    *("id", "decision_id", "role", "source_path", "destination_path", "destination", "sha256", "device", "inode"),
    *("size_bytes", "mtime_ns", "ctime_ns", "intended_at"),
)
_OUTCOME = ("id", "intent_id", "outcome", "detail", "recorded_at")
Row = tuple[Any, ...]


def database_in(folder: Path) -> Path:
    """Give where the log is."""
    return folder / "audit.db"


def fill(folder: Path, year: Year) -> None:
    """Write the records of a year; the log must not be there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    database = database_in(folder)
    _create(database)
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    kept = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL AND type IN ('index', 'trigger')"
    ).fetchall()
    (folder / "later.sql").write_text(";;\n".join(sql for _, _, sql in kept))
    for kind, name, _ in kept:
        connection.execute(f"DROP {kind} {name}")
    first_id = 1
    for day in year.batches():
        connection.execute("BEGIN")
        for table, names, rows in _tables(day, first_id):
            marks = ", ".join("?" * len(names))
            quoted = ", ".join(f'"{name}"' for name in names)
            connection.executemany(f"INSERT INTO {table} ({quoted}) VALUES ({marks})", rows)
        connection.execute("COMMIT")
        first_id += len(day.moments)
    connection.close()


def index(folder: Path) -> None:
    """Make what filling went without."""
    connection = sqlite3.connect(database_in(folder), isolation_level=None)
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-100000")
    for statement in (folder / "later.sql").read_text().split(";;\n"):
        connection.execute(statement)
    connection.close()


def upgrade(folder: Path) -> None:
    """Bring the log up to date as the daemon's start does."""
    open_for_writing(database_in(folder)).dispose()


def _create(database: Path) -> None:
    config = Config()
    config.set_main_option("script_location", "imageguard_daemon.audit:migrations")
    engine = create_engine(f"sqlite:///{database}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE_ROLLUPS)
    engine.dispose()


def _tables(day: DecidedDay, first_id: int) -> Iterator[tuple[str, tuple[str, ...], Iterator[Row]]]:
    number = len(day.moments)
    ids = range(first_id, first_id + number)
    stamps = [_stamp(moment) for moment in day.moments.tolist()]
    noise = np.random.default_rng(first_id).bytes(32 * number).hex()
    hashes = [noise[at : at + 64] for at in range(0, 64 * number, 64)]
    keys = _keys(day)
    names = [f"{key.class_name}/{record:09}.jpg" for key, record in zip(keys, ids, strict=True)]
    yield "decision_records", _DECISION, _decisions(day, ids, stamps, hashes, names)
    places = [f"{'quarantine' if key.reason else 'accepted'}/{name}" for key, name in zip(keys, names, strict=True)]
    yield (
        "intents",
        _INTENT,
        (
            (
                *(one, one, "image", f"/srv/ingest/inbox/{name}".encode(), f"/srv/ingest/{place}".encode(), place),
                *(sha256, 64769, 1_000_000 + one, 200_000, 1_735_689_600_000_000_000 + one, 1_735_689_600_000_000_000),
                stamp,
            )
            for one, name, place, sha256, stamp in zip(ids, names, places, hashes, stamps, strict=True)
        ),
    )
    yield "outcomes", _OUTCOME, ((one, one, "moved", "", stamp) for one, stamp in zip(ids, stamps, strict=True))


def _decisions(day: DecidedDay, ids: range, stamps: list[str], hashes: list[str], names: list[str]) -> Iterator[Row]:
    measured = day.reasons != -2
    scores = [tuple(row) if ok else (None,) * 6 for row, ok in zip(day.scores.tolist(), measured.tolist(), strict=True)]
    duplicates = [one - 1 if again else None for one, again in zip(ids, day.duplicates.tolist(), strict=True)]
    rows = zip(ids, stamps, _keys(day), names, hashes, scores, duplicates, strict=True)
    for record, stamp, key, name, sha256, six, duplicate_of in rows:
        bad = key.reason
        yield (
            *(record, stamp, key.host, key.source, key.class_name, name, sha256, 200_000, key.verdict, bad),
            *(f'["{bad}"]' if bad else "[]", _DETAILS.get(bad, bad), 0.2 if bad else 0.8, *six),
            *(_MEASURES % (0.7 if bad == "underexposed" else 0.05), key.preset, key.profile, key.scorer_version),
            *("JPEG", key.camera, duplicate_of, 31.7),
        )


def _keys(day: DecidedDay) -> list[Any]:
    known: dict[tuple[int, ...], Any] = {}
    codes = zip(*(part.tolist() for part in (day.sources, day.classes, day.cameras, day.reasons)), strict=True)
    return [known.get(code) or known.setdefault(code, day.key(*code)) for code in codes]


def _stamp(ms: int) -> str:
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def main() -> None:
    """Do one step and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("fill", "index", "upgrade"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=10_000_000)
    asked = parser.parse_args()
    started = time.perf_counter()
    if asked.step == "fill":
        fill(asked.folder, Year(asked.images, planted=patterns_of_a_bad_year()))
    else:
        (index if asked.step == "index" else upgrade)(asked.folder)
    size = os.path.getsize(database_in(asked.folder)) / 1e9
    print(f"{asked.step}: {time.perf_counter() - started:.0f} s, {size:.2f} GB")


if __name__ == "__main__":
    main()
