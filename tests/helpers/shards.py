"""Shards made by hand, and executors that others might bring."""

from collections.abc import Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from imageguard_daemon import __version__
from imageguard_daemon.batch.backfill.shards import Line, Reading, Shard, Terms
from imageguard_daemon.batch.judging import Rules
from imageguard_daemon.config import Scoring
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.quality.version import SCORER_VERSION

QUICK = Reading(at_a_time=4, timeout_seconds=5, attempts=2)


def terms(reading: Reading = QUICK, scorer_version: str = SCORER_VERSION, **scoring: object) -> Terms:
    """Give terms as of `general`, impatient ones."""
    rules = Rules("general", thresholds_for("general", None))
    return Terms(rules, Scoring(**({"timeout_seconds": 20} | scoring)), scorer_version, __version__, reading)


def shard(paths: Sequence[object], made_on: Terms | None = None) -> Shard:
    """Give a shard of paths, each of class `c`."""
    lines = (Line(row, str(path), str(path), str(path), "c") for row, path in enumerate(paths))
    return Shard(0, tuple(lines), made_on or terms())


def two_threads() -> Executor:
    """Give an executor, as a factory of a user's would."""
    return ThreadPoolExecutor(2)


def no_executor() -> str:
    """Give what is none."""
    return "nothing"


def failing() -> Executor:
    """Fail, as a factory that cannot reach its cluster would."""
    raise ConnectionError("no such cluster")
