"""The history of the schema; applied when the daemon starts."""
