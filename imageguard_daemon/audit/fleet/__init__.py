"""The logs of many servers in one PostgreSQL. Needs the extra `fleet`."""
