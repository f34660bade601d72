"""As a container's first process, stay in front of the command: pass signals on, and reap what others leave behind.

A worker that is killed leaves its decoder to process 1. The daemon waits only for processes that it started itself.
"""

import os
import signal
from contextlib import suppress
from typing import NoReturn

_PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
_FROM_THE_KERNEL = 0x80
"""How siginfo(2) marks what a terminal sends, which the command gets itself."""
_KILLED = 128


def step_in_front_if_first() -> None:
    """Return in a process of its own, where this one is the first of all; elsewhere just return."""
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
