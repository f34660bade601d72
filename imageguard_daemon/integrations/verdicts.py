"""Verdicts on a list of files, each judged once: known ones from a cache or an audit log, the others measured now."""

import math
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from pydantic import ValidationError

from imageguard_daemon.audit.file_index import RecordedMeasurements
from imageguard_daemon.audit.measurement_cache import MeasuredFiles
from imageguard_daemon.batch.measuring import Measuring, Unread, cache_folder, version_of
from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import ImageguardError, NoInputError, UnavailableError
from imageguard_daemon.core.files import FileLock
from imageguard_daemon.core.model import FileIdentity, Measurement, PresetName, Thresholds
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.regular_files import regular_file
from imageguard_daemon.quality.policy import decide_on_file, thresholds_for
from imageguard_daemon.quality.readout import Readout, readout_of, scorer_by

Path_ = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Judging:
    """How files are judged, and where it is remembered.

    `cache` is a file of measurements (in the user's cache folder when None), `audit` an audit log whose measurements
    are used before any new is taken; `workers` of 0 means one for each processor; `readout` is a file that
    `python -m training` has written, by which images are measured in place of the package's own.
    """

    preset: PresetName = "general"
    thresholds: Thresholds = field(default_factory=Thresholds)
    cache: Path_ | None = None
    audit: Path_ | None = None
    workers: int = 0
    readout: Path_ | None = None


class JudgingOptions(TypedDict, total=False):
    """The same as keyword arguments."""

    preset: PresetName
    thresholds: Thresholds
    cache: Path_ | None
    audit: Path_ | None
    workers: int
    readout: Path_ | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The overall score of a file, 0 to 1, and what is wrong with it; `is_readable` when it could be measured.

    `identity` is the state of the file that was judged.
    """

    score: float
    reason: str
    detail: str
    is_readable: bool
    identity: FileIdentity | None = None


def verdicts_on(paths: Sequence[str], judging: Judging) -> list[Verdict]:
    """Judge files, in their order; links are followed. Measuring happens in processes that a hostile file cannot leave.

    Several processes may do this at once, as the ranks of a training do: one measures, the others wait for it.

    Raises:
        OSError: the readout cannot be read.
        ValueError: an unknown preset or threshold, or a readout that is none.
        UnavailableError: the cache, the audit log or the workers do not work.
    """
    thresholds = thresholds_for(judging.preset, judging.thresholds)
    real = [os.path.realpath(path) for path in paths]
    measurements, troubles = _measurements(real, judging)
    verdicts = []
    for path, place in zip(paths, real, strict=True):
        measurement = measurements.get(place)
        if measurement is None:
            reason, detail = troubles.get(place, ("unreadable", "it could not be read"))
            verdicts.append(Verdict(0.0, reason, detail, is_readable=False))
            continue
        decision = decide_on_file(path, measurement, judging.preset, thresholds)
        is_readable = measurement.measures is not None
        verdicts.append(Verdict(decision.score, decision.reason, decision.detail, is_readable, measurement.identity))
    return verdicts


Troubles = dict[str, tuple[str, str]]
_CALLER_OF_DATASET = 8
"""How far up the stack the line is that makes a dataset, of which a warning is."""
_HASHED_BYTES = Scoring().max_megabytes << 20
"""Larger files are not images, and not worth looking up by their content."""


def _measurements(paths: Sequence[str], judging: Judging) -> tuple[dict[str, Measurement], Troubles]:
    own = None if judging.readout is None else readout_of(os.fsdecode(judging.readout))
    readout = None if judging.readout is None else Path(os.fsdecode(judging.readout)).absolute()
    scoring, scorer_version = _scoring(judging.workers, readout), scorer_by(own)
    version = version_of(scoring, scorer_version)
    with ExitStack() as stack:
        cache = stack.enter_context(_cache_for(judging, f"-{own.digest}" if own else ""))
        # Whoever waits finds everything measured; on a file system without locks they measure twice, no more.
        stack.enter_context(FileLock(f"{cache}.lock", is_required=False)).acquire(math.inf)
        store = MeasuredFiles(cache, version)
        stack.callback(store.close)
        log = None
        if judging.audit is not None:
            log = _log_at(Path(judging.audit), scorer_version)
            stack.callback(log.close)
        measurements = _known(paths, store, log)
        unknown = [path for path in dict.fromkeys(paths) if path not in measurements]
        store.commit()
        if not unknown:
            return measurements, {}
        troubles = _measure(unknown, store, scoring, own)
        return {**measurements, **_known(unknown, store, None)}, troubles


def _scoring(workers: int, readout: Path | None) -> Scoring:
    try:
        return Scoring(workers=workers, readout=readout)
    except ValidationError as error:
        raise ValueError(f"workers: {error.errors()[0]['msg']}, not {workers!r}") from error


def _log_at(database: Path, scorer_version: str) -> RecordedMeasurements:
    try:
        return RecordedMeasurements(database, scorer_version)
    except NoInputError as error:  # whose words are for the command line
        raise UnavailableError(f"audit: there is no log that can be read at {printable(str(database))}") from error


def _known(paths: Sequence[str], store: MeasuredFiles, log: RecordedMeasurements | None) -> dict[str, Measurement]:
    measurements = {}
    for path in paths:
        with suppress(OSError):
            measurement = _known_of(path, store, log)
            if measurement is not None:
                measurements[path] = measurement
    return measurements


def _known_of(path: str, store: MeasuredFiles, log: RecordedMeasurements | None) -> Measurement | None:
    """Look a file up in the cache, then in the log: by path and state, which costs no reading, or else by content."""
    identity = FileIdentity.from_stat(os.stat(path))
    measurement = store.find(identity)
    if measurement is not None or log is None:
        return measurement
    measurement = log.find(path, identity)
    if measurement is None and identity.size_bytes <= _HASHED_BYTES:
        with regular_file(path) as file:
            measurement = log.find_content(file.sha256(), identity)
    if measurement is not None:
        store.add(measurement)
    return measurement


def _measure(paths: Sequence[str], store: MeasuredFiles, scoring: Scoring, readout: Readout | None) -> Troubles:
    """Measure files into the cache, by the readout that was read at first; gives those that could not be measured."""
    troubles: Troubles = {}

    class Unreadable(Unread):
        """Takes down each file that cannot be read, in place of counting it."""

        def add(self, path: str, why: str) -> None:
            troubles[path] = ("unreadable", why)

    def note(path: str, measurement: Measurement) -> None:
        if measurement.issue == "unsupported":
            troubles[path] = ("unsupported", measurement.detail)

    try:
        Measuring(store, scoring, readout, Unreadable()).run(paths, note)
    except ImageguardError as error:
        raise UnavailableError(f"the images could not be judged: {error}") from error
    finally:
        store.commit()
    return troubles


@contextmanager
def _cache_for(judging: Judging, mark: str) -> Iterator[Path]:
    """Give the file that measurements are kept in, by `mark` one for each readout, unless the caller names it.

    Where none can be written, there is one for this time alone.
    """
    wanted = Path(judging.cache) if judging.cache is not None else cache_folder() / f"datasets{mark}.state"
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        for path in (f"{wanted}.lock", wanted):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
    except OSError as error:
        why = (
            f"measurements cannot be kept in {printable(str(wanted))} ({error.strerror}): files are measured each time"
        )
        warnings.warn(why, RuntimeWarning, stacklevel=_CALLER_OF_DATASET)
        with tempfile.TemporaryDirectory(prefix="imageguard-") as folder:
            yield Path(folder, "datasets.state")
    else:
        yield wanted
