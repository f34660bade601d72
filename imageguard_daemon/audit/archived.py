"""What the log still says of the files whose records were archived."""

import hashlib

import sqlalchemy as sa


def files_digest(connection: sa.Connection, archive_id: int) -> bytes:
    """Give the hash over the files that the log still vouches for after an archive; the archive's row has it."""
    digest = hashlib.sha256()
    query = "SELECT intent_id, path, sha256, size_bytes FROM archived_files WHERE archive_id = ? ORDER BY intent_id"
    for row in connection.execution_options(yield_per=5_000).exec_driver_sql(query, (archive_id,)):
        for value in row:
            part = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
            digest.update(b"%d:%b," % (len(part), part))
    return digest.digest()
