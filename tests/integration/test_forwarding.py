"""A log on its way into a real PostgreSQL."""

import shutil
import socket
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from imageguard_daemon.audit.alerts import Alert, AlertLog
from imageguard_daemon.audit.fleet import forwarding
from imageguard_daemon.audit.fleet.database import FleetAddress
from imageguard_daemon.audit.fleet.forwarding import Forwarder, Sender
from imageguard_daemon.audit.fleet.store import received_logs
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.core.errors import PermissionDeniedError, StalledError, UnavailableError, UsageError
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.fleets import asked, differences, forward, logs_there
from tests.helpers.postgres import Server

SOME = [
    Judged(images=20, exposure=(0.0, 0.0), camera="Nikon D7"),
    Judged("dog", "blurry", images=15, exposure=(0.1, 0.4), borderline=True),
    Judged("dog", "corrupt", images=3),
    Judged(images=4, repeated=True),
    Judged(images=2, outcome="abandoned"),
]
MORE = [Judged("späte", "noisy", images=5), Judged("", images=2)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with some of everything that the daemon writes."""
    database = write_log(tmp_path / "audit.db", SOME)
    writer = AuditWriter(database, tmp_path)
    alert = Alert(datetime.now(UTC), "high_rejection_rate", "dog \u2028", "told", "webhook", {"rate": 0.5})
    AlertLog(writer).record_alerts([alert])
    writer.record_relocations([(1, "/elsewhere/caf\udce9.jpg", "ab" * 32, 7)])
    writer.close()
    return database


def tampered(database: Path, statement: str, *values: object) -> None:
    """Change a row as no daemon would."""
    connection = sqlite3.connect(database)
    for name, *_ in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute(statement, values)
    connection.commit()
    connection.close()


def test_every_record_arrives_once_as_it_is(log: Path, fleet_url: str) -> None:
    """All columns of all tables, all links, and the roll-ups are there after batches of any size."""
    steps = forward(log, fleet_url, batch_records=7)
    assert len(steps) > 10
    assert steps[-1].behind == 0
    assert differences(log, fleet_url, 1) == []


def test_forwarding_goes_on_where_it_was(log: Path, fleet_url: str) -> None:
    """What is recorded later is all that is sent later."""
    first = sum(step.sent for step in forward(log, fleet_url))
    write_log(log, MORE)
    second = sum(step.sent for step in forward(log, fleet_url))
    assert second == 3 * 7
    assert first > second
    assert differences(log, fleet_url, 1) == []


def test_sending_again_changes_nothing(log: Path, fleet_url: str) -> None:
    """A forwarder that has forgotten everything sends nothing twice, since the database says how far it has the log."""
    forward(log, fleet_url)
    before = asked(fleet_url, "SELECT * FROM chain ORDER BY 1, 2")
    tampered(log, "UPDATE forwarding SET sequence = 0")
    assert sum(step.sent for step in forward(log, fleet_url)) == 0
    assert asked(fleet_url, "SELECT * FROM chain ORDER BY 1, 2") == before


def test_a_database_put_back_gets_what_it_lost(log: Path, fleet_url: str) -> None:
    """Where the database forgot its last records, they are sent again."""
    forward(log, fleet_url)
    for table in ("decision_records", "intents", "outcomes", "rollup_images"):
        key = "decision_id" if table == "rollup_images" else "id"
        with psycopg.connect(fleet_url) as connection:
            connection.execute(f"DELETE FROM {table} WHERE {key} & 1048575 > 30")
    lost = "(SELECT min(sequence) FROM chain WHERE record_id > 30)"
    with psycopg.connect(fleet_url) as connection:
        connection.execute(f"DELETE FROM chain WHERE sequence >= {lost}")
    forward(log, fleet_url)
    assert differences(log, fleet_url, 1) == []


def test_a_log_put_back_from_a_backup_becomes_a_branch(log: Path, fleet_url: str, tmp_path: Path) -> None:
    """Both histories stay: what came after the backup, and what came after it was put back."""
    backup = tmp_path / "backup.db"
    shutil.copy(log, backup)
    write_log(log, MORE)
    forward(log, fleet_url)
    total = asked(fleet_url, "SELECT count(*) FROM decisions")[0][0]
    shutil.copy(log, tmp_path / "lost.db")
    shutil.copy(backup, log)
    assert forward(log, fleet_url)[-1].ahead == 21  # nothing new yet: nothing to tell apart
    assert asked(fleet_url, "SELECT count(*) FROM logs") == [(1,)]

    write_log(log, [Judged("fox", "tiny", images=9)])
    steps = forward(log, fleet_url)
    assert [step.forked_at for step in steps if step.forked_at is not None] == [len(links(backup))]
    assert differences(tmp_path / "lost.db", fleet_url, 1) == []
    assert asked(fleet_url, "SELECT count(*) FROM decisions") == [(total + 9,)]
    assert asked(fleet_url, "SELECT count(*) FROM decisions WHERE class = 'fox' AND id >> 40 = 2") == [(9,)]
    assert asked(fleet_url, "SELECT count(*) FROM rollup_images") == [(total + 9,)]
    parents = asked(fleet_url, "SELECT parent, fork_sequence FROM logs WHERE number = 2")
    assert parents == [(1, len(links(backup)))]


def links(database: Path) -> list[tuple[int, ...]]:
    """Give the chain of a log."""
    connection = sqlite3.connect(database)
    try:
        return connection.execute("SELECT sequence FROM chain").fetchall()
    finally:
        connection.close()


def test_a_branch_knows_the_records_it_shares(log: Path, fleet_url: str, tmp_path: Path) -> None:
    """A duplicate in a branch points at the original that the branch has from its parent."""
    shutil.copy(log, tmp_path / "backup.db")
    write_log(log, MORE)
    forward(log, fleet_url)
    shutil.copy(tmp_path / "backup.db", log)
    write_log(log, [Judged("fox", images=1, repeated=True)])
    forward(log, fleet_url)
    ((original,),) = asked(fleet_url, "SELECT duplicate_of FROM decision_records WHERE class = 'fox'")
    assert original >> 40 == 1
    assert (original,) in asked(fleet_url, "SELECT id FROM decision_records")


def test_a_branch_is_whole_in_another_database(
    log: Path, fleet_url: str, server: Server, prepared: str, tmp_path: Path
) -> None:
    """Where nobody knows what it goes on from, a log is sent from its first record."""
    shutil.copy(log, tmp_path / "backup.db")
    write_log(log, MORE)
    forward(log, fleet_url)
    shutil.copy(tmp_path / "backup.db", log)
    write_log(log, [Judged("fox", images=3)])
    assert any(step.forked_at for step in forward(log, fleet_url))
    another = server.new_database(like=prepared)
    forward(log, another)
    assert differences(log, another, 1) == []


def test_two_copies_of_one_host_do_not_mix(log: Path, fleet_url: str, tmp_path: Path) -> None:
    """A cloned machine that forwards beside the first becomes a branch, and neither loses a record."""
    clone = tmp_path / "clone.db"
    shutil.copy(log, clone)
    one, two = (Forwarder(path, FleetAddress(fleet_url), Sender("twin", path)) for path in (log, clone))
    one.step()
    two.step()
    for number in range(3):
        write_log(log, [Judged("left", images=number + 1)])
        write_log(clone, [Judged("right", images=number + 1)])
        for forwarder in (one, two):
            for _ in range(3):
                try:
                    forwarder.step()
                except StalledError:  # the other one was there in between
                    continue
    one.close()
    two.close()
    counts = "SELECT class, count(*) FROM decisions WHERE class IN ('left', 'right') GROUP BY 1 ORDER BY 1"
    assert asked(fleet_url, counts) == [("left", 6), ("right", 6)]


@pytest.mark.parametrize(
    ("change", "is_there"),
    [
        (("UPDATE decision_records SET camera = 'a' || char(0) || 'b' WHERE id = 5",), True),
        (("UPDATE decision_records SET camera = CAST(? AS TEXT) WHERE id = 5", b"caf\xe9"), True),
        (("UPDATE decision_records SET size_bytes = 'many' WHERE id = 5",), False),
        (("UPDATE decision_records SET measures = '{\"blur_sigma_px\": NaN}' WHERE id = 5",), False),
        (("UPDATE decision_records SET measures = 'no json' WHERE id = 5",), False),
        (("UPDATE decision_records SET decided_at = '2025-13-41T99:00:00.000Z' WHERE id = 5",), True),
        (("DELETE FROM decision_records WHERE id = 5",), False),
        (("UPDATE chain SET record_table = 'nothing' || char(0) WHERE sequence = 9",), False),
    ],
)
def test_an_odd_row_does_not_stop_the_others(
    log: Path, fleet_url: str, change: tuple[object, ...], is_there: bool
) -> None:
    """What PostgreSQL cannot hold is set aside with its bytes and a reason; everything after it arrives."""
    tampered(log, *change)
    steps = forward(log, fleet_url, batch_records=10)
    assert steps[-1].behind == 0
    assert sum(step.odd for step in steps) == len(asked(fleet_url, "SELECT * FROM odd_records")) >= 1
    assert asked(fleet_url, "SELECT count(*) FROM decision_records") == [(43 + is_there,)]
    assert len(asked(fleet_url, "SELECT * FROM chain")) == len(links(log))


def test_a_link_that_was_tampered_with_is_sent_once(log: Path, fleet_url: str) -> None:
    """What makes no sense must not look as if the log had been put back from a backup, again and again."""
    tampered(log, "UPDATE chain SET hash = 'no hash' WHERE sequence = (SELECT max(sequence) FROM chain)")
    for _ in range(3):
        forward(log, fleet_url)
    assert asked(fleet_url, "SELECT count(*) FROM logs") == [(1,)]
    assert len(asked(fleet_url, "SELECT 1 FROM chain")) == len(links(log))


def test_names_longer_than_an_index_takes_arrive(tmp_path: Path, fleet_url: str) -> None:
    """A path of four kilobytes, and a camera that calls itself so, are rows like others."""
    log = write_log(tmp_path / "audit.db", [Judged(images=3, camera="x" * 5000)])
    tampered(log, "UPDATE decision_records SET relative_path = ?, class = ?", "é" * 4000, "c" * 4000)
    assert sum(step.odd for step in forward(log, fleet_url)) == 0
    assert asked(fleet_url, "SELECT count(*) FROM rollup_images") == [(3,)]


def test_what_was_archived_before_is_a_gap_and_no_end(log: Path, fleet_url: str) -> None:
    """A log that begins in the middle is sent from there, and it is noted what is missing."""
    tampered(log, "DELETE FROM chain WHERE sequence <= 12")
    steps = forward(log, fleet_url)
    assert sum(step.missed for step in steps) == 12
    (there,) = received_logs(FleetAddress(fleet_url))
    assert (there.missed, there.records) == (12, len(links(log)))


def test_hosts_with_one_name_are_two_logs(tmp_path: Path, fleet_url: str) -> None:
    """Nothing is told apart by names of hosts: two that are both called localhost lose nothing."""
    for name in "ab":
        (tmp_path / name).mkdir()
        log = write_log(tmp_path / name / "audit.db", SOME)
        forward(log, fleet_url, "localhost")
    assert [one.records for one in received_logs(FleetAddress(fleet_url))] == [len(links(log))] * 2
    assert differences(log, fleet_url, logs_there(fleet_url)["localhost"]) == []


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ("ALTER DATABASE {db} SET default_transaction_read_only = on", StalledError, "read-only"),
        ("UPDATE fleet_version SET version_num = '9999'", UnavailableError, "newer version"),
        ("UPDATE fleet_version SET version_num = '0000'", UnavailableError, "older version"),
        ("ALTER TABLE chain RENAME TO other", UnavailableError, "no logs of imageguard-daemon"),
    ],
)
def test_a_database_that_takes_nothing_is_told_and_nothing_is_lost(
    log: Path, fleet_url: str, change: str, error: type[Exception], words: str
) -> None:
    """Each cause has its sentence; when it is gone, everything arrives."""
    forward(log, fleet_url)
    write_log(log, MORE)
    with psycopg.connect(fleet_url, autocommit=True) as connection:
        connection.execute(change.format(db=fleet_url.rpartition("/")[2]))
    with pytest.raises(error, match=words):
        forward(log, fleet_url)
    undo = {
        "ALTER DATABASE": "SET default_transaction_read_only = off; ALTER DATABASE {db} RESET ALL",
        "UPDATE fleet_v": "UPDATE fleet_version SET version_num = '0003'",
        "ALTER TABLE ch": "ALTER TABLE other RENAME TO chain",
    }
    with psycopg.connect(fleet_url, autocommit=True) as connection:
        for part in undo[change[:14]].format(db=fleet_url.rpartition("/")[2]).split("; "):
            connection.execute(part)
    forward(log, fleet_url)
    assert differences(log, fleet_url, 1) == []


def test_servers_that_are_not_there_are_told(log: Path, server: Server) -> None:
    """An unknown host, a closed port, an unknown database or role, an address that makes no sense."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"postgresql://a@127.0.0.1:{closed.getsockname()[1]}/x"
        for url, error in (
            (nobody, StalledError),
            ("postgresql://a@no-such-host.invalid/x", StalledError),
            (server.url("nowhere"), UnavailableError),
            (server.url(user="nobody"), PermissionDeniedError),
            (f"{server.url()}?sslmode=require", UnavailableError),
            (f"{server.url()}?no_such_option=1", UsageError),
        ):
            with pytest.raises(error):
                forward(log, url)


def test_a_wrong_password_is_told_without_it(log: Path, server: Server) -> None:
    """The message names the role and never the password."""
    server.sql("CREATE ROLE with_password LOGIN PASSWORD 'right'")
    hba = server.data / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"host all with_password 127.0.0.1/32 scram-sha-256\n{before}")
    server.sql("SELECT pg_reload_conf()")
    try:
        url = server.url("postgres", "with_password")
        with pytest.raises(PermissionDeniedError, match="with_password") as told:
            Forwarder(log, FleetAddress(url, "wr0ng"), Sender("one", log)).step()
        assert "wr0ng" not in str(told.value)
        assert "wr0ng" not in repr(FleetAddress(url, "wr0ng"))
        with pytest.raises(UsageError) as told:
            forward(log, "postgresql://a:s3cret@h/x?no_such_option=s3cret")
        assert "s3cret" not in str(told.value)
    finally:
        hba.write_text(before)
        server.sql("SELECT pg_reload_conf()")


