"""Any single change of the log is found, whatever it is."""

import itertools
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from imageguard_daemon.audit.chain import ORIGIN, link_hash
from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.opening import open_log_for_checking
from imageguard_daemon.audit.schema import CHAINED, metadata
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.tampering import tamper

TABLES = ("decision_records", "intents", "outcomes", "chain")
COLUMNS = [(table, column.name) for table in TABLES for column in metadata.tables[table].columns]
VALUES = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(), st.binary())
NUMBERS = itertools.count()
ROWS = st.dictionaries(st.text(min_size=1), st.one_of(st.none(), VALUES), max_size=4)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of four images."""
    return write_log(tmp_path_factory.mktemp("log") / "audit.db", [Judged(images=3), Judged(reason="blurry")])


def fresh_copy(original: Path, folder: Path) -> Path:
    """Give a copy under a name that no WAL of an earlier example has."""
    copy = folder / f"{next(NUMBERS)}.db"
    shutil.copy(original, copy)
    return copy


def found(path: Path) -> str:
    """Give all that the check says."""
    with open_log_for_checking(path) as log:
        return "; ".join(f"{fault.record}: {fault.what}" for fault in ChainCheck(log).faults())


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(COLUMNS), number=st.integers(0, 3), value=VALUES)
def test_any_changed_value_is_found(
    original: Path, tmp_path: Path, place: tuple[str, str], number: int, value: object
) -> None:
    """No value in any column of any row can be changed unseen, and the row is named."""
    table, column = place
    copy = fresh_copy(original, tmp_path)
    before = contents(copy)
    key = "sequence" if table == "chain" else "id"
    row = f"(SELECT {key} FROM {table} ORDER BY {key} LIMIT 1 OFFSET {number})"
    try:
        tamper(copy, f"UPDATE {table} SET {column} = ? WHERE {key} = {row}", parameters=(value,))
    except (sqlite3.IntegrityError, UnicodeEncodeError):
        assume(False)
    assume(contents(copy) != before)
    said = found(copy)
    assert said
    if table != "chain" and column != "id":
        assert f"{table} {number + 1}" in said


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Give every row, with the types SQLite stored."""
    connection = sqlite3.connect(path)
    connection.text_factory = lambda text: ("text", text)
    rows = {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}
    connection.close()
    return rows


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=st.sampled_from(TABLES), number=st.integers(0, 3))
def test_any_removed_row_is_found(original: Path, tmp_path: Path, table: str, number: int) -> None:
    """No row can be taken out unseen, the last ones neither."""
    copy = fresh_copy(original, tmp_path)
    key = "sequence" if table == "chain" else "id"
    direction = "DESC" if number % 2 else "ASC"
    row = f"(SELECT {key} FROM {table} ORDER BY {key} {direction} LIMIT 1 OFFSET {number})"
    tamper(copy, f"DELETE FROM {table} WHERE {key} = {row}")
    assert found(copy)


@given(one=ROWS, other=ROWS, table=st.sampled_from(CHAINED))
def test_different_rows_have_different_links(one: dict[str, object], other: dict[str, object], table: str) -> None:
    """No two contents are written as the same bytes, however names and values are cut."""

    def stored(row: dict[str, object]) -> dict[str, tuple[type, object]]:
        return {name: (type(value), repr(value)) for name, value in row.items() if value is not None}

    try:
        same = link_hash(ORIGIN, 1, table, one) == link_hash(ORIGIN, 1, table, other)
    except UnicodeEncodeError:  # a lone surrogate, which SQLite cannot hold
        assume(False)
    assert same == (stored(one) == stored(other))
