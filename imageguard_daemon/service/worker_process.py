"""What runs inside a worker process. Imports nothing of the daemon but the measuring."""

import ctypes
import os
import resource
import signal
import sys

from imageguard_daemon.model import Measurement
from imageguard_daemon.quality import measurement
from imageguard_daemon.quality.decoding import Limits

_PR_SET_PDEATHSIG = 1


def begin(memory_bytes: int) -> None:
    """Prepare a fresh worker: bounded, deaf to the terminal's Ctrl-C, and gone when the daemon is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    _silence_libraries()
    measurement.prepare_worker()


def _silence_libraries() -> None:
    """Keep what C libraries print about broken images out of the log; Python keeps its own way to standard error."""
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


def measure(path: str, limits: Limits) -> Measurement:
    """Measure one file."""
    return measurement.measure_file(path, limits)


def fingerprint(path: str) -> Measurement:
    """Give identity and SHA-256 of a file that must not be decoded again."""
    return measurement.measure_file(path, Limits(max_bytes=0))
