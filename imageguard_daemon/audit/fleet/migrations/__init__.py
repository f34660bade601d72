"""The steps of the fleet's database, by Alembic; they are run by its owner, under a lock."""
