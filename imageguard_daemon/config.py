"""All settings, a frozen section per stage. The only place that reads YAML.

The descriptions below are the documentation: config.example.yaml, `config schema` and the messages come from them.
"""

import difflib
import itertools
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from imageguard_daemon.errors import ConfigError, NoInputError
from imageguard_daemon.model import SCORE_NAMES

DEFAULT_ROOT = Path("ingest")
STATE_FOLDER = ".imageguard"
"""Hidden folder below the root for the lock and the live status."""


def _did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _known_score(name: str) -> str:
    if name not in SCORE_NAMES:
        raise ValueError(f"unknown score {name!r}{_did_you_mean(name, SCORE_NAMES)}")
    return name


def _file_name(path: Path) -> Path:
    if not path.name:
        raise ValueError("a file name is needed")
    return path


Seconds = Annotated[float, Field(gt=0, le=86_400)]


def _suffix(text: str) -> str:
    if not re.fullmatch(r"\.[^/.\s]+", text):
        raise ValueError("an ending is written with its dot, as .jpg")
    return text.lower()


Suffixes = tuple[Annotated[str, AfterValidator(_suffix)], ...]
ScoreName = Annotated[str, AfterValidator(_known_score)]
PresetName = Literal["general", "fine_grained", "detection", "segmentation"]


