"""Walks the hash chain and names every record that is not as it was written. Works while a daemon is writing."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from imageguard_daemon.audit.archive.archived_files import files_digest
from imageguard_daemon.audit.archive.plan import Anchor, last_anchor
from imageguard_daemon.audit.chain import link_hash, linked_rows
from imageguard_daemon.audit.schema import CHAINED, archived_files, archives
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.model import MIN_INT64

_PAGE = 500
_BEFORE_ALL = MIN_INT64 - 1


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in the log that the daemon has not written so; `record` names it, as `intents 5`."""

    record: str
    what: str


@dataclass(frozen=True, slots=True)
class ChainExtent:
    """How far the log reached at one moment: the last link, the last id of each table, what SQLite gave out.

    `anchor` is where the latest archive ends, `archives` how many there are.
    """

    sequence: int
    newest: Mapping[str, int]
    given_out: Mapping[str, int]
    anchor: Anchor
    archives: int


class ChainCheck:
    """One walk over the chain as it is now; what is added meanwhile is for the next one.

    Afterwards `head` is the last hash, and `met` tells which of the hashes given as `expected` are in the chain.
    """

    def __init__(self, log: Store, expected: Sequence[bytes] = ()) -> None:
        self._log = log
        self._expected = frozenset(expected)
        self.met: set[bytes] = set()
        with log.reading() as connection:
            self.extent = _extent(connection)
        anchor = self.extent.anchor
        self._cursors = {table: _Cursor(anchor.last_ids[table] or _BEFORE_ALL) for table in CHAINED}
        self._linked_again: Counter[str] = Counter()
        self._sequence = anchor.sequence
        self._previous = {anchor.hash}
        self.head = anchor.hash
        if anchor.hash in self._expected:
            self.met.add(anchor.hash)

    @property
    def sequence(self) -> int:
        """The last link that has been looked at."""
        return self._sequence

    def faults(self, progress: Callable[[int], None] = lambda _sequence: None) -> Iterator[Fault]:
        """Yield what is wrong, in the order of the chain. Streams, in many short reads."""
        while self._sequence < self.extent.sequence:
            with self._log.reading() as connection:
                page = linked_rows(connection, self._sequence, self.extent.sequence, _PAGE)
            for link, row in page:
                yield from self._follow(link["sequence"], link["record_table"], link["record_id"], link["hash"], row)
            progress(self._sequence)
        for table, last_id in self.extent.newest.items():
            yield from self._unlinked(table, last_id + 1)
        yield from self._cut_off()
        yield from self._not_archived()
        yield from self._archived_files()

    def _follow(
        self, sequence: int, table: str, record_id: int, stored: bytes, row: Mapping[str, object] | None
    ) -> Iterator[Fault]:
        gap = sequence != self._sequence + 1
        if gap:
            yield Fault(f"chain {self._sequence + 1}", f"links are missing before link {sequence}")
        self._sequence = sequence
        fault = _fault(sequence, table, record_id, row)
        computed: set[bytes] = set()
        if row:
            computed = {link_hash(previous, sequence, table, row) for previous in self._previous}
        # After a gap nothing can be said of the first link; it is taken as the new beginning.
        if fault is None and stored not in computed and not gap:
            fault = Fault(f"{table} {record_id}", f"the record, or its link {sequence}, is not as it was written")
        if fault:
            yield fault
        if table in self._cursors and isinstance(record_id, int):
            self._linked_again[table] += record_id <= self.extent.anchor.last_ids[table]
            if fault is None:
                yield from self._unlinked(table, record_id)
            self._cursors[table].step(record_id, good=fault is None)
        # Whether the record or the hash was changed, the next link follows from one of the two.
        self._previous = {link for link in (stored, *computed) if isinstance(link, bytes)}
        self.head = stored if isinstance(stored, bytes) else b""
        if stored in self._expected:
            self.met.add(stored)

    def _unlinked(self, table: str, before: int) -> Iterator[Fault]:
        """Name the rows that should have had a link by now: the daemon has not written them."""
        cursor = self._cursors[table]
        if before <= cursor.passed + 1:
            return
        query = f"SELECT id FROM {table} WHERE id > ? AND id <= ? ORDER BY id LIMIT {_PAGE}"
        last = cursor.passed
        while True:
            with self._log.reading() as connection:
                ids = connection.exec_driver_sql(query, (max(last, _BEFORE_ALL + 1), before - 1)).scalars().all()
            for record_id in ids:
                if record_id not in cursor.named:
                    yield Fault(f"{table} {record_id}", "the record was not written by the daemon: it has no link")
            if len(ids) < _PAGE:
                return
            last = ids[-1]

    def _not_archived(self) -> Iterator[Fault]:
        """Name the rows of the archived part that neither went into the archive nor were linked again."""
        for table, last_id in self.extent.anchor.last_ids.items():
            with self._log.reading() as connection:
                # Counting is quick; only where the number is wrong is it worth asking which rows have no link.
                count = f"SELECT count(*) FROM {table} WHERE id <= ?"
                if connection.exec_driver_sql(count, (last_id,)).scalar_one() == self._linked_again[table]:
                    continue
                linked = "SELECT record_id FROM chain WHERE record_table = ?"
                query = f"SELECT id FROM {table} WHERE id <= ? AND id NOT IN ({linked})"
                ids = connection.exec_driver_sql(query, (last_id, table)).scalars().all()
            for record_id in ids:
                yield Fault(f"{table} {record_id}", "the record was not written by the daemon: it has no link")

    def _archived_files(self) -> Iterator[Fault]:
        """Hold the files that archives left in the log against the archives' own records."""
        with self._log.reading() as connection:
            rows = connection.execute(sa.select(archives.c.id, archives.c.files_digest)).all()
            wrong = [row.id for row in rows if files_digest(connection, row.id) != row.files_digest]
            archive_ids = [row.id for row in rows]
            query = sa.select(sa.func.count()).where(archived_files.c.archive_id.not_in(archive_ids))
            foreign = connection.scalar(query)
        for archive_id in wrong:
            yield Fault(f"archives {archive_id}", "the list of its files is not as it was written")
        if foreign:
            yield Fault("archived_files", f"{foreign} files of an archive that there is not")

    def _cut_off(self) -> Iterator[Fault]:
        last = {"chain": self.extent.sequence} | dict(self.extent.newest)
        for table, given_out in self.extent.given_out.items():
            if given_out > last.get(table, given_out):
                yield Fault(f"{table} {last[table] + 1}", f"the end was cut off: there were records up to {given_out}")


