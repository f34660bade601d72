"""Folders and files that the daemon may not move: what lies there waits, everything else goes on.

What surely refused a second ago is not even tried. For the rest one file at a time finds out, after pauses that grow,
so that a folder that refuses for months leaves few abandoned intents in the log.
"""

import os
from dataclasses import dataclass, field
from pathlib import PurePath

from imageguard_daemon.core.backoff import Backoff
from imageguard_daemon.filing import refusals

LOOK_AGAIN_SECONDS = 30.0
PAUSES = Backoff(LOOK_AGAIN_SECONDS, longest_seconds=600.0)
_PLACES_REMEMBERED = 10_000
_FREE_SECONDS = 1.0
"""For so long a folder that refused nothing is not looked at again: what it refuses since, an attempt finds out."""


@dataclass(slots=True)
class Waiting:
    """Why the files of a place wait, and until when; `prober` is the one that is tried meanwhile."""

    why: str
    until: float
    attempts: int = 0
    """How many were refused, one after another."""
    prober: str = ""
    is_reported: bool = False


@dataclass(slots=True)
class Refusals:
    """What is known of places that refuse, folders or single files. One thread only."""

    _known: dict[str, Waiting] = field(default_factory=dict)
    _free: dict[tuple[str, str], tuple[float, bool]] = field(default_factory=dict)
    """Folders that refused nothing, as a source (with no root) or as a destination: until when that is believed, and
    whether they are sticky."""

    def refused(self, place: str, why: str, now: float) -> Waiting:
        """Note that an attempt was refused; each pause is twice the last one."""
        known = self._known.get(place)
        if known is not None and known.attempts and not known.prober and now < known.until:
            return known  # of the same group as the attempt that counted
        self._free.clear()
        attempts = 1 if known is None else known.attempts + 1
        return self._note(place, Waiting(why, now + PAUSES.after(attempts), attempts))

    def of_source(self, path: str, now: float) -> Waiting | None:
        """Say why the file at `path` must wait; None when it may be tried, on behalf of all that wait with it."""
        places = (path, os.path.dirname(path))
        if waiting := next((w for place in places if (w := self._not_due(place, path, now))), None):
            return waiting
        return self._looked_up(self._look_at_source(path, places[1], now), places, path, now)

    def of_move(self, path: str, destination: str, root: str, now: float) -> Waiting | None:
        """Say why a judged file must wait all the same; what a whole destination refuses is not a reason."""
        folders = _below(root, os.path.dirname(destination))
        found = self._look_at_destination(os.path.dirname(destination), root, now)
        if found is not None and found.place not in folders:
            found = None  # an attempt says it of all
        if waiting := next((w for place in folders if (w := self._not_due(place, path, now))), None):
            return waiting
        return self._looked_up(found, (path, os.path.dirname(path), *folders), path, now)

    def moved(self, path: str, destination: str) -> list[Waiting]:
        """Forget what was said against the places of a move that has succeeded; give it."""
        places = (path, os.path.dirname(path), *map(str, PurePath(destination).parents))
        return [self._known.pop(place) for place in places if place in self._known]

    def _look_at_source(self, path: str, folder: str, now: float) -> refusals.Refusal | None:
        until, is_sticky = self._free.get((folder, ""), (now, False))
        if not now < until:
            if refusal := refusals.of_source_folder(folder):
                return refusal
            is_sticky = refusals.is_sticky(folder)
            self._is_free((folder, ""), now, is_sticky=is_sticky)
        return refusals.of_file(path, in_sticky_folder=is_sticky)

    def _look_at_destination(self, folder: str, root: str, now: float) -> refusals.Refusal | None:
        if now < self._free.get((folder, root), (now, False))[0]:
            return None
        refusal = refusals.of_destination(folder, root)
        if refusal is None:
            self._is_free((folder, root), now)
        return refusal

    def _is_free(self, place: tuple[str, str], now: float, *, is_sticky: bool = False) -> None:
        if len(self._free) >= _PLACES_REMEMBERED:
            self._free.clear()
        self._free[place] = now + _FREE_SECONDS, is_sticky

    def _looked_up(
        self, found: refusals.Refusal | None, places: tuple[str, ...], path: str, now: float
    ) -> Waiting | None:
        if found is None:
            return self._unless_due(places, path, now)
        known = self._known.get(found.place)
        if known is not None and known.prober == path and now < known.until:
            return None
        may_be_tried = known is None and not found.is_certain
        attempts = 0 if known is None else known.attempts
        prober = path if may_be_tried else ""
        waiting = self._note(found.place, Waiting(found.why, now + LOOK_AGAIN_SECONDS, attempts, prober))
        return None if may_be_tried else waiting

    def _not_due(self, place: str, path: str, now: float) -> Waiting | None:
        known = self._known.get(place)
        return known if known is not None and now < known.until and known.prober != path else None

    def _unless_due(self, places: tuple[str, ...], path: str, now: float) -> Waiting | None:
        for place in places:
            if waiting := self._not_due(place, path, now):
                return waiting
            known = self._known.get(place)
            if known is not None and now >= known.until:
                known.until, known.prober = now + PAUSES.after(max(1, known.attempts)), path
        return None

    def _note(self, place: str, waiting: Waiting) -> Waiting:
        known = self._known.pop(place, None)
        waiting.is_reported = known is not None and known.is_reported and known.why == waiting.why
        if len(self._known) >= _PLACES_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[place] = waiting
        return waiting


def _below(root: str, folder: str) -> tuple[str, ...]:
    """Give a folder and those above it, up to the root but without it: the nearest one that is there may refuse."""
    found = []
    while len(folder) > len(root):
        found.append(folder)
        folder = os.path.dirname(folder)
    return tuple(found)
