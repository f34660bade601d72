"""Who holds a token, and who has logged in with one.

Names and hashes stand in one small file, read again when it changes. A token has 256 random bits; of so much chance a
plain hash gives nothing away. Sessions go by a random name in a cookie, each good as long as its token is.
"""

import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from imageguard_daemon.core.errors import PermissionDeniedError, UnavailableError, hindrance
from imageguard_daemon.core.files import atomic_write

TOKEN_FILE = "web-token.sha256"  # noqa: S105 - the name of a file, in the state folder
_HASH_CHARACTERS = 64
_State = tuple[int, int, int, int] | None

_LOG = logging.getLogger(__name__)
SESSION_SECONDS = 12 * 3600.0
_MAX_SESSIONS = 1_000


class Tokens:
    """The holders of tokens in a file of lines `SHA256 NAME`; any thread may ask."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._state: _State = None
        self._holders: Mapping[str, str] | None = {}

    def holders(self) -> Mapping[str, str]:
        """Give the names by hash, as the file has them now.

        Raises:
            UnavailableError: they cannot be read; which file and why is logged, and is not a stranger's business.
        """
        with self._lock:
            state = _state_of(self._path)
            if state != self._state:
                self._holders, self._state = _read_or_log(self._path), state
            if self._holders is None:
                raise UnavailableError("nobody can be let in: the tokens cannot be read; the log of the pages says why")
            return self._holders

    def hash_of(self, token: str) -> str:
        """Give the hash of a token that is in the file, else nothing, in a time that tells nothing."""
        asked = hashlib.sha256(token.encode()).hexdigest()
        matches = [sha256 for sha256 in self.holders() if hmac.compare_digest(asked, sha256)]
        return matches[0] if matches else ""


def read(path: Path) -> dict[str, str]:
    """Give names by hash; nothing for a file that is not there or makes no sense.

    Raises:
        PermissionDeniedError, UnavailableError: it cannot be read, so that nobody knows who has a token.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    except PermissionError as error:
        raise PermissionDeniedError(f"no permission to read the tokens in {path}; chown it to this account") from error
    except OSError as error:
        raise UnavailableError(f"cannot read the tokens in {path}: {error.strerror}") from error
    pairs = (line.strip().partition(" ") for line in lines)
    return {sha256: name.strip() or "token" for sha256, _, name in pairs if len(sha256) == _HASH_CHARACTERS}


def _read_or_log(path: Path) -> dict[str, str] | None:
    try:
        return read(path)
    except (PermissionDeniedError, UnavailableError) as error:
        _LOG.error("%s", error)
        return None


def add(path: Path, name: str) -> str:
    """Make a token for a name, in the place of an earlier one, and give it; the file keeps its hash alone."""
    token = secrets.token_urlsafe(32)
    others = {sha256: holder for sha256, holder in read(path).items() if holder != name}
    _write(path, others | {hashlib.sha256(token.encode()).hexdigest(): name})
    return token


def remove(path: Path, name: str) -> bool:
    """Forget the token of a name; False when there is none."""
    holders = read(path)
    others = {sha256: holder for sha256, holder in holders.items() if holder != name}
    if others != holders:
        _write(path, others)
    return others != holders


def _write(path: Path, holders: Mapping[str, str]) -> None:
    lines = "".join(f"{sha256} {name}\n" for sha256, name in holders.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lines.encode(), durable=True, mode=0o600)  # one that was removed must not come back
    except OSError as error:
        raise hindrance(error, f"cannot write {path}") from error


def _state_of(path: Path) -> _State:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size  # the last but one: owner, mode


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
