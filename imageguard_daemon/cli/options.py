"""The arguments that several commands share, so that they mean the same everywhere, and what a Tab offers for them."""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imageguard_daemon.core.errors import NoInputError, UsageError
from imageguard_daemon.core.model import ISSUES, SCORE_NAMES, THRESHOLD_NAMES
from imageguard_daemon.core.names import printable

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings


def offer_presets(incomplete: str) -> list[str]:
    """Offer the presets."""
    from imageguard_daemon.quality.policy import PRESETS

    return _beginning_with(incomplete, PRESETS)


def offer_issues(incomplete: str) -> list[str]:
    """Offer what an image can be rejected for."""
    return _beginning_with(incomplete, ISSUES)


def offer_thresholds(incomplete: str) -> list[str]:
    """Offer `blur_score=` and its like: the value is the user's."""
    return _beginning_with(incomplete, (f"{name}=" for name in THRESHOLD_NAMES))


def offer_score_ranges(incomplete: str) -> list[str]:
    """Offer the scores that ranges can be of; `score` is the overall one."""
    return _beginning_with(incomplete, (f"{name}=" for name in (*SCORE_NAMES, "score")))


def offer_dimensions(incomplete: str) -> list[str]:
    """Offer what a report can be grouped by, and behind a comma what that can be crossed with."""
    from imageguard_daemon.audit.counts import Dimension

    first, comma, second = incomplete.partition(",")
    if comma:
        return _beginning_with(f"{first},{second}", (f"{first},{other}" for other in Dimension if other != first))
    return _beginning_with(incomplete, Dimension)


def _beginning_with(incomplete: str, names: Iterable[str]) -> list[str]:
    return [str(name) for name in names if name.startswith(incomplete)]


class OutputFormat(StrEnum):
    """How a listing is written to standard output."""

    table = "table"
    json = "json"
    csv = "csv"


# `readable=False`: what cannot be read is told by who reads it, with its own exit code, not as a wrong command line.
Root = Annotated[
    Path | None,
    typer.Argument(
        metavar="ROOT",
        readable=False,
        help="Folder with inbox, accepted, quarantine and audit.db "
        "(default: the current folder if it is one, otherwise ./ingest).",
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE", readable=False, help="Configuration file (YAML).", envvar="IMAGEGUARD_CONFIG"
    ),
]
Database = Annotated[
    Path | None,
    typer.Option("--db", metavar="FILE", readable=False, help="Read this audit database instead of the root's."),
]
DatabaseOrUrl = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="FILE|URL",
        help="Read this audit database instead of the root's: a file, or a fleet's as postgresql://reader@host/name.",
    ),
]
Format = Annotated[OutputFormat, typer.Option("--format", "-f", help="Form of the output.")]
FailOnReject = Annotated[bool, typer.Option("--fail-on-reject", help="Exit 1 when an image was rejected.")]
EX_REJECTED = 1
"""What `--fail-on-reject` gives: as of grep and diff, a finding and not a failure."""


def settings_for(
    root: Path | None, config_file: Path | None, *, touches_folders: bool = True, makes_root: bool = False
) -> "Settings":
    """Load the configuration a command was given; its mistakes end the command with exit code 78.

    A command that has nothing to do with the folders of the sources works while their mount hangs. Only one that makes
    the root goes on without it: a configuration can name the log of another root than the one that was mistyped.
    """
    from imageguard_daemon.config_file import load

    if root is not None and root.is_file():
        raise NoInputError(f"{root} is a file, not a folder; a configuration is named with --config")
    if root is not None and not makes_root and not root.is_dir():
        raise NoInputError(f"{printable(str(root))} does not exist; name the ROOT or --config FILE of a daemon")
    if root is None and config_file is None and _is_root(Path.cwd()):
        root = Path()
    return load(config_file, root, follow_links=touches_folders)


def _is_root(folder: Path) -> bool:
    """Tell whether a daemon has worked on this folder."""
    return (folder / "audit.db").is_file() and (folder / ".imageguard").is_dir()


def login_name() -> str:
    """Give the name of who typed the command, also behind sudo."""
    import pwd

    behind_sudo = os.environ.get("SUDO_USER")
    if behind_sudo and os.geteuid() == 0:
        return behind_sudo
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def parse_thresholds(assignments: list[str]) -> dict[str, float]:
    """Read what `--set NAME=VALUE` was given; whether there is such a threshold is not checked here."""
    thresholds = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        try:
            thresholds[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"--set {assignment}: expected NAME=NUMBER, e.g. blur_score=55") from None
    return thresholds


def with_groups(function: Callable[..., None]) -> Callable[..., None]:
    """Make a command of a function: each parameter that is a dataclass becomes the options that its fields are.

    Those parameters come first in the function and last in the help.
    """
    declared = inspect.signature(function).parameters
    kinds = {name: parameter.annotation for name, parameter in declared.items()}
    groups: dict[str, Any] = {name: kind for name, kind in kinds.items() if is_dataclass(kind)}

    @wraps(function)
    def command(**values: Any) -> None:
        given = {name: kind(**{f.name: values.pop(f.name) for f in fields(kind)}) for name, kind in groups.items()}
        function(**given, **values)

    own = [parameter for name, parameter in declared.items() if name not in groups]
    own += [option for kind in groups.values() for option in _options(kind)]
    own.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
    command.__signature__ = inspect.Signature(own)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in own}
    return command


def _options(kind: Any) -> Iterator[inspect.Parameter]:
    for field in fields(kind):
        yield inspect.Parameter(
            field.name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=field.default, annotation=field.type
        )