class Section(BaseModel):
    """What all sections share: unknown keys are errors, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _class_rule(rule: str) -> str:
    """Check a `class_from`: one of the three words, or an expression with a group called `class`."""
    if rule in {"first_folder", "parent_folder", "none"}:
        return rule
    try:
        groups = re.compile(rule).groupindex
    except (re.error, OverflowError) as error:
        raise ValueError(f"not a regular expression: {error}") from error
    if "class" not in groups:
        raise ValueError("give first_folder, parent_folder, none, or a regular expression with a group (?P<class>...)")
    return rule


class Source(Section):
    """One inbox with its destinations and its rules."""

    name: str = Field(
        "default",
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        description="Names the source in records, reports and logs.",
    )
    inbox: Path = Field(Path("inbox"), description="Folder tree watched. Relative paths are relative to `root`.")
    accepted: Path = Field(Path("accepted"), description="Good images go here, with their path below the inbox kept.")
    quarantine: Path = Field(
        Path("quarantine"), description="Everything else that was judged goes here. Nothing is ever deleted."
    )
    preset: PresetName = Field("general", description="Thresholds for the use case; docs/measures.md has the table.")
    thresholds: dict[ScoreName, Annotated[float, Field(ge=0, le=100)]] = Field(
        default_factory=dict,
        description="Single thresholds that differ from the preset, such as {blur_score: 55}. Below is an issue.",
    )
    class_from: Annotated[str, AfterValidator(_class_rule)] = Field(
        "first_folder",
        description="Where an image's class is read from its path below the inbox: first_folder, parent_folder, none, "
        "or a regular expression with a group (?P<class>...).",
    )

    def with_rules_of(self, other: Self) -> Self:
        """Give this source with what may change while a daemon runs taken from another."""
        rules = {"preset": other.preset, "thresholds": other.thresholds, "class_from": other.class_from}
        return self.model_copy(update=rules)

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        """Where files may be moved from and to."""
        return self.inbox, self.accepted, self.quarantine


class Intake(Section):
    """Which files become candidates, and when."""

    settle_seconds: Seconds = Field(
        2.0,
        description="A file is judged when nothing has it open for writing and it has not changed for this long. "
        "Raise it for uploaders that close a file and go on later, and on network file systems.",
    )
    rescan_seconds: Seconds = Field(
        60.0,
        description="The whole inbox is walked this often: the kernel may drop events, and network mounts send none. "
        "On NFS or SMB use 5 to 10.",
    )
    canary_seconds: Seconds = Field(
        30.0,
        description="A hidden file is made and removed in the inbox this often to prove that events still arrive; "
        "when they don't, watching starts anew and the inbox is walked.",
    )
    backlog_limit: int = Field(
        5_000, ge=1, le=1_000_000, description="Files held in memory at most; the inbox itself is the queue."
    )
    image_suffixes: Suffixes = Field(
        (
            ".jpg",
            ".jpeg",
            ".jpe",
            ".jfif",
            ".mpo",
            ".png",
            ".webp",
            ".tif",
            ".tiff",
            ".gif",
            ".bmp",
            ".avif",
            ".heic",
            ".heif",
        ),
        description="Files with these endings (any case) are judged. What they contain is decided by content.",
    )
    ignore: tuple[str, ...] = Field(
        (
            *(".*", "*~", "~$*", "#*#", "*.tmp", "*.temp", "*.part", "*.partial", "*.filepart"),
            *("*.crdownload", "*.download", "*.opdownload", "*.aria2", "*.!qB", "*.swp", "*.bak"),
        ),
        description="Names of files and folders left alone: hidden ones (rsync's temporaries are), and temporaries of "
        "SFTP clients, browsers and editors. Shell patterns, any case.",
    )
    other_files: Literal["leave", "quarantine"] = Field(
        "leave", description="Files with other endings stay in the inbox, or go to quarantine."
    )
    sidecars: bool = Field(
        default=False, description="Label files that share an image's stem move with it (1.jpg and 1.txt)."
    )
    sidecar_suffixes: Suffixes = Field((".txt", ".json", ".xml"), description="Which endings make a sidecar.")

    @model_validator(mode="after")
    def _images_are_no_sidecars(self) -> Self:
        both = sorted(set(self.image_suffixes) & set(self.sidecar_suffixes))
        if both:
            raise ValueError(f"{', '.join(both)} cannot be image and sidecar at once")
        return self


class Scoring(Section):
    """The worker processes and their limits."""

    workers: int = Field(0, ge=0, le=256, description="Worker processes; 0 means one for each processor.")
    timeout_seconds: Seconds = Field(
        60.0, description="A worker that takes longer for one image is killed, and the image tried once more."
    )
    max_pixels: int = Field(
        150_000_000, ge=1, description="Images that claim more are `too_large`, without being decoded."
    )
    max_megabytes: int = Field(512, ge=1, le=65_536, description="Larger files are `too_large`, without being read in.")
    worker_memory_megabytes: int = Field(
        4096,
        ge=512,
        le=1_048_576,
        description="Address space of one worker; an image that needs more harms only itself.",
    )


class Filing(Section):
    """How files are moved."""

    remove_empty_folders: bool = Field(
        default=False, description="Remove a sub-folder of the inbox when its last file has moved."
    )
    max_attempts: int = Field(
        5,
        ge=1,
        le=1000,
        description="After this many failures for a passing reason a file is left in the inbox and listed by `status`; "
        "SIGHUP, a restart or a change of the file tries it again.",
    )


class Audit(Section):
    """Where decisions are recorded."""

    database: Annotated[Path, AfterValidator(_file_name)] = Field(
        Path("audit.db"),
        description="SQLite file on a local disk (not NFS). Relative paths are relative to `root`.",
    )


class Reporting(Section):
    """When a pattern is worth telling a person."""

    min_sample: int = Field(10, ge=1, description="No finding rests on fewer images than this.")
    rejection_rate_limit: float = Field(
        0.20, gt=0, lt=1, description="A rejection rate above this, beyond chance, is a finding."
    )
    class_rate_limit: float = Field(
        0.50,
        gt=0,
        lt=1,
        description="A class rejected more often than this, beyond chance, is `consistently rejected`.",
    )
    mostly_share: float = Field(
        0.50,
        gt=0,
        lt=1,
        description="A reason behind more than this share of rejections is `mostly` the reason.",
    )


class Logging(Section):
    """What is written to standard error."""

    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: a live status line on a terminal, one JSON line per image elsewhere."
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level written.")


class Service(Section):
    """Start and stop."""

    drain_seconds: Seconds = Field(
        20.0,
        description="On SIGTERM, images in work are finished for at most this long; the others wait in the inbox.",
    )


class Settings(Section):
    """The whole configuration."""

    root: Path = Field(
        DEFAULT_ROOT,
        description="Folder that relative paths below start from; itself relative to this file's folder.",
    )
    sources: tuple[Source, ...] = Field((Source(),), description="Inboxes served by this daemon.")
    intake: Intake = Field(Intake(), description="Which files are judged, and when.")
    scoring: Scoring = Field(Scoring(), description="Worker processes and limits.")
    filing: Filing = Field(Filing(), description="How files are moved.")
    audit: Audit = Field(Audit(), description="Where decisions are recorded.")
    reporting: Reporting = Field(Reporting(), description="When a pattern becomes a finding.")
    logging: Logging = Field(Logging(), description="What is written to standard error.")
    service: Service = Field(Service(), description="How the daemon starts and stops.")

    @field_validator("sources")
    @classmethod
    def _distinct_sources(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        names = [source.name for source in sources]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice or not sources:
            raise ValueError(f"two sources are called {twice[0]}" if twice else "at least one source is needed")
        return sources

    def anchored(self, folder: Path) -> Self:
        """Give the same settings with absolute paths: the root below `folder`, all others below the root."""
        root = _absolute(folder.absolute(), self.root)
        sources = tuple(
            source.model_copy(
                update={key: _absolute(root, getattr(source, key)) for key in ("inbox", "accepted", "quarantine")}
            )
            for source in self.sources
        )
        audit = self.audit.model_copy(update={"database": _absolute(root, self.audit.database)})
        return self.model_copy(update={"root": root, "sources": sources, "audit": audit})

    def needing_restart(self, fresh: Self) -> list[str]:
        """Name the settings of `fresh` that a daemon running on these takes over only when it is started anew."""
        by_name = {source.name: source for source in fresh.sources}
        changed = [
            f"sources ({source.name})"
            for source in self.sources
            if source.name not in by_name or source.with_rules_of(by_name[source.name]) != by_name[source.name]
        ]
        changed += [f"sources ({name})" for name in by_name if name not in {source.name for source in self.sources}]
        return changed + [
            name
            for name in type(self).model_fields
            if name not in {"sources", "logging"} and getattr(self, name) != getattr(fresh, name)
        ]

    @property
    def state_folder(self) -> Path:
        """The hidden folder with lock and status."""
        return self.root / STATE_FOLDER


def _absolute(folder: Path, path: Path) -> Path:
    return Path(os.path.normpath(folder / path.expanduser()))


def _folder_conflicts(settings: Settings) -> list[str]:
    """Find folders that would feed the daemon its own output, or one file to two sources."""
    folders = [
        (f"sources[{number}].{key}", key, getattr(source, key))
        for number, source in enumerate(settings.sources)
        for key in ("inbox", "accepted", "quarantine")
    ]
    return [
        f"{where}: {path} and {other_where} ({other}) must not be the same or lie in one another"
        for (where, key, path), (other_where, other_key, other) in itertools.combinations(folders, 2)
        if (key != other_key or key == "inbox") and (_lies_in(path, other) or _lies_in(other, path))
    ] + [
        f"audit.database: {settings.audit.database} must not lie in {where} ({path})"
        for where, key, path in folders
        if key == "inbox" and _lies_in(settings.audit.database, path)
    ]


def _lies_in(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


class _StrictLoader(yaml.SafeLoader):
    """A loader that does not silently keep the last of two equal keys."""


def _mapping_without_repeats(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for number, (key_node, _) in enumerate(node.value):
        if (key := keys[number]) in keys[:number]:
            raise yaml.MarkedYAMLError(problem=f"the key {key!r} is given twice", problem_mark=key_node.start_mark)
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping_without_repeats)


def load(config_file: Path | None = None, root: Path | None = None) -> Settings:
    """Read the configuration and make its paths absolute.

    Without a file everything has its default. A `root` given on the command line replaces the file's and is
    relative to the working directory.

    Raises:
        ConfigError: with every mistake in the file at once.
        NoInputError: the file is not there or cannot be read.
    """
    settings = parse(_read(config_file), str(config_file)) if config_file else Settings()
    if root is not None:
        settings = settings.model_copy(update={"root": root})
    relative_to_file = config_file is not None and root is None
    settings = settings.anchored(config_file.absolute().parent if config_file and relative_to_file else Path.cwd())
    if conflicts := _folder_conflicts(settings):
        raise ConfigError(conflicts, str(config_file or root))
    return settings


def _read(config_file: Path) -> str:
    try:
        return config_file.read_text(encoding="utf-8")
    except OSError as error:
        raise NoInputError(f"cannot read the configuration {config_file}: {error.strerror}") from error
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
    return [f"two sources are called {name}" for name in sorted({name for name in names if names.count(name) > 1})]


def _problem(item: Any) -> str:
    """Say one mistake in one line, beginning with its YAML path."""
    location = item["loc"][:-2] if item["loc"][-1:] == ("[key]",) else item["loc"]  # a key's own name is in the message
    path = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, location))) or "(top level)"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        message = f"unknown setting{_did_you_mean(str(item['loc'][-1]), _known_keys(item['loc']))}"
    elif location is item["loc"] and not isinstance(item["input"], dict | list):
        message += f" (found {item['input']!r})"
    if item["type"] == "tuple_type":
        message = f"should be a list, as [{item['input']}]"
    return f"{path}: {message}"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    section: type[BaseModel] = Settings
    for part in location[:-1]:
        if part == "sources":
            section = Source
        elif isinstance(part, str):
            section = type(getattr(Settings(), part))
    return list(section.model_fields)
