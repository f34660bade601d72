"""What speed is measured with is what it says: images that differ, and a log like one that has grown."""

import io
import sqlite3
from pathlib import Path

from PIL import Image

from bench.full_log import fill_log
from bench.pictures import Pictures, name
from imageguard_daemon.audit.writer import AuditWriter
from tests.helpers.images import jpeg, photo


def test_every_file_is_different_and_an_image(tmp_path: Path) -> None:
    """A comment tells copies of a scene apart; equal numbers give equal files."""
    supply = Pictures((jpeg(photo(32, 24)), jpeg(photo(32, 24, seed=1))))
    assert len({supply[number] for number in range(50)}) == 50
    assert supply[7] == supply[7]
    assert Image.open(io.BytesIO(supply[1_234_567])).size == (32, 24)
    supply.fill(tmp_path, range(998, 1002))
    assert (tmp_path / name(1001)).read_bytes() == supply[1001]


def test_a_filled_log_is_one_that_the_writer_goes_on_with(tmp_path: Path) -> None:
    """It has its rows, its indexes and its triggers, shows its images, and has no unfinished intent."""
    assert fill_log(tmp_path / "audit.db", tmp_path, 300) == 100
    fresh, filled = tmp_path / "fresh.db", tmp_path / "audit.db"
    AuditWriter(fresh, tmp_path).close()
    writer = AuditWriter(filled, tmp_path)
    assert writer.unfinished() == []
    writer.close()
    schemas = []
    for file in (fresh, filled):
        connection = sqlite3.connect(file)
        schemas.append(set(connection.execute("SELECT type, name, sql FROM sqlite_master")))
        images = connection.execute("SELECT count(*), count(DISTINCT sha256) FROM decisions").fetchone()
        connection.close()
    assert schemas[0] == schemas[1]
    assert images == (100, 100)
