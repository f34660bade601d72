"""`python -m tests.helpers.poisoned run ...`: the daemon, with decoders that a file can take over.

A file that ends with one of `POISONS` does to its decoder, from inside and confined, what a hole in a library would let
it do. Its workers are this module, too.
"""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable

from imageguard_daemon.__main__ import main
from imageguard_daemon.core.model import Limits, Measurement
from imageguard_daemon.quality.measurement import measure_bytes
from imageguard_daemon.sandbox import decoder, processes, worker_process
from imageguard_daemon.sandbox.decoder import Decoder
from imageguard_daemon.sandbox.tasks.measure import measuring

_SOCKET = 3


def crash() -> None:
    """Read where there is nothing, as a decoder with a hole does."""
    ctypes.string_at(0)


def hang() -> None:
    """Wait for ever."""
    while True:
        time.sleep(60)


def spin() -> None:
    """Compute for ever."""
    while True:
        pass


def leave() -> None:
    """End without a word."""
    os._exit(3)


def rave() -> None:
    """Answer what is no measurement, with control bytes and a forged path in it, then go on as if nothing was."""
    os.write(_SOCKET, json.dumps({"notes": "\x1b[2J\nforged", "issue": "../../etc", "measures": [1e999]}).encode())


POISONS: dict[bytes, Callable[[], None]] = {
    f"poison:{act.__name__}".encode(): act for act in (crash, hang, spin, leave, rave)
}


def _work(data: bytes, limits: Limits) -> Measurement:
    act = next((act for poison, act in POISONS.items() if data.endswith(poison)), None)
    if act is not None:
        act()
    return measure_bytes(data, limits)


def _poisoned(memory_bytes: int, _task: object) -> Decoder[Measurement]:
    return Decoder(memory_bytes, measuring(_work))


MODULE = "tests.helpers.poisoned"

if __name__ == "__main__":  # only here: who imports `POISONS` has workers of its own, which must stay what they are
    decoder._STARVED_SHARE = 0.0  # what spins is told from what gets no processor, however busy the machine is
    worker_process.Decoder = _poisoned  # type: ignore[misc, assignment]
    processes.WORKER_MODULE = MODULE
    if all(argument.isdigit() for argument in sys.argv[1:]):
        worker_process.main()
    else:
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        main()
