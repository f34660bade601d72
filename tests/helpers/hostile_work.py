"""What a worker process may be made to do by an image; importable there."""

import os
import signal
import time

from imageguard_daemon.model import Measurement
from imageguard_daemon.service import worker_process


def crash(_path: str, _limits: object, _slot: int) -> Measurement:
    """Die as a decoder with a memory error does."""
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError("dead")


def hang(_path: str, _limits: object, _slot: int) -> Measurement:
    """Never finish."""
    while True:
        time.sleep(1)


def hang_reading(_path: str, _limits: object, slot: int) -> Measurement:
    """Never come back from the disk."""
    worker_process._board.begin_reading(slot)
    while True:
        time.sleep(1)


def be_killed(_path: str, _limits: object, _slot: int) -> Measurement:
    """End as by the kernel when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("dead")


def crash_once(path: str, _limits: object, _slot: int) -> Measurement:
    """Die the first time, answer the second."""
    if not os.path.exists(f"{path}.tried"):
        open(f"{path}.tried", "w").close()
        os.kill(os.getpid(), signal.SIGSEGV)
    return Measurement("0" * 64, issue="unsupported", detail="second attempt")
