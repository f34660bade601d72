"""The example configuration: every setting with its default and its reason, made from the settings themselves."""

import textwrap
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from imageguard_daemon.config import Section, Settings

_HEADER = """\
Configuration of imageguard-daemon. Every setting is optional; the values below are the defaults.
Check a file with `imageguard-daemon config check FILE`, see what is in force with `config show`."""
_WIDTH = 110


def render_example() -> str:
    """Write all settings with their defaults as commented YAML."""
    return _comment(_HEADER, "") + "\n" + "\n".join(_section(Settings(), ""))


def _section(section: BaseModel, indent: str) -> list[str]:
    lines = []
    for name, field in type(section).model_fields.items():
        lines.append(_comment(field.description or "", indent) + _setting(name, getattr(section, name), indent))
    return lines


def _setting(name: str, value: Any, indent: str) -> str:
    if isinstance(value, Section):
        return f"{indent}{name}:\n" + "\n".join(_section(value, f"{indent}  "))
    if isinstance(value, tuple) and value and isinstance(value[0], Section):
        return f"{indent}{name}:\n" + "".join(_item(item, f"{indent}  ") for item in value)
    return textwrap.indent(f"{name}: {_scalar(value)}\n", indent)


def _item(item: BaseModel, indent: str) -> str:
    """Write one entry of a list; its first line carries the dash."""
    return f"{indent}- " + "\n".join(_section(item, f"{indent}  ")).lstrip()


def _scalar(value: Any) -> str:
    plain = str(value) if isinstance(value, Path) else list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, width=_WIDTH - 30, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("...").rstrip()


def _comment(text: str, indent: str) -> str:
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, _WIDTH - len(indent) - 2)]
    return "".join(f"{indent}# {line}\n" for line in lines)
