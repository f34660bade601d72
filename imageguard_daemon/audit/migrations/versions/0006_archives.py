"""Archives: what left the log, and which files it still vouches for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the two tables; let a relocation be of a file whose intent is archived."""
    op.create_table(
        "archives",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("archived_at", "host", "who", "folder")),
        sa.Column("manifest_sha256", sa.Text, nullable=False),
        sa.Column("last_sequence", sa.Integer, nullable=False),
        sa.Column("last_hash", sa.LargeBinary, nullable=False),
        sa.Column("last_ids", sa.JSON, nullable=False),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.Column("files_digest", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "archived_files",
        sa.Column("intent_id", sa.Integer, primary_key=True),
        sa.Column("archive_id", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
    )
    op.create_index("ix_archived_files_path", "archived_files", ["path"])
    _remake_relocations()
    for table, key in (("archives", "id"), ("archived_files", "intent_id"), ("relocations", "id")):
        _refuse(table, "update", "UPDATE")
        _refuse(table, "delete", "DELETE")
        same = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {key} = NEW.{key})"
        _refuse(table, "replace", "INSERT", same)


def _remake_relocations() -> None:
    """Make the table again without its foreign key; rows, ids and therefore hashes stay."""
    columns = "id, intent_id, path, place, sha256, size_bytes, recorded_at"
    op.create_table(
        "relocations_new",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("intent_id", sa.Integer, nullable=False),
        sa.Column("path", sa.LargeBinary, nullable=False),
        sa.Column("place", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("recorded_at", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.execute(f"INSERT INTO relocations_new ({columns}) SELECT {columns} FROM relocations")
    op.execute("DROP TABLE relocations")
    op.execute("ALTER TABLE relocations_new RENAME TO relocations")
    op.create_index("ix_relocations_intent_id", "relocations", ["intent_id"])
    op.create_index("ix_relocations_path", "relocations", ["path"])


def _refuse(table: str, name: str, event: str, condition: str = "") -> None:
    op.execute(
        f"CREATE TRIGGER {table}_no_{name} BEFORE {event} ON {table} {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
    )
