"""The filters of the gallery: from the address bar to a selection, and back. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from urllib.parse import urlencode

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.quarantined import STATES, Selection
from imageguard_daemon.errors import UsageError
from imageguard_daemon.model import ISSUES, SCORE_NAMES
from imageguard_daemon.reporting.period import parse_period

ORDERS = ("newest", "nearest")
STATE_NAMES = (*STATES, "all")


@dataclass(frozen=True, slots=True)
class Filters:
    """What was asked for, as text; empty means anything."""

    reason: str = ""
    class_name: str = ""
    source: str = ""
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
        """Read them from a query; unknown names are left alone, a control character is nothing anybody meant."""
        known = {field.name: query[field.name].strip()[:200] for field in fields(cls) if query.get(field.name)}
        return cls(**{name: value.replace("\0", "") for name, value in known.items()})

    def query(self, **more: object) -> str:
        """Give them for an address; what is as usual is left out."""
        pairs = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return urlencode([*pairs, *((name, str(value)) for name, value in more.items())])

    def pairs(self) -> list[tuple[str, str]]:
        """Give them as hidden fields of a form."""
        return [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]

    def selection(self, now: datetime, ids: tuple[int, ...] | None = None) -> Selection:
        """Turn them into a selection.

        Raises:
            UsageError: one of them is nothing that can be selected by.
        """
        self._check()
        scope = Scope(
            *parse_period(self.since or None, self.until or None, now), self.source or None, self.class_name or None
        )
        states = STATES if self.state == "all" or ids is not None else (self.state,)
        scores = {self.score: self._range()} if self.score else {}
        made = Selection(scope, self.reason or None, states, scores, ids)  # type: ignore[arg-type]
        return replace(made, borderline=self.borderline == "only")

    def _check(self) -> None:
        for what, value, known in (
            ("reason", self.reason, ("", *ISSUES)),
            ("state", self.state, STATE_NAMES),
            ("score", self.score, ("", "score", *SCORE_NAMES)),
            ("order", self.order, ORDERS),
            ("borderline", self.borderline, ("", "only")),
        ):
            if value not in known:
                raise UsageError(f"there is no {what} {value!r}; known are {', '.join(filter(None, known))}")

    def _range(self) -> tuple[float, float]:
        try:
            low, high = float(self.low or "-inf"), float(self.high or "inf")
        except ValueError:
            raise UsageError(f"from {self.low!r} to {self.high!r} is no range of scores") from None
        if not low <= high:
            raise UsageError(f"from {self.low} to {self.high} is no range of scores")
        return low, high
