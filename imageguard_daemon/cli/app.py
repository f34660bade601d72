"""The command line as a whole: which commands there are, and how their errors end."""

import io
import os
import signal
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import typer

from imageguard_daemon.cli import (
    alerts,
    audit,
    backfill,
    calibrate,
    config,
    daemon,
    export,
    fleet,
    quarantine,
    report,
    scan,
    simulate,
    web,
)
from imageguard_daemon.cli.help_format import CommandLine
from imageguard_daemon.cli.output import broken_installation, in_our_words
from imageguard_daemon.core.errors import NO_ROOM, ImageguardError

_LIBRARY_USAGE_ERROR = 2
_PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
_FROM_THE_KERNEL = 0x80
"""How siginfo(2) marks what a terminal sends, which the command gets itself."""
_KILLED = 128

app = CommandLine(
    name="imageguard-daemon",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watch a folder for new images of a dataset: accept the good ones, quarantine the rest, and record why. "
    "Start with `run`.",
)
app.command()(daemon.run)
app.command()(scan.check)
app.command()(scan.scan)
app.command()(export.export)
app.command()(report.report)
app.command()(simulate.simulate)
app.command()(simulate.rejudge)
app.command()(calibrate.calibrate)
app.command()(daemon.status)
app.command()(audit.verify)
app.command()(web.web)
app.add_typer(backfill.app, name="backfill")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(alerts.app, name="alerts")
app.add_typer(audit.app, name="audit")
app.add_typer(fleet.app, name="fleet")
app.add_typer(config.app, name="config")


def _show_version(wanted: bool) -> None:
    if wanted:
        from imageguard_daemon import __version__
        from imageguard_daemon.quality.version import SCORER_VERSION, loops_here

        typer.echo(f"imageguard-daemon {__version__} (scorer {SCORER_VERSION}, {loops_here()})")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Hold the options before the command."""


def _open_closed_streams() -> None:
    """Write to nowhere where whoever started us closed our streams, as some schedulers do.

    Their numbers must be taken: a database opened as number 2 would get what libraries print about images.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # the lowest free number is given out
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8", closefd=False)


def run_command_line() -> None:
    """Run the command in argv and exit with its code; docs/exit-codes.md lists them."""
    _open_closed_streams()
    step_in_front_if_first()
    _leave_a_folder_that_is_closed()
    sys.exit(_exit_code())


def _end_with(error: OSError) -> int:
    """Tell what the system refused to a command as a whole, and give the exit code."""
    if error.errno in NO_ROOM:
        typer.echo(f"error: cannot write: {error.strerror}", err=True)
        return os.EX_IOERR
    refusal = in_our_words(error)
    if refusal is None:
        traceback.print_exc()
        return os.EX_SOFTWARE
    typer.echo(f"error: {refusal}", err=True)
    return refusal.exit_code


def _leave_a_folder_that_is_closed() -> None:
    """Processes that are started go where this one is, and end where they may not: `sudo` keeps the caller's folder."""
    try:
        os.chdir(os.getcwd())
    except OSError:
        os.chdir("/")


def _exit_code() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character is not a reason to fail
    try:
        app()
    except SystemExit as end:
        # The library's code for a wrong command line is 2; ours is that of sysexits.h.
        return os.EX_USAGE if end.code == _LIBRARY_USAGE_ERROR else int(end.code or 0)
    except ImageguardError as error:
        typer.echo(f"error: {error}", err=True)
        return error.exit_code
    except BrokenPipeError:  # the reader, `head` perhaps, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        return _end_with(error)
    except Exception as error:  # noqa: BLE001 - a mistake of ours: told in full, with a code of its own
        if broken := broken_installation(error):
            typer.echo(f"error: {broken}", err=True)
            return broken.exit_code
        traceback.print_exc()
        return os.EX_SOFTWARE
    return os.EX_OK


# --- as the first process of a container


def step_in_front_if_first() -> None:
    """Return in a process of its own, where this one is the first of all, as in a container; elsewhere just return.

    A worker that is killed leaves its decoder to process 1. The daemon waits only for processes it started itself.
    """
    if os.getpid() == 1:
        stand_in_front()


def stand_in_front() -> None:
    """Return in a new process; the old one waits for it, passes signals on, and ends as it ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON | {signal.SIGCHLD})
    command = os.fork()
    if command:
        _wait_for(command)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for(command: int) -> NoReturn:
    while True:
        heard = signal.sigwaitinfo(_PASSED_ON | {signal.SIGCHLD})
        if heard.si_signo == signal.SIGCHLD:
            _reap(command)
        elif heard.si_code != _FROM_THE_KERNEL:
            with suppress(ProcessLookupError):
                os.kill(command, heard.si_signo)


def _reap(command: int) -> None:
    """Take the end of all that have ended; end when the command has."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else _KILLED - code)
        if not pid:
            return
