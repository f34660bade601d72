"""What people said and did of images, by the latest review of each: counted for reports, and as samples for thresholds.

With what people said, thresholds are made from an even sample of all images that the log has.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from imageguard_daemon.audit.archive.archived_files import has_archived_reviews
from imageguard_daemon.audit.columns import Batch, Columns
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.queries import conditions_of, in_parts
from imageguard_daemon.audit.rollups import FLAG_UNREADABLE
from imageguard_daemon.audit.schema import decision_records, decisions, reviews, rollup_reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import Verdict

_LEAVING_A_TRACE: Mapping[Verdict, Sequence[str]] = {
    "quarantined": ("confirm", "release", "rejudge", "purge", "return"),
    "accepted": ("reject", "approve", "purge"),
}
"""What an undo took back leaves none. Accepted images that are put back into the inbox are of no interest."""
_COLUMNS = (Dimension.class_, Dimension.reason, Dimension.source, Dimension.camera, Dimension.host, Dimension.preset)
CALLED_BAD = ("confirm", "purge", "reject")
CALLED_GOOD = ("release", "approve")
"""What people say of an image by their latest review; by a rejudgement they say nothing."""
_CALLED = (*CALLED_BAD, *CALLED_GOOD)
MAX_SAMPLES = 20_000
"""So many images are read, spread evenly over those in scope: a share of 1 % is then known within 0.15 points."""
_ROWS_AT_A_TIME = 5_000
_SPREAD = 0x9E3779B97F4A7C15


class ReviewCount(NamedTuple):
    """How many images have this verdict and latest review, one label in each dimension, and were judged in one hour."""

    labels: Mapping[Dimension, str]
    verdict: Verdict
    action: str
    images: int


def count_reviews(log: Store, scope: Scope) -> list[ReviewCount]:
    """Count the reviewed images in scope, archived ones too; what counts is the latest word on an image.

    Those whose action is `archived` left the log when nobody noted yet what had become of them. The order is undefined.
    """
    counts = Counter[tuple[str, ...]]()
    with log.reading() as connection:
        if sa.inspect(connection).has_table("reviews"):  # else a log of before there were, which a start brings up
            query = _counted_by(decisions, reviews.c.action, scope).select_from(_with_latest_review())
            leave_a_trace = (
                (decisions.c.verdict == verdict) & reviews.c.action.in_(actions)
                for verdict, actions in _LEAVING_A_TRACE.items()
            )
            _add(counts, connection.execute(query.where(sa.or_(*leave_a_trace))))
        if has_archived_reviews(connection):
            query = _counted_by(rollup_reviews, rollup_reviews.c.action, scope)
            _add(counts, connection.execute(query))
    return [
        ReviewCount(_labels(*labels), "accepted" if verdict == "accepted" else "quarantined", action, images)
        for (verdict, action, *labels), images in counts.items()
    ]


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
    is_version = columns.keys.where("scorer_version", [version])
    for batch in columns.batches(scope, scores=True):
        is_readable = batch.flags & FLAG_UNREADABLE == 0
        is_measured = ~np.isnan(batch.scores).any(axis=1)
        is_ours = is_version[batch.keys]
        ours = is_readable & is_measured & is_ours
        others = is_readable & is_measured & ~is_ours
        unmeasured = is_readable & ~is_measured
        result.unreadable += int(np.count_nonzero(~is_readable))
        result.measured += int(np.count_nonzero(ours))
        _count(columns, batch.where(ours), {"source": result.sources, "preset": result.presets})
        _count(columns, batch.where(unmeasured), {"reason": result.unmeasured, "source": result.sources})
        _count(columns, batch.where(others), {"scorer_version": result.other_versions, "source": result.sources})
        sample.add(batch.ids[ours])
    return result, sample.ids()


def samples(log: Store, scope: Scope, ids: Sequence[int]) -> Iterator[RecordedSample]:
    """Stream the records of these images and of all others in scope that people reviewed.

    Of archived ones there are those that people reviewed.
    """
    is_bad = _reviewed(log, scope)
    records = decision_records.c
    query = sa.select(records.id, records.relative_path, records.sha256, sa.cast(records.measures, sa.Text))
    with log.reading() as connection:
        for part in in_parts(sorted({*ids, *is_bad})):
            rows = connection.execute(query.where(records.id.in_(part))).all()
            for number, relative_path, sha256, measures in rows:
                yield RecordedSample(relative_path, sha256, measures, is_bad.get(number))
        yield from _archived(connection, scope)


def reviewed_measures(log: Store) -> Iterator[tuple[bool, str, str, str, str]]:
    """Stream the images that people reviewed: whether they called them bad, path, SHA-256, scorer, measures (JSON).

    What was only rejudged, or undone since, is not a person's word. Archived ones are among them; the order is that of
    the decisions.
    """
    with log.reading() as connection:
        streams = [_said_of(connection, _with_latest_review(), decisions, reviews.c.action)]
        if has_archived_reviews(connection):
            streams.append(_said_of(connection, rollup_reviews, rollup_reviews, rollup_reviews.c.action))
        for _, is_bad, relative_path, sha256, scorer, measures in heapq.merge(*streams, key=itemgetter(0)):
            yield bool(is_bad), relative_path, sha256, scorer, measures


def _with_latest_review() -> sa.FromClause:
    """Join each decision that was reviewed with its latest review. Begins with the reviews, which are few."""
    newest = sa.func.max(reviews.c.id).label("id")
    latest = sa.select(newest).group_by(reviews.c.decision_id).subquery()
    # The plus keeps SQLite, which has no statistics, from beginning with the decisions: those are millions.
    reviewed = sa.literal_column("+").op("")(reviews.c.decision_id)
    joined = sa.join(latest, reviews, reviews.c.id == latest.c.id)
    return joined.join(decisions, decisions.c.id == reviewed)


def _counted_by(table: sa.FromClause, action: sa.ColumnElement[str], scope: Scope) -> sa.Select[Any]:
    """Count images in scope by verdict, action, the dimensions of _COLUMNS and the hour they were judged in."""
    names = (table.c[str(dimension)] for dimension in _COLUMNS)
    hour = sa.func.substr(table.c.decided_at, 1, len("1970-01-01T00"))
    columns = [table.c.verdict, action, *names, hour]
    query = sa.select(*columns, sa.func.count())
    return query.where(*conditions_of(scope, table)).group_by(*columns)


def _add(counts: Counter[tuple[str, ...]], rows: Iterable[Sequence[Any]]) -> None:
    for *labels, images in rows:
        counts[tuple(labels)] += int(images)


def _labels(*texts: str) -> dict[Dimension, str]:
    *names, hour = texts
    by_name = dict(zip(_COLUMNS, names, strict=True))
    return by_name | _periods(hour)


def _periods(hour: str) -> dict[Dimension, str]:
    """Give hour, day and week as counts have them; a time that was not written by us is that of 1970, as there."""
    try:
        day = date.fromisoformat(hour[:10])
        int(hour[11:])
    except ValueError:
        hour, day = "1970-01-01T00", date(1970, 1, 1)
    monday = day - timedelta(days=day.weekday())
    return {Dimension.hour: hour, Dimension.day: day.isoformat(), Dimension.week: monday.isoformat()}


def _said_of(
    connection: sa.Connection, reviewed: sa.FromClause, images: sa.FromClause, action: sa.ColumnElement[str]
) -> Iterable[Sequence[Any]]:
    number = images.c.id if "id" in images.c else images.c.decision_id
    columns = (
        number,
        action.in_(CALLED_BAD),
        images.c.relative_path,
        images.c.sha256,
        images.c.scorer_version,
        sa.cast(images.c.measures, sa.Text),
    )
    query = sa.select(*columns).select_from(reviewed).where(action.in_(_CALLED)).order_by(number)
    return connection.execution_options(yield_per=_ROWS_AT_A_TIME).execute(query)


def _archived(connection: sa.Connection, scope: Scope) -> Iterator[RecordedSample]:
    if not has_archived_reviews(connection):
        return
    table = rollup_reviews
    query = sa.select(table.c.relative_path, table.c.sha256, table.c.measures, table.c.action)
    query = query.where(table.c.action.in_(_CALLED), *conditions_of(scope, table))
    rows = connection.execute(query.order_by(table.c.decision_id).limit(MAX_SAMPLES)).all()
    for relative_path, sha256, measures, action in rows:
        yield RecordedSample(relative_path, sha256, measures, action in CALLED_BAD)


def _reviewed(log: Store, scope: Scope) -> dict[int, bool]:
    """Give the latest word of people on images in scope: what was only rejudged, or undone since, is none."""
    query = sa.select(decisions.c.id, reviews.c.action).select_from(_with_latest_review())
    query = query.where(reviews.c.action.in_(_CALLED), *conditions_of(scope)).limit(MAX_SAMPLES)
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
        self._ids: npt.NDArray[np.int64] = np.empty(0, np.int64)

    def add(self, ids: npt.NDArray[np.int64]) -> None:
        self._ids = np.concatenate([self._ids, ids])
        if len(self._ids) > MAX_SAMPLES:
            # A product with the golden ratio of 64 bits: neighbours, who came together, get hashes far apart.
            hashes = self._ids.astype(np.uint64) * np.uint64(_SPREAD)
            lowest = np.argpartition(hashes, MAX_SAMPLES)[:MAX_SAMPLES]
            self._ids = self._ids[lowest]

    def ids(self) -> list[int]:
        return sorted(self._ids.tolist())
