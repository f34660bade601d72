"""What the log still says of images whose records were archived: their files, and what people said and did.

`rollup_reviews` has a row for each image that was reviewed: the latest review that took effect, and what reports and
thresholds made from reviews ask of such an image. The `archived` ones went before there was this table.
"""

import hashlib
import os
from collections.abc import Iterator

import sqlalchemy as sa

from imageguard_daemon.audit.schema import archived_files, archives, rollup_reviews
from imageguard_daemon.audit.store import Store
from imageguard_daemon.core.names import printable

_PAGE = 2_000


def files_digest(connection: sa.Connection, archive_id: int) -> bytes:
    """Give the hash over the files that the log still vouches for after an archive; the archive's row has it."""
    digest = hashlib.sha256()
    query = "SELECT intent_id, path, sha256, size_bytes FROM archived_files WHERE archive_id = ? ORDER BY intent_id"
    for row in connection.execution_options(yield_per=5_000).exec_driver_sql(query, (archive_id,)):
        for value in row:
            part = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
            digest.update(b"%d:%b," % (len(part), part))
    return digest.digest()


def has_archived_reviews(connection: sa.Connection) -> bool:
    """Tell whether there can be any: not in a fleet's database, nor in a log of an older version."""
    return sa.inspect(connection).has_table(rollup_reviews.name)


def files_of_archived(log: Store) -> Iterator[tuple[str, str, int]]:
    """Stream path, SHA-256 and size in bytes of each file whose records were archived: images and labels."""
    after = -1
    while True:
        query = sa.select(archived_files).where(archived_files.c.intent_id > after)
        with log.reading() as connection:
            if not has_archives(connection):
                return
            rows = connection.execute(query.order_by(archived_files.c.intent_id).limit(_PAGE)).all()
        for row in rows:
            yield os.fsdecode(row.path), row.sha256, row.size_bytes
        if len(rows) < _PAGE:
            return
        after = rows[-1].intent_id


def where_archived(log: Store) -> str:
    """Say, as the end of a sentence, where the records are that the log no longer has; nothing if it has them all."""
    with log.reading() as connection:
        if not has_archives(connection):
            return ""
        folder = connection.scalar(sa.select(archives.c.folder).order_by(archives.c.id.desc()).limit(1))
    return f"; older records were archived, the last ones to {printable(folder)} (docs/audit-log.md)" if folder else ""


def has_archives(connection: sa.Connection) -> bool:
    """Tell whether records can have left: not from a fleet's database, which keeps all, nor from an older log."""
    return sa.inspect(connection).has_table(archived_files.name)
