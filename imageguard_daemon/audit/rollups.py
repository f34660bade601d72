"""The roll-ups: what reports need of every filed image, kept by the writer in the transaction that files it.

An image's row in `decision_records` has a kilobyte; a report needs eighty bytes of it. Those go into `rollup_recent`
and, when their hour is over or there are many, into one row of `rollup_hours`: the hour's totals as plain numbers, and
its images as packed columns, one value for each image, in the same order in each column:

    moments  <i8   when it was judged, milliseconds since 1970
    keys     <u4   its row in `rollup_keys`: host, source, class, camera, preset, thresholds, verdict and reason
    flags    u1    the sum of FLAG_... below
    ids      <i8   its decision
    scores   <f8   six for each image, in the order of SCORE_NAMES; NaN where nothing could be measured

An hour has several rows when it has many images, or late ones. Rows that are archived leave their roll-up behind. Like
an index it repeats what the records say, so it is not a link of the hash chain; a migration can always make it again.
"""

import itertools
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.core.model import SCORE_NAMES

FLAG_DARK = 1
"""Of the two faults of exposure, too little light is the worse one."""
FLAG_DUPLICATE = 2
"""The content was filed before."""
FLAG_UNREADABLE = 4
"""A score is not a number: the row was not written by us."""
FLAG_BORDERLINE = 8
"""The signal that decides lies where good and bad images mix."""

KEY_COLUMNS = ("host", "source", "class", "camera", "preset", "profile", "verdict", "reason", "scorer_version")
PACKED = {"moments": "<i8", "keys": "<u4", "flags": "u1", "ids": "<i8", "scores": "<f8"}
"""The packed columns and their types, as above."""
MAX_RECENT = 4_096
"""So many images wait unpacked at most."""
HOUR_MS = 3_600_000
_OUTCOMES_AT_A_TIME = 20_000

_MOVED = """
    FROM outcomes AS o
    JOIN intents AS i ON i.id = o.intent_id AND i.role = 'image'
    JOIN decision_records AS r ON r.id = i.decision_id
        AND i.id = (SELECT min(id) FROM intents WHERE decision_id = r.id AND role = 'image') -- not what reviews moved
    WHERE o.id > ? AND o.id <= ? AND o.outcome = 'moved'
"""
_KEYS = ", ".join(KEY_COLUMNS)
_NEW_KEYS = f"""
    INSERT OR IGNORE INTO rollup_keys ({_KEYS}) SELECT {", ".join("r." + name for name in KEY_COLUMNS)} {_MOVED}
"""
_SAME_KEY = " AND ".join(f"k.{name} = r.{name}" for name in KEY_COLUMNS)
_MOMENT = "coalesce(strftime('%s', r.decided_at) * 1000 + CAST(substr(r.decided_at, 21, 3) AS INTEGER), 0)"
_DARK = """coalesce(CASE WHEN r.exposure_score < 100 AND json_valid(r.measures)
    THEN coalesce(json_extract(r.measures, '$.overexposure'), 0)
       < min(1.0, json_extract(r.measures, '$.underexposure')) END, 0)"""
_NUMBERS = [f"typeof(r.{name}) IN ('real', 'integer', 'null')" for name in SCORE_NAMES]
_FLAGS = (
    f"{_DARK} * {FLAG_DARK} + (r.duplicate_of IS NOT NULL) * {FLAG_DUPLICATE}"
    f" + (NOT ({' AND '.join(_NUMBERS)})) * {FLAG_UNREADABLE}"
)
_SCORES = ", ".join(f"CASE WHEN {number} THEN r.{name} END" for number, name in zip(_NUMBERS, SCORE_NAMES, strict=True))


def _addition(flags: str) -> str:
    return f"""
        INSERT INTO rollup_recent (decision_id, key_id, moment_ms, flags, {", ".join(SCORE_NAMES)})
        SELECT r.id, (SELECT k.id FROM rollup_keys AS k WHERE {_SAME_KEY}), {_MOMENT}, {flags}, {_SCORES} {_MOVED}
        ORDER BY o.id
    """


