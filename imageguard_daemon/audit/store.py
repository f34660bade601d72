"""What a log answers, wherever it is kept: in one file of SQLite, or in a fleet's PostgreSQL.

Questions that both understand are asked in SQLAlchemy's own words on a connection lent by `reading`. What each keeps in
its own way, the roll-ups, is behind the other methods. `opening.py` chooses; nothing else knows which it has.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import sqlalchemy as sa


class PackedHour(NamedTuple):
    """Images of one hour as `rollups.py` packs them; `scores` are empty unless asked for."""

    hour: int
    images: int
    moments: bytes
    keys: bytes
    flags: bytes
    ids: bytes
    scores: bytes = b""


UnpackedImage = tuple[int, int, int, int, *tuple[float | None, ...]]
"""An image that is in no hour yet: moment in milliseconds, key, flags, decision, and the six scores."""


class Store(Protocol):
    """A log opened for reading: `with open_log(place) as log`. One thread at a time."""

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Read from one moment of the log; keep it short, for meanwhile a file's WAL cannot be folded in.

        Raises:
            StalledError: the log is locked, away or full.
            UnavailableError: it is damaged, or of another version.
        """

    def require_rollups(self, connection: sa.Connection) -> None:
        """See that there are roll-ups that this version can read.

        Raises:
            UnavailableError: the log was made by an older or a newer version, or is none.
        """

    def span_ms(self, connection: sa.Connection) -> tuple[int, int]:
        """Give the first and the last moment of the roll-ups; to the hour, where hours are packed."""

    def hours(
        self, connection: sa.Connection, span_ms: tuple[int, int], *, scores: bool, newest_first: bool
    ) -> Iterator[PackedHour]:
        """Yield the hours that a span touches, in order or backwards; images outside of it may be among them."""

    def unpacked(self, connection: sa.Connection) -> list[UnpackedImage]:
        """Give the images that are in no hour yet, some thousand at most."""

    def sampled_keys(
        self, connection: sa.Connection, span_ms: tuple[int, int], one_hour_of: int
    ) -> Iterator[bytes] | None:
        """Yield the packed keys of one hour of so many; None where reading them all is as quick."""

    def close(self) -> None:
        """Let go of the log."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
