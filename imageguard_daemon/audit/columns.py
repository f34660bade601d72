"""Reads the roll-ups as columns of numbers: ten million in seconds, a day in memory at a time."""

import difflib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.database import reading
from imageguard_daemon.audit.fleet.columns import fleet_hours
from imageguard_daemon.audit.rollups import HOUR_MS
from imageguard_daemon.audit.schema import NEWEST_REVISION, decision_records
from imageguard_daemon.core.errors import UnavailableError, UsageError
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.core.names import forms

HOURS_A_DAY = 24
DAY_MS = HOURS_A_DAY * HOUR_MS
_IDS_AT_A_TIME = 500
_SAMPLED, _MANY_HOURS = 11, 200
"""Of many hours a part is enough to guess from: this one is each hour of the day, and each day of the week, in turn."""
_SLIPS = {"source": "source", "class_name": "class", "camera": "camera", "host": "host", "preset": "preset"}
_MOST_IMAGES = 100_000
"""A batch ends when it has so many, or with its day."""
Engine = sa.Engine
"""A log opened for reading, for those who only pass it on."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PACKED = ("moments", "<i8"), ("keys", "<u4"), ("flags", "u1"), ("ids", "<i8"), ("scores", "<f8")
_FIRST_HOUR, _LAST_HOUR = -(1 << 62), 1 << 62


class Key(NamedTuple):
    """What many images have in common."""

    host: str
    source: str
    class_name: str
    camera: str
    preset: str
    profile: str
    verdict: str
    reason: str
    scorer_version: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Images of one UTC day, given as days since 1970: one value for each image in every array, in no order.

    `moments` are milliseconds since 1970, `keys` positions in `Columns.keys`, `flags` those of `rollups`, `ids`
    those of the decisions; `scores` is (images, 6) in the order of SCORE_NAMES, NaN where
    nothing could be measured, and empty unless asked for.
    """

    day: int
    moments: npt.NDArray[np.int64]
    keys: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]
    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.keys)

    def where(self, chosen: npt.NDArray[Any]) -> "Batch":
        """Keep the images that a mask or an index chooses."""
        scores = self.scores[chosen] if len(self.scores) else self.scores
        return Batch(self.day, self.moments[chosen], self.keys[chosen], self.flags[chosen], self.ids[chosen], scores)