@dataclass(slots=True)
class _Cursor:
    """How far a table has been accounted for, and the ids beyond that faulty links name."""

    passed: int = _BEFORE_ALL
    named: set[int] = field(default_factory=set)

    def step(self, record_id: int, *, good: bool) -> None:
        if not good:
            self.named.add(record_id)
        elif record_id > self.passed:
            self.passed = record_id
            self.named = {n for n in self.named if n > record_id}


def _fault(sequence: int, table: str, record_id: int, row: Mapping[str, object] | None) -> Fault | None:
    if table not in CHAINED:
        return Fault(f"chain {sequence}", "the link names a table that is not there")
    if row is None:
        return Fault(f"{table} {record_id}", f"the record was removed: link {sequence} names it")
    return None


def _extent(connection: sa.Connection) -> ChainExtent:
    tables = {table: f"SELECT coalesce(max(id), 0) FROM {table}" for table in CHAINED}
    newest = {table: int(connection.exec_driver_sql(query).scalar_one()) for table, query in tables.items()}
    sequence = connection.exec_driver_sql("SELECT coalesce(max(sequence), 0) FROM chain").scalar_one()
    given_out = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all()
    anchor = last_anchor(connection)
    newest = {table: max(last_id, anchor.last_ids[table]) for table, last_id in newest.items()}
    return ChainExtent(
        max(sequence, anchor.sequence),
        newest,
        {name: seq for name, seq in given_out if isinstance(seq, int)},
        anchor,
        connection.scalar(sa.select(sa.func.count()).select_from(archives)) or 0,
    )
