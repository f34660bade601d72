"""Who may do what in the fleet's database: the grants of docs/fleet.md, on a real server."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from imageguard_daemon.audit.fleet.database import FleetAddress, open_fleet, prepare
from imageguard_daemon.core.errors import PermissionDeniedError, UnavailableError
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.fleets import asked, differences, forward
from tests.helpers.postgres import Server

DOCUMENT = Path(__file__).parents[2] / "docs" / "fleet.md"
AS_SUPERUSER, AS_OWNER = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)[:2]


def test_the_documented_roles_can_do_their_work_and_nothing_else(server: Server, tmp_path: Path) -> None:
    """A forwarder adds and does no more, a reader reads and does no more, the owner prepares."""
    for statement in filter(None, map(str.strip, re.sub(r"--.*", "", AS_SUPERUSER).split(";"))):
        server.sql(statement)
    owner, forwarder, reader = (server.url("imageguard", f"imageguard_{n}") for n in ("owner", "forwarder", "reader"))
    log = write_log(tmp_path / "audit.db", [Judged(images=5), Judged(reason="noisy", images=2)])
    with pytest.raises(UnavailableError, match="not prepared"):
        forward(log, forwarder)
    engine = open_fleet(FleetAddress(owner), read_only=False)
    prepare(engine, FleetAddress(owner))
    engine.dispose()
    with pytest.raises(PermissionDeniedError, match="grants"):
        forward(log, forwarder)
    with psycopg.connect(owner) as connection:
        connection.execute(re.sub(r"--.*", "", AS_OWNER))

    forward(log, forwarder)
    write_log(log, [Judged(images=3)])
    forward(log, forwarder)
    assert differences(log, owner, 1) == []
    assert asked(reader, "SELECT count(*) FROM decisions") == [(10,)]
    for url, statements in (
        (
            forwarder,
            (
                *("SELECT * FROM decision_records", "SELECT * FROM decisions", "UPDATE chain SET hash = ''"),
                *("DELETE FROM chain", "UPDATE logs SET host = 'x'", "TRUNCATE outcomes", "CREATE TABLE mine (a int)"),
                *("INSERT INTO rollup_images VALUES (1, 1, 1, 0)", "DROP TABLE logs", "SELECT take_in_moved()"),
            ),
        ),
        (reader, ("INSERT INTO logs (uuid) VALUES ('x')", "DELETE FROM outcomes", "CREATE TABLE mine (a int)")),
    ):
        for statement in statements:
            with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_many_that_start_at_once_make_the_tables_once(server: Server) -> None:
    """One makes them, the others wait for it and find them."""
    address = FleetAddress(server.new_database())

    def start(_number: int) -> str:
        engine = open_fleet(address, read_only=False)
        try:
            return prepare(engine, address)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(6) as pool:
        before = sorted(pool.map(start, range(6)))
    assert before == ["", *["0003"] * 5]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_every_name_is_refused(server: Server, tmp_path: Path, encoding: str) -> None:
    """In another encoding than UTF-8 names would get lost one by one; it is said at once."""
    name = encoding.lower()
    server.sql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")
    with pytest.raises(UnavailableError, match=encoding):
        forward(write_log(tmp_path / "audit.db", [Judged()]), server.url(name))


def test_hosts_that_meet_an_empty_database_at_once_all_forward(server: Server, tmp_path: Path) -> None:
    """The first forwarders of a fleet need nobody to prepare anything."""
    url = server.new_database()
    logs = []
    for name in "abc":
        (tmp_path / name).mkdir()
        logs.append(write_log(tmp_path / name / "audit.db", [Judged(images=4)]))
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda log: forward(log, url, log.parent.name), logs))
    numbers = dict(asked(url, "SELECT host, number FROM logs"))
    assert [difference for log in logs for difference in differences(log, url, numbers[log.parent.name])] == []
