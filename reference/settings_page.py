"""The page of all settings, from their models and descriptions."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic.fields import FieldInfo

from imageguard_daemon.config import Section, Settings
from reference.markdown import escaped

_HEAD = """\
# Configuration

<!-- written by: python -m reference -->

A YAML file, named by `--config` or `IMAGEGUARD_CONFIG`. Every setting is optional. Unknown settings are mistakes;
`imageguard-daemon config check FILE` names all mistakes at once, `config show` shows what is in force, `config init`
writes a file with everything below, and `config schema` prints a JSON schema for editors.
"""


def settings_page() -> str:
    """Give the page."""
    parts = [_HEAD, _table("", Settings, Settings())]
    for name, kind, description in _sections():
        parts += [f"## {name}\n", f"{escaped(description)}\n", _table(name, kind, kind())]
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, type[Section], str]]:
    for name, field in Settings.model_fields.items():
        kind = _section_of(field)
        if kind is not None:
            yield name, kind, field.description or ""


def _section_of(field: FieldInfo) -> type[Section] | None:
    """Give the section that a field is, or that it is a list of."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def _table(section: str, kind: type[Section], defaults: Section) -> str:
    rows = []
    for name, field in kind.model_fields.items():
        if section or _section_of(field) is None:
            rows.append(f"| `{name}` | {_default(getattr(defaults, name))} | {escaped(field.description or '')} |")
    return "\n".join(("| setting | default | meaning |", "|---|---|---|", *rows)) + "\n"


def _default(value: Any) -> str:
    if value is None or value in ({}, (), ""):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return " ".join(f"`{one}`" for one in value)
    return f"`{value}`"
