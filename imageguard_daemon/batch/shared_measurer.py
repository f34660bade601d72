"""A process that measures files into a store.

    python -m imageguard_daemon.batch.shared_measurer STORE WORKERS VERSION [READOUT]

VERSION is what the caller takes the store's to be: a readout that was replaced meanwhile has another. Paths come on
standard input, each ended by a NUL. What could not be kept in the store is told on standard output, a
JSON object a line; the last one may be the error that ended all. A process of its own, because worker processes begin
by importing the main module of whoever starts them: a training script or a notebook must not be run again by that.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from imageguard_daemon.audit.measurement_cache import MeasuredFiles
from imageguard_daemon.batch.measuring import Measuring, Unread, version_of
from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import ImageguardError, UnavailableError
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.core.names import printable
from imageguard_daemon.quality.readout import Readout, readout_of, scorer_by

_BLOCK = 1 << 16


def main(arguments: Sequence[str]) -> int:
    """Measure what comes in, and give an exit code; an error of ours is told to who asked."""
    try:
        return measure(arguments)
    except ImageguardError as error:
        _tell_line({"error": str(error)})
        return error.exit_code


def measure(arguments: Sequence[str]) -> int:
    """Measure what comes in; Ctrl-C ends it, and what was measured is kept.

    Raises:
        UnavailableError: the readout was replaced meanwhile, or the store or the workers do not work.
    """
    path, workers, version, *readout = arguments
    scoring = Scoring(workers=int(workers), readout=Path(readout[0]) if readout else None)
    own = _readout(readout[0]) if readout else None
    if version_of(scoring, scorer_by(own)) != version:
        raise UnavailableError(f"{printable(str(scoring.readout))} was replaced meanwhile; begin again")
    store = MeasuredFiles(Path(path), version)
    measuring = Measuring(store, scoring, own, _Told())

    def tell(path: str, measurement: Measurement) -> None:
        if measurement.issue == "unsupported":
            _tell(path, "unsupported", measurement.detail)

    try:
        measuring.run(_paths(sys.stdin.buffer), tell)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        store.close()
    return os.EX_OK


def _readout(path: str) -> Readout:
    try:
        return readout_of(path)
    except (OSError, ValueError) as error:
        raise UnavailableError(f"the readout was replaced meanwhile: {printable(str(error))}") from error


class _Told(Unread):
    """Tells each file that cannot be read, in place of keeping it."""

    def add(self, path: str, why: str) -> None:
        _tell(path, "unreadable", why)


def _tell(path: str, reason: str, why: str) -> None:
    _tell_line({"path": path, "reason": reason, "detail": why})


def _tell_line(told: dict[str, str]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(f"{json.dumps(told)}\n")


def _paths(stream: BinaryIO) -> Iterator[str]:
    rest = b""
    while block := stream.read1(_BLOCK):  # type: ignore[attr-defined]
        *whole, rest = (rest + block).split(b"\0")
        yield from map(os.fsdecode, whole)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
