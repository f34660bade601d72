"""Rows as CSV."""

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.core.tables import csv_text, safe_cell


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=2, max_size=2)))
def test_what_is_written_is_what_is_read(rows: list[list[str]]) -> None:
    """Delimiters, quotes and line ends of any system in a cell end neither the cell nor the row."""
    assert list(csv.reader(io.StringIO(csv_text(["a", "b"], rows), newline=""), strict=True)) == [["a", "b"], *rows]


def test_cells_do_nothing_in_a_spreadsheet_or_a_terminal() -> None:
    """A formula gets an apostrophe, what steers a terminal is escaped; numbers and nothing stay as they are."""
    assert [safe_cell(content) for content in ("=1+1", "\x1b[2J", -1.5, None, "", "cat")] == [
        "'=1+1",
        "\\u001b[2J",
        -1.5,
        None,
        "",
        "cat",
    ]
