"""What goes wrong with a PostgreSQL, in our words: what passes, what a person must change, which row is at fault."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError

from imageguard_daemon.core.errors import (
    ImageguardError,
    PermissionDeniedError,
    RetryableError,
    StalledError,
    UnavailableError,
)

_NOT_ALLOWED = {"28000", "28P01", "42501"}
_NOT_THERE = {"3D000", "3F000", "42P01", "42703", "42883"}
_OF_ONE_ROW = ("22", "23", "54")
"""Classes of SQLSTATE: a value does not fit, a constraint refuses it, it is too long for an index."""
# A connection that is refused comes without a SQLSTATE; servers that speak another language fall through.
_AT_CONNECTING = (
    (
        re.compile(r"authentication failed|no password supplied|pg_hba\.conf|role .* does not exist"),
        PermissionDeniedError,
    ),
    (re.compile(r"permission denied for database"), PermissionDeniedError),
    (re.compile(r"database .* does not exist"), UnavailableError),
    (re.compile(r"certificate verify failed|server does not support SSL|root certificate file"), UnavailableError),
)


class OddRowError(RetryableError):
    """PostgreSQL refuses a row for what is in it."""


@contextmanager
def translated_fleet_errors(where: str) -> Iterator[None]:
    """Turn errors of PostgreSQL into ours; `where` names the database and never has a password."""
    try:
        yield
    except DBAPIError as error:
        raise translated(error, where) from error


def translated(error: DBAPIError, where: str) -> ImageguardError:
    """Give our error for one of PostgreSQL."""
    state = getattr(error.orig, "sqlstate", None) or ""
    message = f"database {where}: {one_line(str(error.orig))}"
    if state[:2] in _OF_ONE_ROW:
        return OddRowError(message)
    if state in _NOT_ALLOWED:
        return PermissionDeniedError(message)
    if state == "42P01":
        return UnavailableError(f"database {where}: holds no logs of imageguard-daemon; see `fleet prepare`")
    if state in _NOT_THERE:
        return UnavailableError(message)
    if not state:
        kinds = (kind for pattern, kind in _AT_CONNECTING if pattern.search(str(error.orig)))
        return next(kinds, StalledError)(message)
    return StalledError(message)


def one_line(text: str) -> str:
    """Give the first words of a message of several lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines))[:500]
