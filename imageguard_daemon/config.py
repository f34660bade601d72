"""All settings, a frozen section per stage; `config_file.py` reads them from YAML.

The descriptions below are the documentation: config.example.yaml, `config schema` and the messages come from them.
"""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from imageguard_daemon.core.model import THRESHOLD_NAMES, PresetName

DEFAULT_ROOT = Path("ingest")
STATE_FOLDER = ".imageguard"
"""Hidden folder below the root for the lock and the live status."""


def did_you_mean(word: str, known: tuple[str, ...] | list[str]) -> str:
    """Propose the known word nearest to a mistyped one, as the end of a sentence."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _known_threshold(name: str) -> str:
    if name not in THRESHOLD_NAMES:
        raise ValueError(f"unknown score {name!r}{did_you_mean(name, THRESHOLD_NAMES)}")
    return name


def usable_path(path: Path) -> Path:
    """Check that a path can be one, whether or not something is there.

    Raises:
        ValueError: with what is wrong.
    """
    if "\0" in str(path):
        raise ValueError("a path cannot have a NUL character")
    if names := [part for part in path.parts if re.fullmatch(r"\$(\w+|\{\w+\})", part)]:
        raise ValueError(f"{names[0]} is not replaced by the variable's value; write the path, ~ for a home folder")
    try:
        path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"the home folder {path.parts[0]} is not known; give the whole path") from error
    return path


def _file_name(path: Path) -> Path:
    if path.name in {"", ".."}:
        raise ValueError("a file name is needed")
    return path


Place = Annotated[Path, AfterValidator(usable_path)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Hours = Annotated[float, Field(gt=0, le=8_784)]
Share = Annotated[float, Field(gt=0, lt=1)]
Port = Annotated[int, Field(ge=1, le=65_535)]


def _web_address(text: str) -> str:
    if text and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text):
        raise ValueError("not a web address; it begins with https:// or http://")
    return text


def _suffix(text: str) -> str:
    if not re.fullmatch(r"\.[^/.\s]+", text):
        raise ValueError("an extension starts with its dot, e.g. .jpg")
    return text.lower()


Suffixes = tuple[Annotated[str, AfterValidator(_suffix)], ...]
ThresholdName = Annotated[str, AfterValidator(_known_threshold)]


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
        "default", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="Names the source in records, reports and logs."
    )
    inbox: Place = Field(Path("inbox"), description="Folder tree watched. Relative paths are relative to `root`.")
    accepted: Place = Field(Path("accepted"), description="Good images go here, with their path below the inbox kept.")
    quarantine: Place = Field(
        Path("quarantine"),
        description="All other judged images go here. The daemon deletes none; only `quarantine purge` does.",
    )
    preset: PresetName = Field("general", description="Thresholds for the use case; docs/measures.md has the table.")
    thresholds: dict[ThresholdName, Annotated[float, Field(ge=0, le=100)]] = Field(
        default_factory=dict,
        description="Single thresholds that differ from the preset, such as {blur_score: 55}. Below is an issue. "
        "exposure_score sets both overexposure_score and underexposure_score; what is named by itself wins.",
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
    def destinations(self) -> tuple[Path, Path]:
        """Where files are moved to."""
        return self.accepted, self.quarantine

    @property
    def folders(self) -> tuple[Path, Path, Path]:
        """Where files may be moved from and to."""
        return self.inbox, *self.destinations


class Intake(Section):
    """Which files become candidates, and when."""

    settle_seconds: Seconds = Field(
        2.0,
        description="A file is judged when nothing has it open for writing and it has not changed for this long. "
        "Raise it for uploaders that close a file and go on later, and on network file systems.",
    )
    settle_unknown_seconds: Seconds = Field(
        60.0,
        description="Where the kernel does not say who writes (files of other accounts, network file systems), an "
        "image that is empty, cut off or unreadable is judged only when it has not changed for this long. Whole "
        "images do not wait. Make it longer than the longest pause of your scanners and uploads.",
    )
    rescan_seconds: Seconds = Field(
        60.0,
        description="The whole inbox is walked this often: the kernel may drop events, and network mounts send none. "
        "On NFS or SMB use 5 to 10.",
    )
    canary_seconds: Seconds = Field(
        30.0,
        description="A hidden file is made and removed in the inbox this often to prove that events still arrive; "
        "when they don't, watching starts again and the inbox is walked.",
    )
    backlog_limit: int = Field(
        5_000,
        ge=1,
        le=1_000_000,
        description="Files held in memory at most (one for each source at least); the inbox itself is the queue.",
    )
    image_suffixes: Suffixes = Field(
        (
            *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp"),
            *(".tif", ".tiff", ".gif", ".bmp", ".avif", ".heic", ".heif"),
        ),
        description="Files with these extensions (any case) are judged. What they contain is decided by content.",
    )
    ignore: tuple[str, ...] = Field(
        (
            *(".*", "*~", "~$*", "#*#", "*.tmp", "*.temp", "*.part", "*.partial", "*.filepart"),
            *("*.crdownload", "*.download", "*.opdownload", "*.aria2", "*.!qB", "*.swp", "*.bak"),
        ),
        description="Names of files and folders left alone: hidden ones (rsync's temporaries are), and temporaries of "
        "SFTP clients, browsers and editors. Shell patterns, any case. What is given here replaces all of these; "
        "`ignore_also` adds to them.",
    )
    ignore_also: tuple[str, ...] = Field(
        (),
        description="Further names of files and folders left alone. Trash cans, and what NAS, systems and sync "
        "programs make (@eaDir, $RECYCLE.BIN, Thumbs.db, *.sync-conflict-*), always are: docs/operations.md.",
    )
    other_files: Literal["leave", "quarantine"] = Field(
        "leave", description="Files with other extensions stay in the inbox, or go to quarantine."
    )
    sidecars: bool = Field(
        default=False, description="Label files named after an image move with it (1.txt or 1.jpg.txt with 1.jpg)."
    )
    sidecar_suffixes: Suffixes = Field(
        (".txt", ".json", ".xml", ".xmp"), description="Which extensions make a sidecar."
    )

    checksums: bool = Field(
        default=True,
        description="Check an image against its sender's checksum where there is one: 1.jpg.sha256 or 1.jpg.md5, which "
        "moves with it, or SHA256SUMS, MD5SUMS, sha256sum.txt or md5sum.txt in its folder, which stays. One that "
        "differs is `corrupt`.",
    )

    duplicates: Literal["accept", "quarantine", "skip"] = Field(
        "accept",
        description="What becomes of an image whose very bytes were filed before: it is judged like any other, "
        "quarantined as `duplicate`, or left where it is until it changes (skip, for senders that keep their files, "
        "e.g. rsync without --remove-source-files).",
    )

    @model_validator(mode="after")
    def _images_are_no_sidecars(self) -> Self:
        both = sorted(set(self.image_suffixes) & set(self.sidecar_suffixes))
        if both:
            raise ValueError(f"{', '.join(both)} cannot be image and sidecar at once")
        return self


class Scoring(Section):
    """The worker processes and their limits."""

    workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Worker processes; 0 means one for each processor, fewer where a container or "
        "unit limits processors or memory.",
    )
    timeout_seconds: Seconds = Field(
        60.0,
        description="Reading an image may take so long, and so may decoding it; a process that takes longer is "
        "killed, and the image tried once more.",
    )
    max_pixels: int = Field(
        150_000_000, ge=1, description="Images that claim more are `too_large`, without being decoded."
    )
    max_megabytes: int = Field(
        512,
        ge=1,
        le=65_536,
        description="Larger files are `too_large`, without being read in; what is too large even to be hashed stays "
        "in the inbox.",
    )
    worker_memory_megabytes: int = Field(
        4096,
        ge=512,
        le=1_048_576,
        description="Address space of one worker, or the memory limit of its container or unit where that is less; an "
        "image that needs more harms only itself.",
    )
    readout: Place | None = Field(
        None,
        description="A readout of your own, as `python -m training` writes it, in place of the package's; "
        "docs/training.md. It is read once, at the start; `scorer_version` of every record has its hash. Relative "
        "paths are relative to `root`.",
    )


class Filing(Section):
    """How files are moved."""

    remove_empty_folders: bool = Field(
        default=False, description="Remove a sub-folder of the inbox when its last file has moved."
    )
    group_seconds: float = Field(
        0.2,
        ge=0,
        le=10,
        description="While others are in work, a judged file waits up to this long, so that one durable write to the "
        "log and one sync of each folder serve many. More spares the disk, less has files filed sooner.",
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

    database: Annotated[Place, AfterValidator(_file_name)] = Field(
        Path("audit.db"), description="SQLite file on a local disk (not NFS). Relative paths are relative to `root`."
    )


class Reporting(Section):
    """When a pattern is worth telling a person."""

    min_sample: int = Field(10, ge=1, description="No finding rests on fewer images than this.")
    rejection_rate_limit: Share = Field(0.20, description="A rejection rate above this, beyond chance, is a finding.")
    class_rate_limit: Share = Field(
        0.50, description="A class rejected more often than this, beyond chance, is `consistently rejected`."
    )
    mostly_share: Share = Field(
        0.50,
        description="A reason, source or camera behind more than this share of rejections is behind most of them; a "
        "source that loses more than this share of its images to one reason is mostly rejected.",
    )
    duplicate_share_limit: Share = Field(
        0.10,
        description="A source that sends more than this share of what was filed before, byte for byte, is a finding.",
    )


class Alerts(Section):
    """Whom to tell of new findings; docs/monitoring.md. Nobody, unless `command` or `webhook` is set."""

    command: tuple[str, ...] = Field(
        (),
        description="Program and arguments, run for each new finding without a shell, with the finding as JSON on "
        "standard input: [/usr/local/bin/tell-me, --team, vision].",
    )
    webhook: Annotated[str, AfterValidator(_web_address)] = Field(
        "",
        description="Address to which each new finding is posted as JSON. The systemd unit has no network: see "
        "docs/monitoring.md.",
    )
    check_seconds: Seconds = Field(
        300.0, description="How often findings are looked for. Intake does not wait for that."
    )
    period_hours: Hours = Field(
        672.0,
        description="Findings are looked for in the decisions of this many hours; four weeks make a good baseline.",
    )
    cooldown_hours: Hours = Field(
        24.0, description="A finding is over, and told as such, when it was not found for this many hours."
    )
    timeout_seconds: Seconds = Field(
        30.0, description="A command that takes longer is killed, a request given up; both are tried again later."
    )


class Logging(Section):
    """What is written to standard error."""

    format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: a live status line on a terminal, one JSON line per image elsewhere."
    )
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least level written.")
    images: bool = Field(
        default=True,
        description="Write a line for each image that is filed; the audit log has them all. In systemd's journal at "
        "most 5,000 in 30 seconds, which leaves room for errors.",
    )


class Service(Section):
    """Start and stop."""

    drain_seconds: Seconds = Field(
        20.0, description="On SIGTERM, images in work are finished for at most this long; the others wait in the inbox."
    )


class Metrics(Section):
    """What monitoring asks the daemon over HTTP."""

    enabled: bool = Field(
        default=False,
        description="Answer /metrics (Prometheus), /healthz and /readyz from a thread that only reads numbers.",
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on. There are no paths, classes or images in the answers, but names of sources; "
        "on another address than loopback everybody who reaches it can read them.",
    )
    port: Port = Field(9464, description="Port to listen on.")


def _fleet_address(text: str) -> str:
    if not text:
        return text
    if not re.match(r"postgres(ql)?://", text):
        raise ValueError("not the address of a PostgreSQL, e.g. postgresql://forwarder@db.example.org/imageguard")
    if re.match(r"[a-z]+://[^@:]*:[^@]*@", text) or re.search(r"[?&]password=", text):
        # The message must not show it.
        raise ValueError("a password does not belong in the address: use password_file, or the environment")
    return text


def _network(text: str) -> str:
    import ipaddress  # noqa: PLC0415 - few need it

    return str(ipaddress.ip_network(text))


class Forward(Section):
    """One database for the logs of many servers; docs/fleet.md. Nothing is forwarded unless `url` is set."""

    url: Annotated[str, AfterValidator(_fleet_address)] = Field(
        "",
        description="PostgreSQL to which the log is forwarded, as libpq takes it, with its options: "
        "postgresql://forwarder@db.example.org/imageguard?sslmode=verify-full. The systemd unit has no network: see "
        "docs/fleet.md.",
    )
    password_file: Place | None = Field(
        None,
        description="File that has the password. Without it: the variable IMAGEGUARD_FORWARD_PASSWORD, the systemd "
        "credential imageguard-forward-password, or what libpq finds itself (~/.pgpass).",
    )
    host: str = Field(
        "",
        pattern=r"^[^\x00-\x1f\x7f]{0,255}$",
        description="Name of this server among the others; empty for its host name. It stays with the log.",
    )
    with_daemon: bool = Field(
        default=True,
        description="`run` starts the forwarder as a process of its own. Without it, `fleet forward` does the same by "
        "hand, by cron or as a service.",
    )
    batch_records: int = Field(1_000, ge=1, le=10_000, description="So many records are sent in one transaction.")
    timeout_seconds: Seconds = Field(
        30.0, description="A connection on which a batch takes longer is given up, and the batch sent again."
    )
    retry_seconds: Seconds = Field(
        60.0, description="The longest pause between two attempts while the database is away; the first take a second."
    )


class Web(Section):
    """Pages to look at, docs/web.md; they need `pip install 'imageguard-daemon[web]'`."""

    enabled: bool = Field(
        default=False,
        description="Serve pages while the daemon runs, from a process of its own that ends with it. "
        "`imageguard-daemon web` serves the same without a daemon.",
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on; another than loopback needs a token (`web --new-token NAME`).",
    )
    port: Port = Field(8765, description="Port to listen on.")
    allow_hosts: tuple[str, ...] = Field(
        (),
        description="Names by which browsers reach the pages, through a proxy for instance; with one, a token is "
        "needed on loopback, too.",
    )
    trusted_proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        (),
        description="Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, "
        "e.g. 127.0.0.1. Limits are then of each client, not of the proxy, and with TLS in front the session's cookie "
        "is sent over TLS only. A token is needed on loopback, too.",
    )


class Settings(Section):
    """The whole configuration."""

    root: Place = Field(
        DEFAULT_ROOT, description="Folder that relative paths below start from; itself relative to this file's folder."
    )
    sources: tuple[Source, ...] = Field((Source(),), description="Inboxes served by this daemon.")
    intake: Intake = Field(Intake(), description="Which files are judged, and when.")
    scoring: Scoring = Field(Scoring(), description="Worker processes and limits.")
    filing: Filing = Field(Filing(), description="How files are moved.")
    audit: Audit = Field(Audit(), description="Where decisions are recorded.")
    reporting: Reporting = Field(Reporting(), description="When a pattern becomes a finding.")
    alerts: Alerts = Field(Alerts(), description="Whom to tell of new findings.")
    logging: Logging = Field(Logging(), description="What is written to standard error.")
    service: Service = Field(Service(), description="How the daemon starts and stops.")
    metrics: Metrics = Field(Metrics(), description="What monitoring can ask; docs/monitoring.md lists it.")
    forward: Forward = Field(Forward(), description="One database for the logs of many servers.")
    web: Web = Field(Web(), description="Pages to look at; docs/web.md shows them.")

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
        changed = {
            "root": root,
            "sources": tuple(_below(root, source, "inbox", "accepted", "quarantine") for source in self.sources),
            "scoring": _below(root, self.scoring, "readout"),
            "audit": _below(root, self.audit, "database"),
            "forward": _below(root, self.forward, "password_file"),
        }
        return self.model_copy(update=changed)

    def needing_restart(self, fresh: Self) -> list[str]:
        """Name the settings of `fresh` that a daemon running on these takes over only when it is restarted."""
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


def _below(root: Path, section: Section, *names: str) -> Section:
    """Give a section with absolute paths in place of those that have one of these names."""
    paths = {name: getattr(section, name) for name in names}
    return section.model_copy(update={name: _absolute(root, path) for name, path in paths.items() if path is not None})


def _absolute(folder: Path, path: Path) -> Path:
    return Path(os.path.normpath(folder / path.expanduser()))
