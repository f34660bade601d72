"""Reads the roll-ups as columns of numbers: ten million in seconds, a day in memory at a time."""

import difflib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from imageguard_daemon.audit.counts import SCOPE_COLUMNS, Scope
from imageguard_daemon.audit.keys import Keys
from imageguard_daemon.audit.queries import in_parts
from imageguard_daemon.audit.rollups import HOUR_MS, KEY_COLUMNS, PACKED
from imageguard_daemon.audit.schema import decision_records
from imageguard_daemon.audit.store import PackedHour, Store
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.core.names import forms

HOURS_A_DAY = 24
DAY_MS = HOURS_A_DAY * HOUR_MS
_SAMPLED, _MANY_HOURS = 11, 200
"""Of many hours a part is enough to guess from: this one is each hour of the day, and each day of the week, in turn."""
_MAX_IMAGES = 100_000
"""A batch ends when it has so many, or with its day."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER_MS = 1 << 62


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
    """The roll-ups at one moment of the log."""

    def __init__(self, log: Store, connection: sa.Connection) -> None:
        self._log = log
        self._connection = connection
        self.keys = _keys(connection)

    def batches(self, scope: Scope, *, scores: bool = False, newest_first: bool = False) -> Iterator[Batch]:
        """Yield the images in scope in the order of their days, or backwards.

        Those that are not packed yet, some thousand at most, come last; backwards they come first.
        """
        first, last = _bounds(scope)
        in_scope = self._keys_in(scope)
        is_every_key = in_scope.all()
        for batch in self._all_batches(first, last, scores=scores, newest_first=newest_first):
            mask = np.ones(len(batch), bool) if is_every_key else in_scope[batch.keys]
            # Only days at the ends have images out of the period.
            begins_before = batch.day * DAY_MS < first
            ends_after = (batch.day + 1) * DAY_MS > last
            if begins_before or ends_after:
                mask &= (batch.moments >= first) & (batch.moments < last)
            # Most batches are in scope as a whole, and are given on without a copy.
            if mask.any():
                yield batch if mask.all() else batch.where(mask)

    def some_images_of_keys(self, scope: Scope) -> npt.NDArray[np.int64]:
        """Count images in scope of each key in one hour of _SAMPLED, and in what is not packed yet; reads keys alone.

        All of them where there are not many hours, or where a part is not read quicker.
        """
        begin, end = self.span_ms(scope)
        sampled = None
        if (end - begin) // HOUR_MS >= _MANY_HOURS:
            sampled = self._log.sampled_keys(self._connection, _bounds(scope), _SAMPLED)
        if sampled is None:
            return self._counted(batch.keys for batch in self.batches(scope))
        packed = (np.frombuffer(keys, "<u4") for keys in sampled)
        unpacked = (batch.keys for batch in self._unpacked(scores=False))
        images = self._counted(itertools.chain(packed, unpacked))
        return np.where(self._keys_in(scope), images, 0)

    def _counted(self, keys_of_batches: Iterable[npt.NDArray[np.uint32]]) -> npt.NDArray[np.int64]:
        counts = np.zeros(len(self.keys), np.int64)
        for keys in keys_of_batches:
            counts += np.bincount(keys, minlength=len(counts))
        return counts

    def span_ms(self, scope: Scope) -> tuple[int, int]:
        """Give the first and the last moment of the log, as far as they are within the period of a scope."""
        first, last = self._log.span_ms(self._connection)
        since, until = _bounds(scope)
        begin, end = max(since, first), min(until, last)
        return begin, max(begin, end)

    def require_known(self, scope: Scope) -> None:
        """Tell a name that was never seen from one without images in this period: the first is a slip of the pen.

        Raises:
            UsageError: the log has never seen a source, class, camera, host or preset of the scope.
        """
        for field, word in SCOPE_COLUMNS.items():
            name = getattr(scope, field)
            known = self.keys.names(field) if name is not None else set()
            if name is None or not known or forms(name) & known:
                continue
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            what = f"{word} {name!r}{hint}" if name else f"image without a {word}"
            raise UsageError(f"the log has no {what}")

    def measures(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Give the recorded measures of these decisions, but of those that were archived or cannot be read."""
        records = decision_records.c
        query = sa.select(records.id, sa.cast(records.measures, sa.Text))
        measures: dict[int, dict[str, Any]] = {}
        for part in in_parts(ids):
            for number, text in self._connection.execute(query.where(records.id.in_(part))).all():
                with suppress(ValueError, TypeError):
                    measures[number] = dict(json.loads(text))
        return measures

    def _keys_in(self, scope: Scope) -> npt.NDArray[np.bool_]:
        in_scope = np.ones(len(self.keys), bool)
        for field in SCOPE_COLUMNS:
            name = getattr(scope, field)
            if name is not None:
                in_scope &= self.keys.where(field, forms(name))
        return in_scope

    def _all_batches(self, first_ms: int, last_ms: int, *, scores: bool, newest_first: bool) -> Iterator[Batch]:
        hours = self._log.hours(self._connection, (first_ms, last_ms), scores=scores, newest_first=newest_first)
        # The unpacked ones are the newest but for late ones, which are few: no need to sort them in.
        parts = (_by_day(hours), self._unpacked(scores=scores))
        for part in parts[::-1] if newest_first else parts:
            yield from part

    def _unpacked(self, *, scores: bool) -> Iterator[Batch]:
        rows = self._log.unpacked(self._connection)
        if not rows:
            return
        table = np.array(rows, dtype=object)
        everything = Batch(
            day=0,
            moments=table[:, 0].astype(np.int64),
            keys=table[:, 1].astype(np.uint32),
            flags=table[:, 2].astype(np.uint8),
            ids=table[:, 3].astype(np.int64),
            scores=table[:, 4:].astype(np.float64) if scores else np.empty((0, len(SCORE_NAMES))),
        )
        days = everything.moments // DAY_MS
        for day in sorted(set(days.tolist())):
            yield replace(everything.where(days == day), day=day)


