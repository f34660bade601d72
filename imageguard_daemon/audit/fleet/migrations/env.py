"""Run by Alembic; the connection is handed over by `audit.fleet.database`."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], transactional_ddl=True, version_table="fleet_version"
)
with context.begin_transaction():
    context.run_migrations()
