"""Options that several commands share, declared once as a frozen dataclass with one field for each option."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import Any


def with_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function: each parameter that is a dataclass becomes the options that its fields are.

    Those parameters come first in the function and last in the help.
    """
    declared = inspect.signature(function).parameters
    groups: dict[str, Any] = {name: one.annotation for name, one in declared.items() if is_dataclass(one.annotation)}

    @wraps(function)
    def command(**values: Any) -> None:
        made = {name: kind(**{f.name: values.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        function(**made, **values)

    own = [one for name, one in declared.items() if name not in groups]
    own += [option for kind in groups.values() for option in _options(kind)]
    own.sort(key=lambda one: one.default is not inspect.Parameter.empty)
    command.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in own}
    return command


def _options(kind: Any) -> Iterator[inspect.Parameter]:
    for field in fields(kind):
        yield inspect.Parameter(
            field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=field.default, annotation=field.type
        )
