"""How many of the images selected have which score, from the roll-ups: a million in a second.

Roll-ups know nothing of reviews. Images that were reviewed are few, and looked up one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from imageguard_daemon.audit.archive.archived_files import has_archives
from imageguard_daemon.audit.columns import Batch, Columns, Key, open_columns
from imageguard_daemon.audit.quarantine_queries import Selection, page
from imageguard_daemon.audit.queries import in_parts
from imageguard_daemon.audit.rollups import FLAG_BORDERLINE
from imageguard_daemon.audit.schema import archives, decision_records, reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import SCORE_NAMES

BUCKETS = 20
OVERALL = "score"
_WITHOUT_REVIEW = {"quarantined": "waiting", "accepted": "accepted"}
"""The state of an image that nobody reviewed, by the daemon's verdict."""
_ROWS_AT_A_TIME = 50_000
_Floats = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]


def highest(name: str) -> float:
    """Give the best that a score can be; 0 is the worst of each."""
    return 1.0 if name == OVERALL else 100.0


def count_scores(log: Store, selection: Selection, name: str) -> list[int]:
    """Count the images that filters select by a score, in BUCKETS equal parts from 0 to its best.

    A range of that score itself is left out, or there would be nothing to choose another one from. Both ends
    belong to a part, as to the range of a filter: an image that lies between two is in both. Images without this score
    are in none.

    Raises:
        RetryableError: the database is locked.
        UnavailableError: it is damaged, or is not an audit log of this version.
    """
    scores = {one: limits for one, limits in selection.scores.items() if one != name}
    selection = replace(selection, scores=scores, limit=None)
    reviewed = _reviewed(log)
    counts = np.zeros(BUCKETS, np.int64)
    edges = np.round(np.arange(BUCKETS + 1) * (highest(name) / BUCKETS), 2)
    asked = (log, selection, name, reviewed)
    for values in chain(_never_reviewed(*asked), _looked_up(*asked)):
        known = np.sort(values[~np.isnan(values)])
        counts += np.searchsorted(known, edges[1:], "right") - np.searchsorted(known, edges[:-1], "left")
    return [int(images) for images in counts]


def _reviewed(log: Store) -> _Ids:
    with log.reading() as connection:
        return np.array(connection.scalars(sa.select(reviews.c.decision_id).distinct()).all(), np.int64)


def _kept(log: Store) -> _Ids | None:
    """Give the ids still in the log, None where nothing was archived: roll-ups know of archived images, too."""
    with log.reading() as connection:
        if not has_archives(connection) or not connection.scalar(sa.select(archives.c.id).limit(1)):
            return None
        return np.array(connection.scalars(sa.select(decision_records.c.id)).all(), np.int64)


def _never_reviewed(log: Store, selection: Selection, name: str, reviewed: _Ids) -> Iterator[_Floats]:
    verdicts = [verdict for verdict, state in _WITHOUT_REVIEW.items() if state in selection.states]
    if not verdicts:
        return
    overall = _overall(log, verdicts) if OVERALL in {name, *selection.scores} else None
    in_log = _kept(log)
    with open_columns(log) as columns:
        wanted = np.array([_is_wanted(key, verdicts, selection.reason) for key in columns.keys] or [False])
        for batch in _chosen(columns, selection, wanted):
            fresh = batch.where(~np.isin(batch.ids, reviewed)) if len(reviewed) else batch
            if in_log is not None:
                fresh = fresh.where(np.isin(fresh.ids, in_log))
            for one, (low, high) in selection.scores.items():
                values = _values(fresh, one, overall)
                fresh = fresh.where((values >= low) & (values <= high))
            yield _values(fresh, name, overall)


def _chosen(columns: Columns, selection: Selection, wanted: npt.NDArray[np.bool_]) -> Iterator[Batch]:
    for batch in columns.batches(selection.scope, scores=True):
        mask = wanted[batch.keys]
        if selection.borderline is not None:
            mask = mask & ((batch.flags & FLAG_BORDERLINE > 0) == selection.borderline)
        yield batch.where(mask)


def _is_wanted(key: Key | None, verdicts: Sequence[str], reason: str | None) -> bool:
    return bool(key and key.verdict in verdicts and reason in {None, key.reason})


def _values(batch: Batch, name: str, overall: tuple[_Ids, _Floats] | None) -> _Floats:
    if overall is None or name != OVERALL:
        return batch.scores[:, SCORE_NAMES.index(name)]
    ids, scores = overall
    places = np.searchsorted(ids, batch.ids)
    is_known = np.append(ids, -1)[np.minimum(places, len(ids))] == batch.ids  # others were archived
    return np.where(is_known, np.append(scores, np.nan)[np.minimum(places, len(ids))], np.nan)


def _overall(log: Store, verdicts: Sequence[str]) -> tuple[_Ids, _Floats]:
    """Give ids in their order and the overall score of each: no roll-up has it, an index that of quarantined images."""
    query = sa.select(decision_records.c.id, decision_records.c.score)
    parts = [np.empty((0, 2))]
    with log.reading() as connection:
        for verdict in verdicts:
            # Literally, or SQLite would not use the index on the quarantined alone.
            rows: Any = connection.execute(query.where(sa.literal_column(f"verdict = '{verdict}'")))
            while some := rows.fetchmany(_ROWS_AT_A_TIME):
                parts.append(np.array([tuple(row) for row in some], np.float64))
    table = np.concatenate(parts)
    table = table[np.argsort(table[:, 0])]
    return table[:, 0].astype(np.int64), table[:, 1]


def _looked_up(log: Store, selection: Selection, name: str, reviewed: _Ids) -> Iterator[_Floats]:
    for ids in in_parts(reviewed.tolist()):
        images = page(log, replace(selection, ids=tuple(ids)))
        if name == OVERALL:
            yield np.array([image.score for image in images], np.float64)
        else:
            at = SCORE_NAMES.index(name)
            yield np.array([image.scores[at] for image in images], np.float64)
