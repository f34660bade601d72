"""The filters of the gallery: from the address bar to a selection, and back. Pure."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from urllib.parse import urlencode

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.quarantine_queries import ACCEPTED_STATES, EVER_QUARANTINED, STATES, Selection
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import ISSUES, SCORE_NAMES
from imageguard_daemon.core.names import NONE
from imageguard_daemon.reporting.period import PARAMETERS, parse_period
from imageguard_daemon.reporting.text import shown

ORDERS = ("newest", "nearest", "borderline")
STATE_NAMES = (*STATES, "all")
_LONGEST = 4096
"""Longer than the longest name that Linux allows, with every byte of it escaped."""
_TYPED = ("since", "until", "low", "high")
"""Moments and numbers, around which a space means nothing."""
_SAID = ("class_name", "source", "camera", "state", "since", "until")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?", re.ASCII | re.IGNORECASE)


def number_of(text: str) -> float:
    """Read a number as people and browsers write them; float() would take `nan`, `1e400`, ` 5` and `1_0`, too.

    Raises:
        ValueError: it is none, or too large for one.
    """
    if not _NUMBER.fullmatch(text) or not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:30]!r} is not a number")
    return number


@dataclass(frozen=True, slots=True)
class Filters:
    """What was asked for, as text; empty means anything, and `(none)` the images without a class or camera."""

    reason: str = ""
    class_name: str = ""
    source: str = ""
    camera: str = ""
    state: str = "waiting"
    since: str = ""
    until: str = ""
    score: str = ""
    low: str = ""
    high: str = ""
    order: str = "newest"
    borderline: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "Filters":
        """Read them from a query, each as it was given: a name may begin or end with a space.

        Raises:
            UsageError: a value is nothing that can stand in a log; to leave it away would select more than was meant.
        """
        given = {field.name: query[field.name] for field in fields(cls) if query.get(field.name)}
        for name, value in given.items():
            if "\0" in value or len(value) > _LONGEST:
                raise UsageError(f"{name} is not a value that a log can have")
        return cls(**{name: value.strip() if name in _TYPED else value for name, value in given.items()})

    @property
    def is_accepted(self) -> bool:
        """Whether they select images that nobody ever rejected."""
        return self.state in ACCEPTED_STATES

    @property
    def gallery(self) -> str:
        """Give the path of the page that shows what they select."""
        return "/accepted" if self.is_accepted else "/quarantine"

    @property
    def narrows(self) -> bool:
        """Whether they select less than all in a state."""
        return any(value for name, value in self.pairs() if name not in {"state", "order", "score"})

    @property
    def has_more(self) -> bool:
        """Whether any of those is set that are needed rarely; `since` is not among them."""
        return any((self.source, self.until, self.score, self.borderline))

    def but(self, **changes: str) -> "Filters":
        """Give them with some changed."""
        return replace(self, **changes)

    def fixed(self, now: datetime) -> "Filters":
        """Give them with a beginning that stays where it is while somebody reads."""
        since = self.selection(now).scope.since
        return replace(self, since=since.isoformat(timespec="milliseconds")) if since else self

    def query(self, **more: object) -> str:
        """Give them for an address; what is as usual is left out."""
        return urlencode([*self.pairs(), *more.items()])

    def pairs(self) -> list[tuple[str, str]]:
        """Give them as hidden fields of a form."""
        return [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]

    def narrowed(self, score: str = "", low: float | None = None, high: float | None = None) -> "Filters":
        """Give the same with this range of this score in place of any other; without one, any score."""
        lowest = "" if low is None else f"{low:g}"
        highest = "" if high is None else f"{high:g}"
        return replace(self, score=score, low=lowest, high=highest)

    def place(self) -> list[tuple[str, str]]:
        """Give them as hidden fields that lead back to the gallery, where another field says which image is meant."""
        return [(f"at_{name}", value) for name, value in self.pairs()]

    def in_words(self) -> str:
        """Say what they select, as a person would check it before acting: `blurry, class cat, since 7d`."""
        said = [self.reason, f"borderline {self.borderline}" if self.borderline else ""]
        said += [
            f"{name.removesuffix('_name')} {NONE if value == NONE else shown(value)}"
            for name, value in self.pairs()
            if name in _SAID
        ]
        if self.low or self.high:
            said.append(f"{self.score} from {self.low or 'any'} to {self.high or 'any'}")
        return ", ".join(filter(None, said)) or "any reason, class, source and camera"

    def selection(self, now: datetime, ids: tuple[int, ...] | None = None) -> Selection:
        """Turn them into a selection.

        Raises:
            UsageError: one of them is nothing that can be selected by.
        """
        self._check()
        class_name, camera = ("" if name == NONE else name or None for name in (self.class_name, self.camera))
        period = parse_period(self.since or None, self.until or None, now, PARAMETERS)
        if ids is not None:  # what was ticked stays what is meant, however long somebody looked at it
            period = parse_period(None, None, now)
        scope = Scope(*period, self.source or None, class_name, camera)
        states = STATES if ids is not None else EVER_QUARANTINED if self.state == "all" else (self.state,)
        scores = {self.score: self._range()} if self.score else {}
        selection = Selection(scope, self.reason or None, states, scores, ids)  # type: ignore[arg-type]
        return replace(selection, borderline=True if self.borderline == "only" else None)

    def _check(self) -> None:
        # Left alone, a range would look as if it held while all images are meant.
        if not self.score and (self.low or self.high):
            raise UsageError("a range needs a score: choose which score goes from where to where")
        for what, value, known in (
            ("reason", self.reason, ("", *ISSUES)),
            ("state", self.state, STATE_NAMES),
            ("score", self.score, ("", "score", *SCORE_NAMES)),
            ("order", self.order, ORDERS),
            ("borderline", self.borderline, ("", "only")),
        ):
            if value not in known:
                raise UsageError(f"there is no {what} {value!r}; known are {', '.join(filter(None, known))}")
        if self.order == ("nearest" if self.is_accepted else "borderline"):
            whose = "rejected" if self.is_accepted else "accepted"
            raise UsageError(f"the order {self.order} is for {whose} images")
        if self.reason and self.is_accepted:
            raise UsageError("an accepted image has no reason")

    def _range(self) -> tuple[float, float]:
        try:
            low, high = number_of(self.low) if self.low else -math.inf, number_of(self.high) if self.high else math.inf
        except ValueError:
            raise UsageError(f"from {self.low!r} to {self.high!r} is not a range of scores") from None
        if low > high:
            raise UsageError(f"from {self.low} to {self.high} is not a range of scores")
        return low, high


FILTERS = tuple(field.name for field in fields(Filters))
"""The names of the filters."""
