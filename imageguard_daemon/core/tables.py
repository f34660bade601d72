"""Rows of a table as CSV, harmless to spreadsheets and terminals."""

import csv
import io
from collections.abc import Iterable, Sequence

from imageguard_daemon.core.names import harmless, inert


def csv_text(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Give rows under a header. Cells are written as they are: texts that others have chosen go through `safe_cell`."""
    return "".join(map(csv_line, (columns, *rows)))


def csv_line(cells: Iterable[object]) -> str:
    """Give one row, with its end."""
    line = io.StringIO()
    # By the end that it is told, the writer knows what to quote: a lone carriage return would end a row for others.
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return f"{line.getvalue()[:-2]}\n"


def safe_cell(content: object) -> object:
    """Make a text harmless to a spreadsheet, which would run a formula; numbers stay as they are."""
    if not isinstance(content, str) or not content:
        return content
    return harmless(inert(content))
