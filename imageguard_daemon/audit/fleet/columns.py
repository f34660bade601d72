"""Reads the roll-ups of a fleet as columns of numbers: packed by the server, an hour in one value."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sa

from imageguard_daemon.audit.rollups import HOUR_MS
from imageguard_daemon.core.model import MAX_INT64, MIN_INT64, SCORE_NAMES

_DAY_MS = 24 * HOUR_MS
# What int8send and its like give: big-endian, one image after the other.
_PLAIN = [("moments", ">i8"), ("ids", ">i8"), ("keys", ">u4"), ("flags", ">i2")]
_WITH_SCORES = [*_PLAIN, ("scores", ">f8", (len(SCORE_NAMES),))]
_SENT = "int8send(moment_ms) || int8send(decision_id) || int4send(key_id) || int2send(flags)"
_SCORES = " || ".join(f"float8send(coalesce({name}, 'NaN'))" for name in SCORE_NAMES)
_NEXT = "SELECT min(moment_ms) FROM rollup_images WHERE moment_ms >= %s"
_LAST = "SELECT max(moment_ms) FROM rollup_images WHERE moment_ms < %s"


class _Hour(NamedTuple):
    """An hour as `rollup_hours` of a log has it."""

    hour: int
    images: int
    moments: bytes
    keys: bytes
    flags: bytes
    ids: bytes


class _HourWithScores(NamedTuple):
    hour: int
    images: int
    moments: bytes
    keys: bytes
    flags: bytes
    ids: bytes
    scores: bytes


def fleet_hours(
    connection: sa.Connection, span_ms: tuple[int, int], *, scores: bool, newest_first: bool
) -> Iterator[_Hour | _HourWithScores]:
    """Yield the hours from one moment to another, in order or backwards; a day is asked for at a time."""
    order = "DESC" if newest_first else "ASC"
    sent = f"{_SENT} || {_SCORES}" if scores else _SENT
    query = (
        f"SELECT hour, count(*), string_agg({sent}, ''::bytea) FROM "
        f"(SELECT *, floor(moment_ms / {HOUR_MS}.0)::bigint AS hour FROM rollup_images "
        f"WHERE moment_ms >= %s AND moment_ms < %s) AS of_day GROUP BY hour ORDER BY hour {order}"
    )
    for day in _days(connection, span_ms, newest_first=newest_first):
        begin, end = max(day * _DAY_MS, span_ms[0]), min((day + 1) * _DAY_MS, span_ms[1])
        for hour, images, packed in connection.exec_driver_sql(query, (begin, end)):
            yield _unpacked(hour, images, packed, scores=scores)


def _days(connection: sa.Connection, span_ms: tuple[int, int], *, newest_first: bool) -> Iterator[int]:
    """Yield the days that have images; a clock that was years off costs no walk over the years between."""
    first, last = (max(MIN_INT64, min(moment, MAX_INT64)) for moment in span_ms)
    while True:
        query, bound = (_LAST, last) if newest_first else (_NEXT, first)
        moment = connection.exec_driver_sql(query, (bound,)).scalar()
        if moment is None or not span_ms[0] <= moment < span_ms[1]:
            return
        day = int(moment) // _DAY_MS
        yield day
        first, last = (day + 1) * _DAY_MS, day * _DAY_MS


def _unpacked(hour: int, images: int, packed: Any, *, scores: bool) -> _Hour | _HourWithScores:
    columns = np.frombuffer(bytes(packed), np.dtype(_WITH_SCORES if scores else _PLAIN))
    parts = (
        columns["moments"].astype("<i8").tobytes(),
        columns["keys"].astype("<u4").tobytes(),
        columns["flags"].astype("u1").tobytes(),
        columns["ids"].astype("<i8").tobytes(),
    )
    if not scores:
        return _Hour(hour, images, *parts)
    return _HourWithScores(hour, images, *parts, columns["scores"].astype("<f8").tobytes())
