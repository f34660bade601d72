"""Run by Alembic; the connection is handed over by `audit.database`."""

from alembic import context

from imageguard_daemon.audit.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,  # SQLite can, once BEGIN is ours: a migration is done whole or not at all
)
with context.begin_transaction():
    context.run_migrations()
