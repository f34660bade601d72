"""Refuses what a route does not know, or gets twice: it would answer another question than the one that was asked."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import Path, Request
from fastapi.dependencies.models import Dependant
from pydantic import BeforeValidator

from imageguard_daemon.config import did_you_mean
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import MAX_INT64
from imageguard_daemon.core.names import printable

_Route = TypeVar("_Route", bound=Callable[..., Any])
_READS, _MANY = "imageguard_reads", "imageguard_many"
_DIGITS = re.compile(r"[0-9]{1,19}")


def whole_number(text: str) -> int:
    """Read a number as a log has them: digits alone, no sign, no space.

    Raises:
        ValueError: it is none, or larger than any.
    """
    if not _DIGITS.fullmatch(text) or int(text) > MAX_INT64:
        raise ValueError(f"{printable(text[:30])!r} is not a whole number that a log can have")
    return int(text)


DIGITS = BeforeValidator(lambda given: whole_number(given) if isinstance(given, str) else given)
"""Reads a number in an address: of itself pydantic would take ` 5`, `5.0` and `1_0`, too.

What bounds the number stands before it, or a description would not have the bounds.
"""
WholeNumber = Annotated[int, DIGITS]
"""A number in the address of a page."""
DecisionId = Annotated[WholeNumber, Path(ge=1, le=MAX_INT64)]


class UnknownParameterError(UsageError):
    """A parameter or field of a form that the route does not know, or one that is given twice."""


def reads(*names: str, many: Collection[str] = ()) -> Callable[[_Route], _Route]:
    """Say which parameters a route reads from the request by itself; those in its signature are known anyway.

    All that it gets of `many` are used; of any other there can be one.
    """

    def mark(route: _Route) -> _Route:
        setattr(route, _READS, names)
        setattr(route, _MANY, many)
        return route

    return mark


async def only_known(request: Request) -> None:
    """Refuse parameters in the address that the route does not know: a dependency of every route.

    Raises:
        UnknownParameterError: there is one, or one of which the route uses one comes twice.
    """
    # Not a plain function: FastAPI would send each request through the threads of the log for it.
    route = request.scope["route"]
    once, many = getattr(route.endpoint, _READS, ()), getattr(route.endpoint, _MANY, ())
    require_known(request.query_params.multi_items(), {*_declared(route.dependant), *once}, many)


def require_known(given: Iterable[tuple[str, object]], once: Collection[str], many: Collection[str] = ()) -> None:
    """Refuse names that are not known, and a second value where only one would be used.

    Raises:
        UnknownParameterError: there is one; the message has the names there are.
    """
    times, known = Counter(name for name, _ in given), {*once, *many}
    if unknown := next((name for name in times if name not in known), None):
        hint = did_you_mean(unknown, sorted(known)) if known else ": there are none here"
        raise UnknownParameterError(f"there is no parameter {printable(unknown[:60])!r}{hint}")
    if twice := next((name for name in times if times[name] > 1 and name not in many), None):
        raise UnknownParameterError(f"{twice} is given more than once")


def _declared(dependant: Dependant) -> Iterable[str]:
    yield from (one.alias for one in dependant.query_params)
    for part in dependant.dependencies:
        yield from _declared(part)


def trail_of(text: str) -> list[int]:
    """Read where the pages of a gallery began that somebody has leafed through; UsageError for what is not a trail."""
    return [number_in("trail", one) for one in text.split(".") if one]


def page_of(given: Mapping[str, str]) -> dict[str, str]:
    """Give which page of a gallery somebody is on, as fields that lead back to it; UsageError for what is none."""
    if after := given.get("after", ""):
        number_in("after", after)
    trail_of(given.get("trail", ""))
    return {name: given[name] for name in ("after", "trail") if given.get(name)}


def number_in(name: str, text: str) -> int:
    """Read the number in a parameter or a field of a form; UsageError for what is none."""
    try:
        return whole_number(text)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None
