"""A back-fill from its manifest to its results: what is there is kept, what is missing is made."""

import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import structlog
from rich.console import Console

from imageguard_daemon.batch.backfill.dispatch import Driver
from imageguard_daemon.batch.backfill.executors import Fleet, open_fleet
from imageguard_daemon.batch.backfill.manifest import Manifest
from imageguard_daemon.batch.backfill.progress import BackfillProgress
from imageguard_daemon.batch.backfill.results import Results
from imageguard_daemon.batch.backfill.rules.description import FAILED_SHOWN, Plan, Standing, described, require_same
from imageguard_daemon.batch.backfill.rules.schedule import Schedule
from imageguard_daemon.batch.backfill.shard_file import DamagedShardError, Facts, Made, read_facts, read_rows
from imageguard_daemon.batch.backfill.shards import Line, Shard, Task, digest_of
from imageguard_daemon.batch.interrupts import InterruptedRunError, Interrupts
from imageguard_daemon.batch.scan_summary import Totals
from imageguard_daemon.core.errors import DataError, NoInputError, UnavailableError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import seconds_timestamp

_DESCRIBE_SECONDS = 60.0
_EXAMPLES = 20
_NONE_READ_ROWS = 2_000
_FAILED_IN_A_ROW = 5
_LOOKS_AT_A_TIME = 16
_LOOKS_AHEAD = 32
"""How many results in a store are looked at side by side: each takes its time, and there may be a hundred thousand."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """A manifest, where results go, and where shards run. `attempts` is how often one may fail."""

    plan: Plan
    out: str
    executor: str = "process"
    dask: str = ""
    workers: int = 0
    attempts: int = 3
    linger_seconds: float = 120.0
    refresh: bool = False


@dataclass(slots=True)
class BackfillResult:
    """What has come of it by now; `failed` says of shards that were given up why."""

    totals: Totals = field(default_factory=Totals)
    standing: Standing = field(default_factory=Standing)
    unread: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    code: set[str] = field(default_factory=set)
    """Which code took the features: workers may differ in that."""
    is_complete: bool = False
    exit_code: int = 0

    def add(self, facts: Facts, *, is_known: int) -> None:
        """Count a shard's result; `is_known` of its rows an earlier run had made."""
        self.totals.merge(facts.totals)
        self.unread.update(facts.unread)
        room = _EXAMPLES - len(self.examples)
        self.examples += [(path, why) for path, why in facts.examples[:room]]
        self.code.update(filter(None, [facts.code]))  # results of earlier versions have none
        self.standing.done += facts.rows
        self.standing.known += is_known
        self.standing.rejected = self.totals.rejected
        self.standing.unread += facts.unread_rows


def run(request: BackfillRequest, console: Console) -> BackfillResult:
    """Make all results that are missing; an interruption gives what there is by then.

    Raises:
        FatalError: the manifest, the results, the executor or the images' store do not work, or do not fit together.
    """
    manifest = Manifest(request.plan.manifest)
    results = Results(request.out)
    result = BackfillResult()
    with ExitStack() as stack:
        stack.enter_context(results.held())
        _require_fitting(results, request)
        fleet = _fleet_for(request)
        stack.callback(fleet.close)
        backfill = _Backfill(request, manifest, results, result)
        try:
            with Interrupts() as interrupts, BackfillProgress(console, manifest) as progress:
                backfill.run(fleet, interrupts, progress)
        except InterruptedRunError as end:
            result.exit_code = end.exit_code
        finally:
            backfill.describe()
    return result


def _fleet_for(request: BackfillRequest) -> Fleet:
    if not request.dask:
        return open_fleet(request.executor, request.workers)
    from imageguard_daemon.batch.backfill.dask_fleet import DaskFleet  # noqa: PLC0415 - an extra, a second to load

    return DaskFleet(request.dask, request.plan.terms)


def _require_fitting(results: Results, request: BackfillRequest) -> None:
    before = results.description()
    if before is None and not results.is_empty():
        raise DataError(
            f"{printable(request.out)} has other files and no back-fill; name a folder of its own with --out"
        )
    if before is not None and not request.refresh:
        require_same(before, request.plan)


