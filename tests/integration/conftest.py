"""One real PostgreSQL server for all tests here; each has a database of its own."""

from collections.abc import Iterator

import pytest

from imageguard_daemon.audit.fleet.database import FleetAddress, open_fleet, prepare
from tests.helpers.postgres import Server


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that is never stopped; who stops one has a server of its own."""
    with Server() as running:
        yield running


@pytest.fixture(scope="session")
def prepared(server: Server) -> str:
    """The name of a database that has the tables."""
    address = FleetAddress(server.new_database())
    engine = open_fleet(address, read_only=False)
    assert prepare(engine, address) == ""
    engine.dispose()
    return address.url.rpartition("/")[2]


@pytest.fixture
def fleet_url(server: Server, prepared: str) -> str:
    """The address of a database with tables and no logs."""
    return server.new_database(like=prepared)
