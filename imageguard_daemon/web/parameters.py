"""Refuses what a route does not know: who misspells a filter would get the answer to a wider question."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, TypeVar

from fastapi import Request
from fastapi.dependencies.models import Dependant

from imageguard_daemon.config import did_you_mean
from imageguard_daemon.errors import UsageError
from imageguard_daemon.names import printable

_Route = TypeVar("_Route", bound=Callable[..., Any])
_READS = "imageguard_reads"


class UnknownParameterError(UsageError):
    """A parameter or field of a form that the route does not know, or one that is given twice."""


def reads(*names: str) -> Callable[[_Route], _Route]:
    """Say which parameters a route reads from the request by itself; those in its signature are known anyway."""

    def mark(route: _Route) -> _Route:
        setattr(route, _READS, names)
        return route

    return mark


def only_known(request: Request) -> None:
    """Refuse parameters in the address that the route does not know: a dependency of every route.

    Raises:
        UnknownParameterError: there is one, or one that the route declares comes twice.
    """
    route = request.scope["route"]
    once, more = set(_declared(route.dependant)), getattr(route.endpoint, _READS, ())
    given = [name for name, _ in request.query_params.multi_items()]
    require_known(given, {*once, *more})
    if twice := [name for name, times in Counter(given).items() if times > 1 and name in once]:
        raise UnknownParameterError(f"{twice[0]} is given more than once")


def require_known(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse names that are not known.

    Raises:
        UnknownParameterError: there is one; the message has the names there are.
    """
    if unknown := next((name for name in given if name not in known), None):
        hint = did_you_mean(unknown, sorted(known)) if known else ": there are none here"
        raise UnknownParameterError(f"there is no parameter {printable(unknown[:60])!r}{hint}")


def _declared(dependant: Dependant) -> Iterable[str]:
    yield from (one.alias for one in dependant.query_params)
    for part in dependant.dependencies:
        yield from _declared(part)
