"""Filed images newest first, a page at a time: by a key and not by an offset, so that the last page costs no more."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.columns import DAY_MS, Batch, Columns
from imageguard_daemon.audit.counts import Scope


class Place(NamedTuple):
    """Where a page ended: the next one begins with what was judged before; of one moment, with the smaller id."""

    moment_ms: int
    id: int


class Wanted(NamedTuple):
    """Which images a page is of; None means all. An empty reason means the accepted ones."""

    verdict: str | None = None
    reason: str | None = None


ANY = Wanted()


def page_of_images(
    columns: Columns, scope: Scope, limit: int, after: Place | None = None, wanted: Wanted = ANY
) -> list[Place]:
    """Give the newest images in scope, at most `limit`, from `after` on; `images_by_id` has the rest of them.

    Reads days from the newest on until it has enough: a page of what is frequent costs a day of the log, one of what
    never happened costs a pass.
    """
    chosen = np.array([_is_wanted(key, wanted) for key in columns.keys] or [False])
    found: list[Place] = []
    for batch in columns.batches(scope, newest_first=True):
        if len(_since(found, (batch.day + 1) * DAY_MS)) >= limit:
            break
        found += _places(batch, chosen[batch.keys], after)
    return sorted(found, reverse=True)[:limit]


def _is_wanted(key: Any, wanted: Wanted) -> bool:
    return bool(key and wanted.verdict in {None, key.verdict} and wanted.reason in {None, key.reason})


def _since(found: list[Place], moment_ms: int) -> list[Place]:
    """Give what no later batch can come before: days go backwards, but for what is not packed yet."""
    return [place for place in found if place.moment_ms >= moment_ms]


def _places(batch: Batch, chosen: npt.NDArray[np.bool_], after: Place | None) -> list[Place]:
    if after is not None:
        earlier = batch.moments < after.moment_ms
        chosen = chosen & (earlier | ((batch.moments == after.moment_ms) & (batch.ids < after.id)))
    rows = np.flatnonzero(chosen)
    return [Place(*pair) for pair in zip(batch.moments[rows].tolist(), batch.ids[rows].tolist(), strict=True)]