def test_a_server_that_never_answers_costs_a_bounded_time(log: Path) -> None:
    """A socket that accepts and says nothing is given up."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://a@127.0.0.1:{silent.getsockname()[1]}/x?connect_timeout=2"
        with pytest.raises(StalledError, match="timeout"):
            forward(log, url)


def test_a_server_that_falls_silent_after_the_greeting_costs_a_bounded_time(log: Path) -> None:
    """A server that lets us in and answers no question is given up."""

    def greet(listening: socket.socket) -> None:
        line, _ = listening.accept()
        with line:
            line.recv(1024)
            version = b"server_version\x0016.0\0"
            parameter = b"S" + (4 + len(version)).to_bytes(4, "big") + version
            line.sendall(b"R" + (8).to_bytes(4, "big") + bytes(4) + parameter + b"Z" + (5).to_bytes(4, "big") + b"I")
            while line.recv(1024):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=greet, args=(listening,))
        server.start()
        address = FleetAddress(f"postgresql://a@127.0.0.1:{listening.getsockname()[1]}/x?sslmode=disable", "", 1.0)
        with pytest.raises(StalledError):
            Forwarder(log, address, Sender("one", log)).step()
        server.join(60)
        assert not server.is_alive()


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM outcomes WHERE id & 255 = 3",
        "UPDATE decision_records SET score = score + 1e-9 WHERE id & 255 = 3",
        "UPDATE intents SET decision_id = decision_id + 1 WHERE id & 255 = 3",
        "INSERT INTO relocations SELECT id + 7, intent_id, path, place, sha256, 1, recorded_at FROM relocations",
        "DELETE FROM rollup_images WHERE decision_id & 255 = 3",
        "UPDATE chain SET hash = decode('00', 'hex') WHERE sequence = 7",
    ],
)
def test_the_comparison_sees_every_kind_of_difference(log: Path, fleet_url: str, change: str) -> None:
    """What all tests of forwarding rest on is itself able to fail."""
    forward(log, fleet_url)
    with psycopg.connect(fleet_url) as connection:
        assert connection.execute(change).rowcount >= 1
    assert differences(log, fleet_url, 1) != []


def test_a_commit_of_which_nobody_heard_is_neither_lost_nor_doubled(
    log: Path, fleet_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is lost between the commit and its answer: the database is asked how far it is."""
    forwarder = Forwarder(log, FleetAddress(fleet_url), Sender("one", log.parent, 20))
    whole = forwarding.add_links

    def add(connection: sa.Connection, *arguments: object) -> int:
        odd = whole(connection, *arguments)
        connection.commit()
        raise StalledError(f"the answer got lost, {odd} odd")

    forwarder.step()
    monkeypatch.setattr(forwarding, "add_links", add)
    with pytest.raises(StalledError, match="got lost"):
        forwarder.step()
    monkeypatch.setattr(forwarding, "add_links", whole)
    while forwarder.step().behind:
        pass
    forwarder.close()
    assert differences(log, fleet_url, 1) == []


def test_a_connection_cut_in_the_middle_of_a_batch_leaves_nothing_of_it(
    log: Path, fleet_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a batch is no batch: links and rows come together or not at all."""
    forwarder = Forwarder(log, FleetAddress(fleet_url), Sender("one", log.parent, 20))
    forwarder.step()
    before = asked(fleet_url, "SELECT (SELECT count(*) FROM chain), (SELECT count(*) FROM decision_records)")
    whole = forwarding.add_links

    def add(connection: sa.Connection, *arguments: object) -> int:
        whole(connection, *arguments)
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        asked(fleet_url, f"SELECT pg_terminate_backend({pid})")
        return 0

    monkeypatch.setattr(forwarding, "add_links", add)
    with pytest.raises(StalledError):
        forwarder.step()
    assert asked(fleet_url, "SELECT (SELECT count(*) FROM chain), (SELECT count(*) FROM decision_records)") == before
    monkeypatch.setattr(forwarding, "add_links", whole)
    while forwarder.step().behind:
        pass
    forwarder.close()
    assert differences(log, fleet_url, 1) == []
