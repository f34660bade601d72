"""A back-fill from its manifest to its results, and how far it is: what is there is kept, what is missing is made."""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from imageguard_daemon.batch.backfill.dispatch import Dispatcher
from imageguard_daemon.batch.backfill.engines import DaskEngine, open_engine
from imageguard_daemon.batch.backfill.manifest import Manifest
from imageguard_daemon.batch.backfill.results import (
    DESCRIPTION,
    DamagedShardError,
    Footer,
    Results,
    ShardResult,
    read_footer,
    read_rows,
)
from imageguard_daemon.batch.backfill.shards import (
    Line,
    ManifestRequest,
    Row,
    Shard,
    ShardTask,
    Terms,
    describe_terms,
    digest_of,
    mark_of,
    require_same,
)
from imageguard_daemon.batch.measuring import Unread
from imageguard_daemon.batch.running import Interrupts, Result, RunProgress, Work
from imageguard_daemon.batch.scan_summary import Summary, Totals
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.errors import DataError, NoInputError, UnavailableError
from imageguard_daemon.core.names import printable


class Tally:
    """What results come to by now; `failed` says of shards that were given up why."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.unread = Unread()
        self.failed: dict[int, str] = {}
        self.code: set[str] = set()
        """Which code took the features: workers may differ in that."""
        self.done = self.known = 0

    def add(self, footer: Footer, *, known: int = 0) -> None:
        """Count a shard's result; an earlier run had made `known` of its rows."""
        self.totals.merge(footer.totals)
        self.unread.merge(footer.unread, footer.examples)
        self.code.update(filter(None, [footer.code]))  # results of earlier versions have none
        self.done += footer.rows
        self.known += known

    def rows(self) -> dict[str, int]:
        """Give the rows of the manifest that are done, of them those of earlier runs, and what went wrong."""
        return {
            "done": self.done,
            "known": self.known,
            "rejected": self.totals.rejected,
            "unread": self.unread.total,
            "failed_shards": len(self.failed),
        }

    def result(
        self, description: Mapping[str, Any], reporting: Reporting, *, is_complete: bool, exit_code: int = 0
    ) -> Result:
        """Give it as that of any run."""
        summary = Summary(
            folder=printable(description["manifest"]["path"]),
            totals=self.totals,
            report=self.totals.report(reporting),
            known=self.known,
            left={},
            unread=dict(self.unread.reasons),
            is_complete=is_complete,
            scorer_version=description["scorer_version"],
            code=", ".join(sorted(self.code)),
        )
        return Result(summary, self.unread, exit_code, is_interrupted=bool(exit_code), failed=self.failed)


def status_of(out: str) -> Result:
    """Say how far a back-fill has come, from its results alone.

    Raises:
        NoInputError: there are none. DataError: they are not those of a back-fill.
    """
    results, tally = Results(out), Tally()
    description = results.description()
    if description is None:
        raise NoInputError(f"{printable(out)} has no {DESCRIPTION}: no back-fill was begun there")
    for number in results.numbers():
        try:
            tally.add(read_footer(results.read(number)))
        except (DamagedShardError, FileNotFoundError) as error:
            tally.failed[number] = str(error)
    for number, why in description.get("failed", {}).items():
        tally.failed.setdefault(int(number), why)
    is_whole = description.get("rows_of_manifest") == tally.done
    is_complete = is_whole and not (tally.failed or tally.unread.total)
    return tally.result(description, Reporting(), is_complete=is_complete)


