"""What one shard comes to: the function that runs on executors, here or on other machines."""

import atexit
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

from imageguard_daemon import __version__
from imageguard_daemon.batch.backfill.shards import Line, Row, Shard, Terms
from imageguard_daemon.batch.backfill.store import Read, measure_at, read_all
from imageguard_daemon.batch.judging import COLUMNS, judge, row_of, why_unread, with_names
from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import FatalError, ImageguardError, StalledError, UnavailableError
from imageguard_daemon.core.model import Limits, Measurement
from imageguard_daemon.core.names import printable
from imageguard_daemon.sandbox.client import BytesMeasurer

_MEGABYTE = 1 << 20


def score_shard(shard: Shard) -> list[Row]:
    """Give a row for each line of a shard, in its order, with the columns of `RESULT_COLUMNS`.

    Depends on nothing but the shard and the bytes of the images, writes nothing, and may run in any thread or process
    and as often as need be. Each image is decoded in a confined process: one that crashes or hangs its decoder
    costs nobody else. What cannot be read has an `error` and no verdict. A path that stands in the
    shard several times is read once. No thread or process of it is left when it returns, but for reads that hang.

    Raises:
        UnavailableError: this worker has another version of the package or another readout, cannot start processes,
            or lacks what the store needs.
        NoInputError, PermissionDeniedError, ConfigError: it has no such readout.
        StalledError: none of the images could be read, and the reason may pass.
    """
    measurer = BytesMeasurer(shard.terms.scoring)
    try:
        return _rows(shard, measurer)
    finally:
        measurer.close()


def score_in_worker(shard: Shard) -> list[Row]:
    """Do the same in a worker that gets shard after shard: the process that measures stays for the next one."""
    with _measurer(shard.terms) as measurer:
        return _rows(shard, measurer)


def _rows(shard: Shard, measurer: BytesMeasurer) -> list[Row]:
    _require_same_version(shard.terms, measurer.scorer_version)
    paths = list(dict.fromkeys(line.address for line in shard.lines))
    outcomes = dict(zip(paths, _measured(paths, shard.terms, measurer), strict=True))
    _require_some(list(outcomes.values()))
    return [_row(line, outcomes[line.address], shard.terms) for line in shard.lines]


def _require_same_version(terms: Terms, scorer_version: str) -> None:
    here, there = (__version__, scorer_version), (terms.package_version, terms.scorer_version)
    if here != there:
        raise UnavailableError(describe_versions("a worker", here, there, terms.scoring.readout))


def describe_versions(who: str, here: tuple[str, str], there: tuple[str, str], readout: Path | None) -> str:
    """Say how a worker differs from the command: by the versions of package and scorer, or by its readout's file."""
    # Behind a + is the readout's hash: where all before it is equal, only the file differs.
    package, scorer = here[0], here[1].partition("+")[0]
    is_readout = (package, scorer) == (there[0], there[1].partition("+")[0])
    what = f"have the same {printable(str(readout))} on both" if is_readout else "install the same version on both"
    return (
        f"{who} has imageguard-daemon {here[0]} with scorer {here[1]}, and this command {there[0]} with scorer "
        f"{there[1]}: {what}"
    )


def _measured(paths: Sequence[str], terms: Terms, measurer: BytesMeasurer) -> "list[Measurement | BaseException]":
    scoring = terms.scoring
    limits = Limits(max_pixels=scoring.max_pixels, max_bytes=scoring.max_megabytes * _MEGABYTE)

    def measure(data: bytes) -> Measurement:
        return replace(measurer.measure(data), sha256=hashlib.sha256(data).hexdigest())

    def read(image: Read[Measurement]) -> Measurement:
        return measure_at(image, limits, terms.reading, measure)

    return read_all(paths, terms.reading, read)


def _require_some(outcomes: "Sequence[Measurement | BaseException]") -> None:
    """Raise what concerns more than one image: a worker that cannot work, a store that is gone."""
    for outcome in outcomes:
        if isinstance(outcome, FatalError) or not isinstance(outcome, Measurement | OSError | ImageguardError):
            raise outcome
    if all(isinstance(outcome, StalledError) for outcome in outcomes):
        raise StalledError(f"none of {len(outcomes):,} images could be read; the first: {outcomes[0]}")


def _row(line: Line, outcome: "Measurement | BaseException", terms: Terms) -> Row:
    if isinstance(outcome, Measurement):
        image = replace(judge(line.path, line.relative_path, outcome, terms.rules), class_name=line.class_name)
        return {**row_of(image), "row": line.row, "error": None}
    named = {"path": line.path, "relative_path": line.relative_path, "class": line.class_name}
    empty: Row = dict.fromkeys(COLUMNS)
    return {**with_names({**empty, **named}), "row": line.row, "error": why_unread(outcome)}


@contextmanager
def _measurer(terms: Terms) -> Iterator[BytesMeasurer]:
    """Lend a process that measures; it stays for the next shard, as starting one takes a second."""
    idle = _idle_for(os.getpid(), terms.scoring, terms.scorer_version)
    try:
        measurer = idle.pop()
    except IndexError:
        measurer = BytesMeasurer(terms.scoring)
    try:
        yield measurer
    except BaseException:
        measurer.close()  # nobody knows what it is at
        raise
    idle.append(measurer)


@cache
def _idle_for(_process: int, _scoring: Scoring, _scorer_version: str) -> list[BytesMeasurer]:
    """Give the idle ones: not those of a process this one was forked from, nor those with other limits or readouts."""
    idle: list[BytesMeasurer] = []
    atexit.register(_close_all, os.getpid(), idle)
    return idle


def _close_all(process: int, idle: list[BytesMeasurer]) -> None:
    if process == os.getpid():
        for measurer in idle:
            measurer.close()