@contextmanager
def open_columns(log: Store) -> Iterator[Columns]:
    """Read the roll-ups as of one moment; a writer does not wait for that.

    Raises:
        RetryableError: the database is locked.
        UnavailableError: it is damaged, is not an audit log, or was made by an older or a newer version.
    """
    with log.reading() as connection:
        log.require_rollups(connection)
        yield Columns(log, connection)


def _keys(connection: sa.Connection) -> Keys:
    # In order: SQLite would give them in that of an index, and groups are in the order in which they come.
    query = f"SELECT id, {', '.join(KEY_COLUMNS)} FROM rollup_keys ORDER BY id"
    return Keys(connection.exec_driver_sql(query).all())


def _by_day(hours: Iterable[PackedHour]) -> Iterator[Batch]:
    gathered: list[PackedHour] = []
    images = 0
    for hour in hours:
        if gathered and (_day_of(hour) != _day_of(gathered[0]) or images >= _MAX_IMAGES):
            yield _batch(gathered)
            gathered, images = [], 0
        gathered.append(hour)
        images += hour.images
    if gathered:
        yield _batch(gathered)


def _day_of(hour: PackedHour) -> int:
    return hour.hour // HOURS_A_DAY


def _batch(hours: Sequence[PackedHour]) -> Batch:
    arrays = {}
    for name, dtype in PACKED.items():
        if name != "scores":
            packed = b"".join(getattr(hour, name) for hour in hours)
            arrays[name] = np.frombuffer(packed, dtype)
    has_scores = bool(hours[0].scores)
    # Numpy is slow along short lines: scores lie in memory signal by signal.
    scores = np.empty((len(SCORE_NAMES), len(arrays["keys"]) if has_scores else 0))
    at = 0
    for hour in hours if has_scores else ():
        part = np.frombuffer(hour.scores, "<f8").reshape(-1, len(SCORE_NAMES))
        scores[:, at : at + len(part)] = part.T
        at += len(part)
    return Batch(_day_of(hours[0]), **arrays, scores=scores.T)


def _bounds(scope: Scope) -> tuple[int, int]:
    return _ms(scope.since, -_FOREVER_MS), _ms(scope.until, _FOREVER_MS)


def _ms(moment: datetime | None, otherwise: int) -> int:
    """Give a moment in milliseconds; what is recorded has no finer ones, so a later microsecond is the next."""
    return otherwise if moment is None else -((EPOCH - moment) // timedelta(milliseconds=1))
