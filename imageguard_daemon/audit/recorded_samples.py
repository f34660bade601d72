"""What thresholds are made from: an even sample of the images that the log has, and what people said of images."""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from imageguard_daemon.audit.archive.archived_files import has_archived_reviews
from imageguard_daemon.audit.columns import Batch, Columns
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.queries import conditions_of, in_parts, with_latest_review
from imageguard_daemon.audit.rollups import FLAG_UNREADABLE
from imageguard_daemon.audit.schema import decision_records, decisions, reviews, rollup_reviews
from imageguard_daemon.audit.store import Store

CALLED_BAD, CALLED_GOOD = ("confirm", "purge", "reject"), ("release", "approve")
"""What people say of an image by their latest review; by a rejudgement they say nothing."""
MAX_SAMPLES = 20_000
"""So many images are read, spread evenly over those in scope: a share of 1 % is then known within 0.15 points."""
_ROWS_AT_A_TIME = 5_000
_SPREAD = 0x9E3779B97F4A7C15


class RecordedSample(NamedTuple):
    """One image as it was measured; `is_bad` is what people said of it, None if nothing."""

    relative_path: str
    sha256: str
    measures: str
    is_bad: bool | None


@dataclass(slots=True)
class Census:
    """What the images in scope are: `measured` by the scorer asked for, in which source, by which preset."""

    measured: int = 0
    sources: Counter[str] = field(default_factory=Counter)
    presets: Counter[str] = field(default_factory=Counter)
    unmeasured: Counter[str] = field(default_factory=Counter)
    """Images of which nothing could be measured, by reason."""
    other_versions: Counter[str] = field(default_factory=Counter)
    """Images that another version of the scorer measured."""
    unreadable: int = 0


def census(columns: Columns, scope: Scope, version: str) -> tuple[Census, list[int]]:
    """Count the images in scope, and choose evenly among those that this version of the scorer measured."""
    result, sample = Census(), _Sample()
    is_version = np.array([bool(key and key.scorer_version == version) for key in columns.keys] or [False])
    for batch in columns.batches(scope, scores=True):
        unmeasured = np.isnan(batch.scores).any(axis=1)
        unreadable = batch.flags & FLAG_UNREADABLE > 0
        ours = is_version[batch.keys] & ~unmeasured & ~unreadable
        result.unreadable += int(unreadable.sum())
        result.measured += int(ours.sum())
        _count(columns, batch.where(ours), {"source": result.sources, "preset": result.presets})
        _count(columns, batch.where(unmeasured & ~unreadable), {"reason": result.unmeasured, "source": result.sources})
        others = batch.where(~is_version[batch.keys] & ~unmeasured & ~unreadable)
        _count(columns, others, {"scorer_version": result.other_versions, "source": result.sources})
        sample.add(batch.ids[ours])
    return result, sample.ids()


def samples(log: Store, scope: Scope, ids: Sequence[int]) -> Iterator[RecordedSample]:
    """Stream the records of these images and of all others in scope that people reviewed.

    Of archived ones there are those that people reviewed.
    """
    said = _reviewed(log, scope)
    names = ("id", "relative_path", "sha256")
    query = sa.select(*(decision_records.c[name] for name in names), sa.cast(decision_records.c.measures, sa.Text))
    with log.reading() as connection:
        for part in in_parts(sorted({*ids, *said})):
            for row in connection.execute(query.where(decision_records.c.id.in_(part))).all():
                yield RecordedSample(row[1], row[2], row[3], said.get(row[0]))
        yield from _archived(connection, scope)


def reviewed_measures(log: Store) -> Iterator[tuple[bool, str, str, str, str]]:
    """Stream the images that people reviewed: whether they called them bad, path, SHA-256, scorer, measures (JSON).

    What was only rejudged, or undone since, is not a person's word. Archived ones are among them; the order is that of
    the decisions.
    """
    with log.reading() as connection:
        streams = [_said_of(connection, with_latest_review(), decisions, reviews.c.action)]
        if has_archived_reviews(connection):
            streams.append(_said_of(connection, rollup_reviews, rollup_reviews, rollup_reviews.c.action))
        for row in heapq.merge(*streams, key=lambda row: row[0]):
            yield bool(row[1]), row[2], row[3], row[4], row[5]


def _said_of(
    connection: sa.Connection, reviewed: sa.FromClause, images: sa.FromClause, action: sa.ColumnElement[str]
) -> Iterable[Sequence[Any]]:
    number = images.c.id if "id" in images.c else images.c.decision_id
    names = ("relative_path", "sha256", "scorer_version")
    query = sa.select(
        number,
        action.in_(CALLED_BAD),
        *(images.c[name] for name in names),
        sa.cast(images.c.measures, sa.Text),
    )
    query = query.select_from(reviewed).where(action.in_([*CALLED_BAD, *CALLED_GOOD])).order_by(number)
    return connection.execution_options(yield_per=_ROWS_AT_A_TIME).execute(query)


def _archived(connection: sa.Connection, scope: Scope) -> Iterator[RecordedSample]:
    if not has_archived_reviews(connection):
        return
    table = rollup_reviews
    query = sa.select(table.c.relative_path, table.c.sha256, table.c.measures, table.c.action)
    query = query.where(table.c.action.in_([*CALLED_BAD, *CALLED_GOOD]), *conditions_of(scope, table))
    for row in connection.execute(query.order_by(table.c.decision_id).limit(MAX_SAMPLES)).all():
        yield RecordedSample(row[0], row[1], row[2], row[3] in CALLED_BAD)


def _reviewed(log: Store, scope: Scope) -> dict[int, bool]:
    """Give the latest word of people on images in scope: what was only rejudged, or undone since, is none."""
    query = sa.select(decisions.c.id, reviews.c.action).select_from(with_latest_review())
    query = query.where(reviews.c.action.in_([*CALLED_BAD, *CALLED_GOOD]), *conditions_of(scope)).limit(MAX_SAMPLES)
    with log.reading() as connection:
        if not sa.inspect(connection).has_table("reviews"):
            return {}  # a log of before there were reviews
        return {number: action in CALLED_BAD for number, action in connection.execute(query)}


def _count(columns: Columns, batch: Batch, counters: dict[str, Counter[str]]) -> None:
    images = np.bincount(batch.keys, minlength=len(columns.keys))
    for number in np.flatnonzero(images).tolist():
        for name, counter in counters.items():
            counter[getattr(columns.keys[number], name)] += int(images[number])


class _Sample:
    """Keeps the ids whose hashes are lowest: an even choice, the same each time, in bounded memory."""

    def __init__(self) -> None:
        self._kept: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, ids: npt.NDArray[np.int64]) -> None:
        self._kept = np.concatenate([self._kept, ids])
        if len(self._kept) > MAX_SAMPLES:
            hashes = self._kept.astype(np.uint64) * np.uint64(_SPREAD)
            self._kept = self._kept[np.argpartition(hashes, MAX_SAMPLES)[:MAX_SAMPLES]]

    def ids(self) -> list[int]:
        return sorted(self._kept.tolist())