class Columns:
    """The roll-ups at one moment of the log.

    `keys[n]` is the key with number n; numbers that are not in use have None.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._is_fleet = connection.dialect.name == "postgresql"
        self.keys = _keys(connection)

    def batches(self, scope: Scope, *, scores: bool = False, newest_first: bool = False) -> Iterator[Batch]:
        """Yield the images in scope in the order of their days, or backwards.

        Those that are not packed yet, some thousand at most, come last; backwards they come first.
        """
        first, last = _ms(scope.since, -_LAST_HOUR), _ms(scope.until, _LAST_HOUR)
        chosen = self._chosen(scope)
        whole = chosen.all()
        for batch in self._all_batches(first, last, scores=scores, newest_first=newest_first):
            mask = chosen[batch.keys] if not whole else np.ones(len(batch), bool)
            if batch.day * DAY_MS < first or (batch.day + 1) * DAY_MS > last:
                mask &= (batch.moments >= first) & (batch.moments < last)
            if mask.any():
                yield batch if mask.all() else batch.where(mask)

    def some_images_of_keys(self, scope: Scope) -> npt.NDArray[np.int64]:
        """Count images in scope of each key in one hour of _SAMPLED, and in what is not packed yet; reads keys alone.

        All of them where there are not many hours, or in a fleet's database.
        """
        counts = np.zeros(len(self.keys), np.int64)
        first, last = _ms(scope.since, -_LAST_HOUR), _ms(scope.until, _LAST_HOUR)
        begin, end = self.span_ms(scope)
        if self._is_fleet or (end - begin) // HOUR_MS < _MANY_HOURS:
            for batch in self.batches(scope):
                counts += np.bincount(batch.keys, minlength=len(counts))
            return counts
        query = f"SELECT keys FROM rollup_hours WHERE hour >= ? AND hour <= ? AND hour % {_SAMPLED} = 0"
        for packed in self._connection.exec_driver_sql(query, (first // HOUR_MS, last // HOUR_MS)).scalars():
            counts += np.bincount(np.frombuffer(packed, "<u4"), minlength=len(counts))
        for batch in self._recent(scores=False):
            counts += np.bincount(batch.keys, minlength=len(counts))
        return np.where(self._chosen(scope), counts, 0)

    def span_ms(self, scope: Scope) -> tuple[int, int]:
        """Give the first and the last moment of the log, as far as they are within the period of a scope."""
        query = "SELECT min(moment_ms), max(moment_ms) FROM rollup_images"
        if not self._is_fleet:
            query = (
                f"SELECT min(begin), max(until) FROM (SELECT min(hour) * {HOUR_MS} AS begin, "
                f"(max(hour) + 1) * {HOUR_MS} AS until FROM rollup_hours "
                "UNION ALL SELECT min(moment_ms), max(moment_ms) FROM rollup_recent)"
            )
        first, last = self._connection.exec_driver_sql(query).one()
        begin, end = max(_ms(scope.since, -_LAST_HOUR), first or 0), min(_ms(scope.until, _LAST_HOUR), last or 0)
        return begin, max(begin, end)

    def names(self, field: str) -> set[str]:
        """Give all values that a field of the keys has."""
        return {getattr(key, field) for key in self.keys if key}

    def require_known(self, scope: Scope) -> None:
        """Tell a name that was never seen from one without images in this period: the first is a slip of the pen.

        Raises:
            UsageError: the log has never seen a source, class, camera, host or preset of the scope.
        """
        for field, word in _SLIPS.items():
            asked, known = getattr(scope, field), self.names(field)
            if asked is None or not known or forms(asked) & known:
                continue
            near = difflib.get_close_matches(asked, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            told = f"{word} {asked!r}{hint}" if asked else f"image without a {word}"
            raise UsageError(f"the log has no {told}")

    def measures(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Give the recorded measures of these decisions, but of those that were archived or cannot be read."""
        query = sa.select(decision_records.c.id, sa.cast(decision_records.c.measures, sa.Text))
        found: dict[int, dict[str, Any]] = {}
        for at in range(0, len(ids), _IDS_AT_A_TIME):
            part = query.where(decision_records.c.id.in_(ids[at : at + _IDS_AT_A_TIME]))
            for number, text in self._connection.execute(part).all():
                with suppress(ValueError, TypeError):
                    found[number] = dict(json.loads(text))
        return found

    def _chosen(self, scope: Scope) -> npt.NDArray[np.bool_]:
        asked = {name: getattr(scope, name) for name in ("source", "class_name", "camera", "host", "preset")}
        wanted = {name: forms(value) for name, value in asked.items() if value is not None}
        if not wanted:
            return np.ones(len(self.keys), bool)
        return np.array([not key or all(getattr(key, n) in v for n, v in wanted.items()) for key in self.keys], bool)

    def _all_batches(self, first_ms: int, last_ms: int, *, scores: bool, newest_first: bool) -> Iterator[Batch]:
        if self._is_fleet:
            hours = fleet_hours(self._connection, (first_ms, last_ms), scores=scores, newest_first=newest_first)
        else:
            hours = self._hours(first_ms, last_ms, scores=scores, order="DESC" if newest_first else "ASC")
        parts = (_by_day(hours), () if self._is_fleet else self._recent(scores=scores))
        for part in parts[::-1] if newest_first else parts:
            yield from part

    def _hours(self, first_ms: int, last_ms: int, *, scores: bool, order: str) -> Iterator[Any]:
        packed = ", ".join(name for name, _ in _PACKED if scores or name != "scores")
        query = f"SELECT hour, images, {packed} FROM rollup_hours WHERE hour >= ? AND hour <= ? ORDER BY hour {order}"
        streaming = self._connection.execution_options(yield_per=HOURS_A_DAY)
        yield from streaming.exec_driver_sql(query, (first_ms // HOUR_MS, last_ms // HOUR_MS))

    def _recent(self, *, scores: bool) -> Iterator[Batch]:
        names = ("moment_ms", "key_id", "flags", "decision_id", *SCORE_NAMES)
        rows = self._connection.exec_driver_sql(f"SELECT {', '.join(names)} FROM rollup_recent").fetchall()
        if not rows:
            return
        table = np.array(rows, dtype=object)
        moments = table[:, 0].astype(np.int64)
        found = table[:, 4:].astype(np.float64) if scores else np.empty((0, 6))
        everything = Batch(
            0,
            moments,
            table[:, 1].astype(np.uint32),
            table[:, 2].astype(np.uint8),
            table[:, 3].astype(np.int64),
            found,
        )
        for day in np.unique(moments // DAY_MS):
            part = everything.where(moments // DAY_MS == day)
            yield Batch(int(day), part.moments, part.keys, part.flags, part.ids, part.scores)


@contextmanager
def open_columns(engine: sa.Engine) -> Iterator[Columns]:
    """Read the roll-ups as of one moment; a writer does not wait for that.

    Raises:
        RetryableError: the database is locked.
        UnavailableError: it is damaged, is not an audit log, or was made by an older or a newer version.
    """
    what = engine.url.database or ""
    with reading(engine, what) as connection:
        if engine.dialect.name == "sqlite":  # a fleet's database was asked when it was opened
            _require_rollups(connection)
        yield Columns(connection)


def _require_rollups(connection: sa.Connection) -> None:
    tables = set(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars())
    if "rollup_hours" not in tables:
        raise UnavailableError(
            "the audit database was made by an older version; start the daemon once: it brings it up to date"
            if "intents" in tables
            else "the audit database holds no decisions of imageguard-daemon"
        )
    version = connection.exec_driver_sql("SELECT max(version_num) FROM alembic_version").scalar()
    if str(version) > NEWEST_REVISION:
        raise UnavailableError(
            f"the audit database was made by a newer version of imageguard-daemon (revision {version}); update this one"
        )


def _keys(connection: sa.Connection) -> Sequence[Key | None]:
    query = "SELECT id, host, source, class, camera, preset, profile, verdict, reason, scorer_version FROM rollup_keys"
    seen: dict[str, str] = {}
    found: dict[int, Key] = {}
    for number, *texts in connection.exec_driver_sql(query):
        found[number] = Key._make(map(seen.setdefault, texts, texts))  # one copy of each text
    return [found.get(number) for number in range(max(found, default=0) + 1)]


def _by_day(hours: Iterable[Any]) -> Iterator[Batch]:
    gathered: list[Any] = []
    images, day = 0, None
    for row in hours:
        if gathered and (row.hour // HOURS_A_DAY != day or images >= _MOST_IMAGES):
            yield _batch(day, gathered)
            gathered, images = [], 0
        gathered.append(row)
        day, images = row.hour // HOURS_A_DAY, images + row.images
    if gathered:
        yield _batch(day, gathered)


def _batch(day: int | None, rows: Sequence[Any]) -> Batch:
    arrays = {
        name: np.frombuffer(b"".join(getattr(row, name) for row in rows), dtype)
        for name, dtype in _PACKED
        if name in rows[0]._fields and name != "scores"
    }
    # Numpy is slow along short lines: scores lie in memory signal by signal.
    scores = np.empty((len(SCORE_NAMES), len(arrays["keys"]) if "scores" in rows[0]._fields else 0))
    at = 0
    for row in rows if scores.size else ():
        part = np.frombuffer(row.scores, "<f8").reshape(-1, len(SCORE_NAMES))
        scores[:, at : at + len(part)] = part.T
        at += len(part)
    return Batch(day or 0, **arrays, scores=scores.T)


def _ms(moment: datetime | None, otherwise: int) -> int:
    """Give a moment in milliseconds; what is recorded has no finer ones, so a later microsecond is the next."""
    return otherwise if moment is None else -((EPOCH - moment) // timedelta(milliseconds=1))
