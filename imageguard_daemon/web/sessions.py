"""Who has logged in: sessions by a random name in a cookie, each good as long as its token is."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from imageguard_daemon.web.tokens import Tokens

SESSION_SECONDS = 12 * 3600.0
_MAX_SESSIONS = 1_000


class Sessions:
    """The sessions of one server; a new token for a name ends those of the old one at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._begun: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def begin(self, sha256: str) -> str:
        """Give the name of a new session for whoever had the token of this hash."""
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._begun[session] = (self._clock(), sha256)
            while len(self._begun) > _MAX_SESSIONS:
                self._begun.popitem(last=False)
        return session

    def holder(self, session: str, tokens: Tokens) -> str | None:
        """Give the name of the token's holder; None for a session that has ended or never began."""
        begun, sha256 = self._begun.get(session, (0.0, ""))
        if not sha256 or self._clock() - begun > SESSION_SECONDS:
            return None
        return tokens.holders().get(sha256)

    def end(self, session: str) -> None:
        """End a session."""
        with self._lock:
            self._begun.pop(session, None)
