"""Small files in which a program says how it stands, or notes what it wants to know at its next start.

Older and newer versions read each other's: what a version does not know is passed over, what it misses has its default.
None of it is worth a failure: a file that is damaged counts as none, and a full disk costs the note alone.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Generic, TypeVar, cast, get_args, get_origin, get_type_hints

from imageguard_daemon.core.files import atomic_write

T = TypeVar("T")


class StateFile(Generic[T]):
    """A JSON file of this name in a folder of state, of a dataclass or of what holds some."""

    def __init__(self, name: str, kind: type[T]) -> None:
        self.name = name
        self._kind = kind

    def write(self, folder: Path, value: T, *, durable: bool = False) -> None:
        """Replace it in one step, if the disk lets us; `durable` makes it outlast a power cut."""
        path, data = folder / self.name, json.dumps(value, default=_fields_of).encode()
        try:
            atomic_write(path, data, durable=durable)
        except OSError:
            if not durable:  # a full disk is when people look: into the space that it has
                with suppress(OSError), path.open("r+b") as file:
                    file.write(data)
                    file.truncate()

    def read(self, folder: Path, report: Callable[[str], None] = lambda _why: None) -> T | None:
        """Give what was written last; None when there is none, or it is damaged, which `report` is told."""
        try:
            text = (folder / self.name).read_text(encoding="utf-8")
            return cast("T", _value(self._kind, json.loads(text)))
        except FileNotFoundError:
            return None
        except OSError as error:
            report(f"{folder / self.name}: {error.strerror}")
        except (ValueError, TypeError, KeyError) as error:
            report(f"{folder / self.name} is damaged, and counts as if it were not there: {error}")
        return None

    def read_plain(self, folder: Path) -> dict[str, Any] | None:
        """Give the same as JSON has it."""
        value = self.read(folder)
        return None if value is None else json.loads(json.dumps(value, default=_fields_of))


def as_key(path: str | os.PathLike[str]) -> str:
    """Give a path as a text that JSON can have whatever its bytes are."""
    return os.fsencode(path).decode("latin-1")


def path_of_key(key: str) -> str:
    """Give the path that `as_key` was given."""
    return os.fsdecode(key.encode("latin-1", "replace"))


def _fields_of(value: Any) -> dict[str, Any]:
    return asdict(value)


def _value(kind: Any, content: Any) -> Any:
    """Make of JSON what a type says: dataclasses, mappings and tuples of them, and plain values."""
    if is_dataclass(kind):
        return _built(cast("type", kind), content)
    origin, inner = get_origin(kind), get_args(kind)
    if origin in {dict, Mapping}:
        return {key: _value(inner[1], value) for key, value in _checked(dict, content).items()}
    if origin is tuple:
        items = _checked(list, content)
        kinds = [inner[0]] * len(items) if inner[-1] is Ellipsis else inner
        return tuple(_value(each, item) for each, item in zip(kinds, items, strict=True))
    if kind is Any or origin is UnionType:
        return content
    return _checked((int, float) if kind is float else kind, content)


def _built(kind: type, content: Any) -> Any:
    content, hints = _checked(dict, content), get_type_hints(kind)
    values = {}
    for field in fields(kind):
        if field.name in content:
            values[field.name] = _value(hints[field.name], content[field.name])
        elif field.default is MISSING and field.default_factory is MISSING:
            raise KeyError(field.name)
    return kind(**values)


def _checked(kind: Any, content: Any) -> Any:
    if not isinstance(content, kind):
        raise TypeError(f"{type(content).__name__} where another kind of value belongs")
    return content
