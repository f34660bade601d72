"""`imageguard-daemon web`: the log and its quarantine as pages."""

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.options import ConfigFile, DatabaseOrUrl, Root, settings_for
from imageguard_daemon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings

_TOKEN_FILE = "web-token.sha256"  # noqa: S105 - the name of a file
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
Host = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Address to listen on; another than loopback needs a token.")
]
Port = Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", show_default=False, help="A name by which browsers reach this server; repeatable."),
]
NewToken = Annotated[bool, typer.Option("--new-token", help="Make a token, show it once, keep its hash, and end.")]


def web(  # noqa: PLR0913, PLR0917 - one parameter for each option
    root: Root = None,
    config_file: ConfigFile = None,
    database: DatabaseOrUrl = None,
    host: Host = "127.0.0.1",
    port: Port = 8765,
    allow_host: AllowHost = None,
    new_token: NewToken = False,
) -> None:
    """Show the log in a browser: overview, quarantine, single decisions, a checker, thresholds; and an API.

    On loopback everybody on this machine may look and act. On other addresses a token is needed, made by --new-token.
    It runs beside the daemon or without one; stop it with Ctrl-C.
    """
    settings = settings_for(root, config_file)
    if new_token:
        _make_token(settings)
        return
    token_sha256 = "" if host in _LOOPBACK else _token_of(settings)
    try:
        _serve(settings, database, (host, port), token_sha256, allow_host or [])
    except ModuleNotFoundError as error:
        if error.name not in {"fastapi", "uvicorn", "multipart", "python_multipart", "starlette"}:
            raise
        raise UnavailableError("pages need more packages: pip install 'imageguard-daemon[web]'") from error


def _serve(
    settings: "Settings", database: str | None, address: tuple[str, int], token_sha256: str, names: list[str]
) -> None:
    import uvicorn

    from imageguard_daemon.audit.database import open_for_reviewing
    from imageguard_daemon.cli.reviewing import login_name
    from imageguard_daemon.web.app import make_app
    from imageguard_daemon.web.site import Access, Site

    path = database or settings.audit.database
    open_for_reviewing(path).dispose()
    hosts = frozenset({*_LOOPBACK, address[0], *(name.lower().strip("[]") for name in names)})
    site = Site(settings, path, login_name(), Access(hosts, token_sha256), may_act=database is None)
    if token_sha256:
        typer.echo(
            "warning: without TLS token and images can be read on the way; put a proxy with TLS in front", err=True
        )
    where = f"[{address[0]}]" if ":" in address[0] else address[0]
    typer.echo(f"http://{where}:{address[1]}/  (Ctrl-C stops)", err=True)
    uvicorn.run(
        make_app(site),
        host=address[0],
        port=address[1],
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=100,
        timeout_graceful_shutdown=5,
        proxy_headers=False,
    )


def _make_token(settings: "Settings") -> None:
    """Show a token of 256 random bits; of so much chance a plain hash gives nothing away."""
    import hashlib
    import secrets

    token = secrets.token_urlsafe(32)
    settings.state_folder.mkdir(parents=True, exist_ok=True)
    path = settings.state_folder / _TOKEN_FILE
    with suppress(FileNotFoundError):
        path.unlink()
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as file:
        file.write(hashlib.sha256(token.encode()).hexdigest())
    typer.echo(token)


def _token_of(settings: "Settings") -> str:
    try:
        found = (settings.state_folder / _TOKEN_FILE).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        found = ""
    if len(found) != 64:
        raise UsageError("on another address than loopback a token is needed: make one with `web --new-token`")
    return found
