"""`imageguard-daemon web`: the log and its quarantine as pages."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from imageguard_daemon.cli.options import ConfigFile, DatabaseOrUrl, Root, login_name, settings_for
from imageguard_daemon.core.errors import NoInputError, UnavailableError, UsageError

if TYPE_CHECKING:
    from imageguard_daemon.config import Settings
    from imageguard_daemon.web.site import Access

_EXTRA = {"fastapi", "uvicorn", "multipart", "python_multipart", "starlette"}
Host = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address to listen on (default: that of the configuration, 127.0.0.1); others than loopback need a token.",
    ),
]
Port = Annotated[int | None, typer.Option(min=1, max=65_535, help="Port (default: that of the configuration, 8765).")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="A name by which browsers reach this server, through a proxy for instance; repeatable. Needs a token.",
    ),
]
NewToken = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Make a token for this person, show it once, keep its hash, and exit. An earlier one of the same name, "
        "and all its sessions, stop working.",
    ),
]
DropToken = Annotated[str | None, typer.Option(metavar="NAME", help="Revoke this person's token, and exit.")]
Check = Annotated[
    bool, typer.Option("--check", help="Serve only the page that checks uploads; needs no log, and shows none.")
]
WithProcess = Annotated[int, typer.Option(hidden=True)]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where to listen, and by which further names browsers may ask for it."""

    host: str
    port: int
    names: tuple[str, ...]

    @property
    def is_private(self) -> bool:
        """Whether only this machine reaches it, and no proxy passes others on."""
        from imageguard_daemon.web.site import LOOPBACK

        return self.host in LOOPBACK and set(self.names) <= LOOPBACK


def web(  # noqa: PLR0913, PLR0917 - one parameter for each option
    root: Root = None,
    config_file: ConfigFile = None,
    database: DatabaseOrUrl = None,
    host: Host = None,
    port: Port = None,
    allow_host: AllowHost = None,
    new_token: NewToken = None,
    drop_token: DropToken = None,
    check: Check = False,
    with_process: WithProcess = 0,
) -> None:
    """Serve the log to browsers: overview, review of images, thresholds, a page that checks uploads, and an API.

    On loopback everybody on this machine can view and act. Other addresses need a token, made with --new-token.
    It runs beside the daemon or without one; stop it with Ctrl-C. `web: {enabled: true}` has `run` start it.
    """
    settings = settings_for(root, config_file)
    if new_token is not None or drop_token is not None:
        _change_tokens(settings, new_token, drop_token)
        return
    names = tuple(name.lower().strip("[]") for name in allow_host or settings.web.allow_hosts)
    place = _Place(host or settings.web.host, port or settings.web.port, names)
    if check and database is not None:
        raise UsageError("--check shows no log; leave out --db")
    try:
        _serve_checker(settings, place) if check else _serve(settings, database, place, with_process)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise UnavailableError("pages need more packages: pip install 'imageguard-daemon[web]'") from error


def _serve(settings: "Settings", database: str | None, place: _Place, with_process: int) -> None:
    from imageguard_daemon.audit.opening import open_log
    from imageguard_daemon.core.locks import require_own
    from imageguard_daemon.web import server
    from imageguard_daemon.web.site import Site

    if with_process:
        server.follow(with_process)
    if database is None:
        require_own(settings.state_folder, settings.root)
    path = database or settings.audit.database
    open_log(path, complete=True).close()
    site = Site(settings, path, login_name(), _access(settings, place), may_act=database is None)
    listening = server.listen(place.host, place.port)
    if not with_process:
        _tell(place)
    server.serve(site, listening)


def _serve_checker(settings: "Settings", place: _Place) -> None:
    """Serve uploads alone; of the settings only limits and tokens count."""
    from imageguard_daemon.web import server
    from imageguard_daemon.web.site import Site

    access = _access(settings, place)
    site = Site(settings, settings.audit.database, login_name(), access, may_act=False, has_log=False)
    listening = server.listen(place.host, place.port)
    _tell(place)
    server.serve(site, listening)


def _tell(place: _Place) -> None:
    where = f"[{place.host}]" if ":" in place.host else place.host
    typer.echo(f"http://{where}:{place.port}/  (Ctrl-C stops)", err=True)


def _access(settings: "Settings", place: _Place) -> "Access":
    from imageguard_daemon.web.site import LOOPBACK, Access
    from imageguard_daemon.web.tokens import TOKEN_FILE, Tokens

    if place.is_private and not settings.web.trusted_proxies:
        return Access(LOOPBACK | {place.host})
    tokens = Tokens(settings.state_folder / TOKEN_FILE)
    if not tokens.holders():
        raise UsageError("for others than this machine a token is needed: make one with `web --new-token NAME`")
    if place.host not in LOOPBACK:
        typer.echo(
            "warning: without TLS token and images can be read on the way; put a proxy with TLS in front", err=True
        )
    return Access(frozenset({*LOOPBACK, place.host, *place.names}), tokens)


def _change_tokens(settings: "Settings", new: str | None, drop: str | None) -> None:
    from imageguard_daemon.core.locks import require_own
    from imageguard_daemon.web import tokens

    require_own(settings.state_folder, settings.root)
    if not settings.root.is_dir():
        raise NoInputError(f"{settings.root} does not exist; name the ROOT of a daemon, or make it first")
    path = settings.state_folder / tokens.TOKEN_FILE
    if new is not None:
        if not new.strip() or not new.isprintable() or len(new) > 100:
            raise UsageError("the name of a token's holder is a line of 1 to 100 characters")
        typer.echo(tokens.add(path, " ".join(new.split())))
    elif not tokens.remove(path, " ".join((drop or "").split())):
        raise UsageError(f"nobody called {drop!r} has a token")