class _Backfill:
    """One run over all shards of the manifest."""

    def __init__(self, request: BackfillRequest, manifest: Manifest, results: Results, result: BackfillResult) -> None:
        self._request = request
        self._manifest = manifest
        self._results = results
        self._result = result
        self._mark = request.plan.mark
        self._before: dict[int, Facts] = {}
        self._failed_in_a_row = 0
        self._shards = 0
        self._out = 0
        self._described_at = 0.0
        self._progress: BackfillProgress | None = None

    def run(self, fleet: Fleet, interrupts: Interrupts, progress: BackfillProgress) -> None:
        """Work until nothing is missing, or no more of it can be done."""
        request = self._request
        self._progress = progress
        self.describe()
        schedule = Schedule(self._tasks(), attempts=request.attempts, linger_seconds=request.linger_seconds)
        Driver(fleet, schedule, self._take, self._give_up).run(interrupts.check, self._tick)
        self._result.is_complete = not (self._result.failed or self._result.standing.unread)

    def describe(self) -> None:
        """Write down how far it is."""
        result = self._result
        failed = dict(list(result.failed.items())[:FAILED_SHOWN])
        progress: dict[str, Any] = {
            "updated_at": seconds_timestamp(),
            "is_complete": result.is_complete,
            "rows_of_manifest": result.standing.done if result.is_complete else self._manifest.rows,
            "failed": {str(number): why for number, why in failed.items()},
            "unread": dict(result.unread.most_common(20)),
            "code": sorted(result.code),
        }
        self._results.describe(described(self._request.plan, result.standing, progress))
        self._described_at = time.monotonic()

    # --- what is to be done

    def _tasks(self) -> Iterator[Task]:
        for number, lines, found in self._looked_at():
            self._shards = number + 1
            task = self._task(number, lines, found)
            if task is not None:
                yield task
        self._look_for_surplus()

    def _looked_at(self) -> Iterator[tuple[int, tuple[Line, ...], Facts | None]]:
        """Yield the shards with what is there of each, looking ahead as far as that takes long."""
        ahead: deque[tuple[int, tuple[Line, ...], Future[Facts | None] | None]] = deque()
        with ThreadPoolExecutor(_LOOKS_AT_A_TIME) as threads:
            for number, lines in enumerate(self._manifest.shards(self._request.plan.shard_size)):
                is_there = self._results.has(number)
                ahead.append((number, lines, threads.submit(self._facts, number) if is_there else None))
                if not is_there or not self._results.is_far or len(ahead) > _LOOKS_AHEAD:
                    yield _found(ahead.popleft())
            while ahead:
                yield _found(ahead.popleft())

    def _task(self, number: int, lines: tuple[Line, ...], facts: Facts | None) -> Task | None:
        """Give what is missing of a shard, None if nothing is."""
        digest, terms = digest_of(lines), self._request.plan.terms
        if facts is None or not self._is_of(facts, digest):
            return Task(Shard(number, lines, terms), digest, self._mark)
        if facts.unread_rows and (kept := self._rows_read(number)) is not None:
            known = {row["row"] for row in kept}
            missing = tuple(line for line in lines if line.row not in known)
            self._before[number] = facts
            return Task(Shard(number, missing, terms), digest, self._mark, kept)
        self._count(facts, is_known=facts.rows)
        return None

    def _facts(self, number: int) -> Facts | None:
        """Read the footer of a result; None if it cannot be gone by."""
        try:
            return read_facts(self._results.read(number))
        except (DamagedShardError, FileNotFoundError) as error:
            log.warning("a result is damaged, and recreated", shard=number, why=str(error))
            return None

    def _is_of(self, facts: Facts, digest: str) -> bool:
        """Tell whether a result is of these rows, on these terms; if not, it takes --refresh to make it again."""
        if (facts.digest, facts.terms) == (digest, self._mark):
            return True
        if self._request.refresh:
            return False
        what = "from other rows than the manifest has now" if facts.digest != digest else "on other terms"
        raise DataError(
            f"shard {facts.number} was made {what}. What is there stays as it is; name another --out, or give "
            "--refresh to make again what has changed"
        )

    def _rows_read(self, number: int) -> tuple[Any, ...] | None:
        try:
            return tuple(row for row in read_rows(self._results.read(number)) if row["error"] is None)
        except DamagedShardError as error:
            log.warning("a result is damaged, and recreated", shard=number, why=str(error))
            return None

    def _look_for_surplus(self) -> None:
        """Look for results of shards that the manifest no longer has."""
        surplus = [number for number in self._results.numbers() if number >= self._shards]
        if surplus and not self._request.refresh:
            raise DataError(
                f"the manifest has become shorter: {len(surplus):,} results are of rows that it no longer has; name "
                "another --out, or give --refresh to remove them"
            )
        for number in surplus:
            self._results.remove(number)

    # --- what came of it

    def _take(self, task: Task, made: Made) -> None:
        """Keep a result, unless it is the existing one."""
        self._failed_in_a_row = 0
        number, facts = task.shard.number, made.facts
        before = self._before.pop(number, None)
        if before is None or facts.unread_rows < before.unread_rows:
            self._results.write(number, made.content)
        self._count(facts, is_known=len(task.kept))
        self._require_some_read()

    def _give_up(self, task: Task, why: str) -> None:
        number = task.shard.number
        self._result.failed[number] = why
        self._result.standing.failed_shards += 1
        if (before := self._before.pop(number, None)) is not None:
            self._count(before, is_known=before.rows)
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _FAILED_IN_A_ROW:
            raise UnavailableError(
                f"{self._failed_in_a_row} shards in a row failed; the last: {why}. What is done is kept; the same "
                "command goes on from there"
            )

    def _count(self, facts: Facts, *, is_known: int) -> None:
        self._result.add(facts, is_known=is_known)
        self._tick(self._out)

    def _require_some_read(self) -> None:
        """End a run of which nothing will come: most often the paths begin elsewhere."""
        standing = self._result.standing
        if standing.done == standing.unread >= _NONE_READ_ROWS:
            (why, _), (path, _) = self._result.unread.most_common(1)[0], self._result.examples[0]
            raise NoInputError(
                f"none of the first {standing.done:,} images could be read ({why}), as {printable(path)}; do the paths "
                "of the manifest begin here? --root says where"
            )

    def _tick(self, shards_out: int) -> None:
        self._out = shards_out
        if self._progress is not None:
            self._progress.show(self._result.standing, shards_out)
        if time.monotonic() - self._described_at > _DESCRIBE_SECONDS:
            self.describe()


def _found(
    looked_at: tuple[int, tuple[Line, ...], "Future[Facts | None] | None"],
) -> tuple[int, tuple[Line, ...], Facts | None]:
    number, lines, facts = looked_at
    return number, lines, facts.result() if facts is not None else None
