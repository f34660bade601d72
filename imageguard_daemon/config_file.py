"""Reading the configuration, and an example of it made from the settings: the only place that knows YAML.

Every mistake is told at once, with its YAML path.
"""

import itertools
import os
import re
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import BaseModel, ValidationError

from imageguard_daemon.config import Section, Settings, Source, did_you_mean, usable_path
from imageguard_daemon.core.errors import ConfigError, UsageError, unreadable

_MAY_HAVE_A_PASSWORD = ("forward", "url")
_HEADER = """\
Configuration of imageguard-daemon. Every setting is optional; the values below are the defaults.
Check a file with `imageguard-daemon config check FILE`, see what is in force with `config show`."""
_WIDTH = 110


def folder_conflicts(settings: Settings, *, follow_links: bool = True) -> list[str]:
    """Find folders that would feed the daemon its own output, or one file to two sources.

    With `follow_links` by whatever names, for which each folder's disk has to answer.
    """
    real = os.path.realpath if follow_links else os.path.normpath
    folders = [
        _Folder(f"sources[{number}].{key}", key, folder, Path(real(folder)))
        for number, source in enumerate(settings.sources)
        for key, folder in zip(("inbox", "accepted", "quarantine"), source.folders, strict=True)
    ]
    conflicts = [
        f"{one.where}: {one.given} and {other.where} ({other.given}) must not be the same or lie in one another"
        for one, other in itertools.combinations(folders, 2)
        if one.conflicts_with(other)
    ]
    database = Path(real(settings.audit.database))
    return conflicts + [
        f"audit.database: {settings.audit.database} must not lie in {folder.where} ({folder.given})"
        for folder in folders
        if folder.key == "inbox" and database.is_relative_to(folder.path)
    ]


class _Folder(NamedTuple):
    """One folder of a source: where its setting stands, what was given there, and where that leads."""

    where: str
    key: str
    given: Path
    path: Path

    def conflicts_with(self, other: "_Folder") -> bool:
        """Tell whether one lies in the other; several sources may file into the same destination."""
        may_be_shared = self.key == other.key != "inbox"
        return not may_be_shared and (self.path.is_relative_to(other.path) or other.path.is_relative_to(self.path))


class _StrictLoader(yaml.SafeLoader):
    """A loader that does not silently keep the last of two equal keys."""


def _mapping_without_repeats(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for number, (key_node, _) in enumerate(node.value):
        if (key := keys[number]) in keys[:number]:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


def load(config_file: Path | None = None, root: Path | None = None, *, follow_links: bool = True) -> Settings:
    """Read the configuration and make its paths absolute.

    Without a file everything has its default. A `root` given on the command line replaces the file's and is
    relative to the working directory. Without `follow_links` no folder of a source is touched, so that a mount that
    hangs holds up nothing; but for folders that lie in one another by their names: only links tell if they do.

    Raises:
        ConfigError: with every mistake in the file at once.
        UsageError: `root` cannot be a path.
        NoInputError, PermissionDeniedError: the file does not exist, or cannot be read.
    """
    settings = parse(_read(config_file), str(config_file)) if config_file else Settings()
    if root is not None:
        settings = settings.model_copy(update={"root": _usable_root(root)})
    relative_to_file = config_file is not None and root is None
    settings = settings.anchored(config_file.absolute().parent if config_file and relative_to_file else Path.cwd())
    # Links are followed only where they may matter: following one touches the disk it leads to, which may hang.
    is_to_follow = follow_links or folder_conflicts(settings, follow_links=False)
    if is_to_follow and (conflicts := folder_conflicts(settings)):
        raise ConfigError(conflicts, str(config_file or root))
    return settings


def _usable_root(root: Path) -> Path:
    try:
        return usable_path(root)
    except ValueError as error:
        raise UsageError(f"ROOT {root}: {error}") from error


def _read(config_file: Path) -> str:
    try:
        return config_file.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(error, f"the configuration {config_file}") from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"not UTF-8 text: {error.reason} at byte {error.start}"], str(config_file)) from error


def parse(text: str, origin: str = "configuration") -> Settings:
    """Turn YAML text into settings; an empty text means all defaults."""
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader with one more check
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError([f"{where}{error.problem or error}"], origin) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        raise ConfigError([str(error)], origin) from error
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError([f"expected settings by name, found {type(data).__name__}"], origin)
    try:
        # A section whose lines are all commented out is one with its defaults.
        return Settings.model_validate({name: value for name, value in data.items() if value is not None})
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors()]
        # Other mistakes keep the check of the names from running: all are to be told at once.
        problems += [twice for twice in _names_given_twice(data) if twice not in "\n".join(problems)]
        raise ConfigError(problems, origin) from error


def _names_given_twice(data: dict[str, Any]) -> list[str]:
    sources = data.get("sources")
    listed = sources if isinstance(sources, list) else []
    names = [str(source.get("name", "default")) for source in listed if isinstance(source, dict)]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [f"two sources are called {name}" for name in twice]


def _problem(item: Any) -> str:
    """Say one mistake in one line, beginning with its YAML path."""
    is_key = item["loc"][-1:] == ("[key]",)  # whose own name is in the message
    location = item["loc"][:-2] if is_key else item["loc"]
    path = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, location))) or "(top level)"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = f"unknown setting{did_you_mean(str(item['loc'][-1]), _known_keys(item['loc']))}"
    elif item["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", item["ctx"]["expected"])
        message = f"unknown value {item['input']!r}{did_you_mean(str(item['input']), known)}"
    elif not is_key and not isinstance(item["input"], dict | list) and location != _MAY_HAVE_A_PASSWORD:
        message += f" (found {item['input']!r})"
    if item["type"] == "tuple_type":
        message = f"should be a list, e.g. [{item['input']}]"
    return f"{path}: {message}"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    section: type[BaseModel] = Settings
    for part in location[:-1]:
        if part == "sources":
            section = Source
        elif isinstance(part, str):
            section = type(getattr(Settings(), part))
    return list(section.model_fields)


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
    width = _WIDTH - len(indent) - len("# ")
    lines = [line for part in text.splitlines() for line in textwrap.wrap(part, width)]
    return "".join(f"{indent}# {line}\n" for line in lines)