_DESCRIBE_SECONDS = 60.0
_MAX_FAILED_DESCRIBED = 1_000
_NONE_READ_ROWS = 2_000
_FAILED_IN_A_ROW = 5
_LOOKS_AT_A_TIME = 16
_LOOKS_AHEAD = 32
"""How many results are looked at side by side: in a store each takes its time, and there may be a hundred thousand."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """A manifest, the terms of its results and where they go, and what runs shards.

    `attempts` is how often one may fail.
    """

    manifest: ManifestRequest
    terms: Terms
    out: str
    shard_size: int = 1000
    executor: str = "process"
    dask: str = ""
    workers: int = 0
    attempts: int = 3
    linger_seconds: float = 120.0
    refresh: bool = False
    reporting: Reporting = field(default_factory=Reporting)


class Backfill(Work):
    """One run over all shards of the manifest.

    The manifest, the results, the engine or the images' store may not work, or not fit together: then it raises.
    """

    tells_lines = True

    def __init__(self, request: BackfillRequest) -> None:
        self._request = request
        self._description = describe_terms(request.manifest, request.shard_size, request.terms)
        self._mark = mark_of(self._description)
        self._tally = Tally()
        self._is_complete = False
        self._before: dict[int, Footer] = {}
        self._failed_in_a_row = 0
        self._shards = self._out = 0
        self._described_at = 0.0
        self._progress: RunProgress | None = None

    def open(self, stack: ExitStack) -> None:
        """Open the manifest, the results and the engine; however it ends, how far it came is written down."""
        request = self._request
        self._manifest = Manifest(request.manifest)
        self._results = Results(request.out)
        stack.enter_context(self._results.held())
        self._require_fitting()
        self._engine = (
            DaskEngine(request.dask, request.terms, request.attempts)
            if request.dask
            else open_engine(request.executor, request.workers)
        )
        stack.callback(self._engine.close)
        stack.callback(self._describe)  # before the engine is closed, which may take its time

    def count(self) -> Iterator[int]:
        """Count the rows of the manifest, where it does not say how many it has."""
        yield self._manifest.count()

    def run(self, interrupts: Interrupts, progress: RunProgress) -> None:
        """Work until nothing is missing, or no more of it can be done."""
        request, self._progress = self._request, progress
        self._describe()
        dispatcher = Dispatcher(
            self._engine, self._tasks(), self, attempts=request.attempts, linger_seconds=request.linger_seconds
        )
        dispatcher.run(interrupts.check, self._tick)
        self._is_complete = not (self._tally.failed or self._tally.unread.total)

    def result(self, exit_code: int) -> Result:
        """Give what there is by now."""
        complete, reporting = self._is_complete, self._request.reporting
        return self._tally.result(self._description, reporting, is_complete=complete, exit_code=exit_code)

    def _require_fitting(self) -> None:
        before = self._results.description()
        if before is None and not self._results.is_empty():
            raise DataError(
                f"{printable(self._request.out)} has other files and no back-fill; name a folder of its own with --out"
            )
        if before is not None and not self._request.refresh:
            require_same(before, self._description)

    def _describe(self) -> None:
        """Write down how far it is."""
        tally = self._tally
        failed = list(tally.failed.items())[:_MAX_FAILED_DESCRIBED]
        progress = {
            "rows": tally.rows(),
            "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "is_complete": self._is_complete,
            "rows_of_manifest": tally.done if self._is_complete else self._manifest.rows,
            "failed": {str(number): why for number, why in failed},
            "unread": dict(tally.unread.reasons.most_common(20)),
            "code": sorted(tally.code),
        }
        self._results.describe({**self._description, **progress})
        self._described_at = time.monotonic()

    # --- what is to be done

    def _tasks(self) -> Iterator[ShardTask]:
        for number, lines, footer in self._looked_at():
            self._shards = number + 1
            task = self._task(number, lines, footer.result() if footer is not None else None)
            if task is not None:
                yield task
        self._look_for_surplus()

    def _looked_at(self) -> Iterator[tuple[int, tuple[Line, ...], "Future[Footer | None] | None"]]:
        """Yield the shards with what is there of each, looking some shards ahead."""
        ahead: deque[tuple[int, tuple[Line, ...], Future[Footer | None] | None]] = deque()
        with ThreadPoolExecutor(_LOOKS_AT_A_TIME) as threads:
            for number, lines in enumerate(self._manifest.shards(self._request.shard_size)):
                is_there = self._results.has(number)
                ahead.append((number, lines, threads.submit(self._footer, number) if is_there else None))
                if len(ahead) > _LOOKS_AHEAD:
                    yield ahead.popleft()
            while ahead:
                yield ahead.popleft()

    def _task(self, number: int, lines: tuple[Line, ...], footer: Footer | None) -> ShardTask | None:
        """Give what is missing of a shard, None if nothing is."""
        digest, terms = digest_of(lines), self._request.terms
        if footer is None or not self._is_of(footer, digest):
            return ShardTask(Shard(number, lines, terms), digest, self._mark)
        if footer.unread_rows and (rows_read := self._rows_read(number)) is not None:
            numbers = {row["row"] for row in rows_read}
            missing = tuple(line for line in lines if line.row not in numbers)
            self._before[number] = footer
            return ShardTask(Shard(number, missing, terms), digest, self._mark, rows_read)
        self._count(footer, known=footer.rows)
        return None

    def _footer(self, number: int) -> Footer | None:
        """Read the footer of a result; None if it cannot be gone by."""
        try:
            return read_footer(self._results.read(number))
        except (DamagedShardError, FileNotFoundError) as error:
            log.warning("a result is damaged, and recreated", shard=number, why=str(error))
            return None

    def _rows_read(self, number: int) -> tuple[Row, ...] | None:
        try:
            return tuple(row for row in read_rows(self._results.read(number)) if row["error"] is None)
        except DamagedShardError as error:
            log.warning("a result is damaged, and recreated", shard=number, why=str(error))
            return None

    def _is_of(self, footer: Footer, digest: str) -> bool:
        """Tell whether a result is of these rows, on these terms; if not, it takes --refresh to make it again."""
        if (footer.digest, footer.terms) == (digest, self._mark):
            return True
        if self._request.refresh:
            return False
        what = "from other rows than the manifest has now" if footer.digest != digest else "on other terms"
        raise DataError(
            f"shard {footer.number} was made {what}. What is there stays as it is; name another --out, or give "
            "--refresh to make again what has changed"
        )

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

    def take(self, task: ShardTask, result: ShardResult) -> None:
        """Keep the result of a shard, unless the existing one has as much."""
        self._failed_in_a_row = 0
        number, footer = task.shard.number, result.footer
        before = self._before.pop(number, None)
        if before is None or footer.unread_rows < before.unread_rows:
            self._results.write(number, result.content)
        self._count(footer, known=len(task.kept))
        self._require_some_read()

    def give_up(self, task: ShardTask, why: str) -> None:
        """Note a shard that failed for good; an earlier, partial result of it stays.

        Raises:
            UnavailableError: so did those before it.
        """
        number = task.shard.number
        self._tally.failed[number] = why
        if (before := self._before.pop(number, None)) is not None:
            self._count(before, known=before.rows)
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= _FAILED_IN_A_ROW:
            raise UnavailableError(
                f"{self._failed_in_a_row} shards in a row failed; the last: {why}. What is done is kept; the same "
                "command goes on from there"
            )

    def _count(self, footer: Footer, *, known: int) -> None:
        self._tally.add(footer, known=known)
        self._tick(self._out)

    def _require_some_read(self) -> None:
        """End a run of which nothing will come: most often the paths begin elsewhere."""
        done, unread = self._tally.done, self._tally.unread
        if done == unread.total >= _NONE_READ_ROWS:
            why, path = unread.reasons.most_common(1)[0][0], unread.examples[0][0]
            raise NoInputError(
                f"none of the first {done:,} images could be read ({why}), as {printable(path)}; do the paths "
                "of the manifest begin here? --root says where"
            )

    def _tick(self, shards_out: int) -> None:
        self._out, tally = shards_out, self._tally
        more = f", {tally.unread.total:,} unread" if tally.unread.total else ""
        more += f", {shards_out} shards in work"
        more += f", {len(tally.failed):,} shards failed" if tally.failed else ""
        if self._progress is not None:
            self._progress.show(tally.done, tally.totals.rejected, known=tally.known, more=more)
        if time.monotonic() - self._described_at > _DESCRIBE_SECONDS:
            self._describe()
