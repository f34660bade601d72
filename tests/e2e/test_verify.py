"""The real `verify` on what the real daemon filed."""

import csv
import hashlib
import io
import json
import os
import sqlite3

from tests.e2e.daemon_process import command
from tests.helpers.images import jpeg, photo
from tests.helpers.tampering import tamper


def filed(ingest, count=3):
    """Give a root in which the daemon has filed some images."""
    made = ingest()
    for number in range(count):
        made.put(f"cat/{number}.jpg", jpeg(photo(320, 240, seed=number)))
    command("run", "--config", made.config_file, "--once")
    assert len(made.decisions()) == count
    return made


def verify(made, *options):
    """Verify a root."""
    return command("verify", "--config", made.config_file, *options)


def test_a_sound_root_exits_0_and_says_its_head(ingest):
    """Nothing wrong: exit code 0, and the head printed is part of the chain ever after."""
    made = filed(ingest)
    result = verify(made)
    assert (result.returncode, result.stderr) == (0, "")
    assert "nothing wrong was found" in result.stdout
    head = json.loads(verify(made, "--format", "json").stdout)["head"]
    assert head in result.stdout.replace("\n", "")
    made.put("cat/new.jpg", jpeg(photo(320, 240, seed=9)))
    command("run", "--config", made.config_file, "--once")
    assert verify(made, "--expect-head", head).returncode == 0
    assert verify(made, "--expect-head", hashlib.sha256().hexdigest()).returncode == 65
    assert verify(made, "--expect-head", "soon").returncode == 64


def test_every_kind_is_told_in_every_format(ingest):
    """Exit code 65, and table, JSON and CSV agree on what is wrong; hostile names steer nothing."""
    made = filed(ingest)
    first, second, _ = (made.root / row["destination"] for row in made.decisions())
    first.unlink()
    second.write_bytes(b"changed")
    (made.accepted / os.fsdecode(b"=1+1\n\x1b[31m\xff")).write_bytes(b"x")
    tamper(made.root / "audit.db", "UPDATE decision_records SET score = 0.123 WHERE id = 3")
    result = verify(made, "--format", "json")
    assert result.returncode == 65
    found = json.loads(result.stdout)
    assert {kind for kind, count in found["counts"].items() if count} == {"missing", "changed", "foreign", "tampered"}
    rows = list(csv.DictReader(io.StringIO(verify(made, "--format", "csv").stdout)))
    assert [row["kind"] for row in rows] == [one["kind"] for one in found["discrepancies"]]
    assert all(row["advice"] for row in rows)
    text = verify(made).stdout
    assert "decision_records 3" in text
    assert "\x1b" not in text
    assert r"\u000a\u001b[31m\xff" in text.replace("\n", "").replace(" ", "")


def test_repair_records_a_moved_file_but_not_beside_a_daemon(ingest):
    """While the daemon holds its lock a repair is refused; afterwards it is a record, and the root is sound."""
    made = filed(ingest)
    old = made.root / made.decisions()[0]["destination"]
    old.rename(old.with_name("renamed.jpg"))
    made.start()
    refused = verify(made, "--repair")
    assert refused.returncode == 75
    assert "another daemon" in refused.stderr
    assert verify(made).returncode == 65
    made.stop()
    assert verify(made, "--repair").returncode == 0
    assert verify(made).returncode == 0
    connection = sqlite3.connect(made.root / "audit.db")
    assert connection.execute("SELECT count(*) FROM relocations").fetchone() == (1,)
    connection.close()


def test_verifying_beside_a_working_daemon_finds_nothing(ingest):
    """Files on the move are no discrepancies."""
    made = ingest()
    made.start()
    for number in range(60):
        made.put(f"cat/{number}.jpg", jpeg(photo(160, 120, seed=number)))
    results = []
    while len(made.decisions()) < 60:
        results.append(verify(made))
    assert results
    assert {(result.returncode, result.stderr) for result in results} == {(0, "")}
    made.stop()


def test_a_copy_of_the_log_can_be_verified_alone(ingest, tmp_path):
    """`--db` checks chain and filed files; without a root it does not search folders, and says so."""
    made = filed(ingest)
    copy = tmp_path / "copy.db"
    copy.write_bytes((made.root / "audit.db").read_bytes())
    (made.accepted / "foreign").write_bytes(b"x")
    result = command("verify", "--db", copy)
    assert result.returncode == 0
    assert "Not searched" in result.stdout
    assert verify(made, "--db", copy).returncode == 65
    assert verify(made, "--db", copy, "--repair").returncode == 64


def test_without_its_folders_or_log_nothing_is_concluded(ingest, tmp_path):
    """An unmounted destination or a missing log is no million of missing files, but exit code 66."""
    made = filed(ingest)
    made.accepted.rename(tmp_path / "unmounted")
    assert verify(made).returncode == 66
    (tmp_path / "unmounted").rename(made.accepted)
    assert command("verify", "--db", tmp_path / "none.db").returncode == 66
    (made.root / "audit.db").unlink()
    assert verify(made, "--repair").returncode == 66
    assert not (made.root / "audit.db").exists()