_ADD = _addition(f"{_FLAGS} + (r.borderline IS 1) * {FLAG_BORDERLINE}")
_ADD_OLDER = _addition(_FLAGS)
"""For the migration that makes the roll-ups: at its place in the history, there is no column `borderline` yet."""
_ENDS = """
    SELECT first.position, first.moment_ms, last.position, last.moment_ms
    FROM rollup_recent AS first, rollup_recent AS last
    WHERE first.position = (SELECT min(position) FROM rollup_recent)
    AND last.position = (SELECT max(position) FROM rollup_recent)
"""
_TAKE = f"""
    SELECT n.moment_ms, n.key_id, n.flags, n.decision_id, {", ".join("n." + name for name in SCORE_NAMES)},
           k.verdict <> 'accepted'
    FROM rollup_recent AS n JOIN rollup_keys AS k ON k.id = n.key_id
    WHERE n.moment_ms < ? ORDER BY n.moment_ms / {HOUR_MS}, n.position
"""
_FOREVER = 1 << 62
_NAN = math.nan


def add_moved(connection: sa.Connection, after: int, until: int = _FOREVER) -> None:
    """Take in the images that outcomes with ids above `after` say were moved, in the transaction of those outcomes."""
    _take_in(connection, _ADD, after, until)


def _take_in(connection: sa.Connection, addition: str, after: int, until: int) -> None:
    # The keys first: each image is added with the number of its own.
    connection.exec_driver_sql(_NEW_KEYS, (after, until))
    connection.exec_driver_sql(addition, (after, until))
    first_position, first_ms, last_position, last_ms = connection.exec_driver_sql(_ENDS).first() or (0, 0, 0, 0)
    # The ends alone are looked at, not all that waits: this runs for each group of files. A clock that went back makes
    # the first one the later of the two; what lies between them is packed with the next hour, or when there are many.
    first_hour, last_hour = first_ms // HOUR_MS, last_ms // HOUR_MS
    if last_position - first_position >= MAX_RECENT:
        _pack(connection, _FOREVER)
    elif first_hour != last_hour:
        _pack(connection, max(first_hour, last_hour) * HOUR_MS)


def rebuild(connection: sa.Connection) -> None:
    """Make the roll-ups of all outcomes of a log that knows nothing of borderline yet; they must be empty. Streams."""
    last = connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM outcomes").scalar_one()
    for after in range(0, last, _OUTCOMES_AT_A_TIME):
        _take_in(connection, _ADD_OLDER, after, after + _OUTCOMES_AT_A_TIME)


def _pack(connection: sa.Connection, before_ms: int) -> None:
    """Move what was judged before a moment from `rollup_recent` to `rollup_hours`."""
    rows = connection.exec_driver_sql(_TAKE, (before_ms,)).fetchall()
    by_hour = itertools.groupby(rows, lambda row: row[0] // HOUR_MS)  # they come in this order
    packed = [packed_hour(hour, list(images)) for hour, images in by_hour]
    connection.exec_driver_sql(
        f"INSERT INTO rollup_hours (hour, images, rejected, {', '.join(PACKED)}) VALUES (?,?,?,?,?,?,?,?)",
        packed,
    )
    connection.exec_driver_sql("DELETE FROM rollup_recent WHERE moment_ms < ?", (before_ms,))


def packed_hour(hour: int, images: Sequence[Sequence[Any]]) -> tuple[Any, ...]:
    """Give the row of `rollup_hours` for images of one hour: moment, key, flags, id, six scores, if quarantined."""
    moments, keys, flags, ids, *_, are_quarantined = zip(*images, strict=True)
    scores = [_NAN if score is None else score for image in images for score in image[4:10]]
    number = len(images)
    pack: Callable[..., bytes] = struct.pack
    return (
        hour,
        number,
        sum(are_quarantined),
        pack(f"<{number}q", *moments),
        pack(f"<{number}I", *keys),
        bytes(flags),
        pack(f"<{number}q", *ids),
        pack(f"<{6 * number}d", *scores),
    )
