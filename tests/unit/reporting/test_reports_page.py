"""docs/reports.md shows what the command really prints."""

import io
import json
import re
from pathlib import Path

from rich.console import Console

from imageguard_daemon.audit.counts import Count, Dimension
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.rendering import as_dict, as_table
from imageguard_daemon.reporting.report import Report
from tests.helpers.reports import report_of

PAGE = (Path(__file__).parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
COUNTS = [
    Count(("lynx", "scraper"), "quarantined", "low_resolution", 34),
    Count(("lynx", "scraper"), "quarantined", "blurry", 5),
    Count(("lynx", "scraper"), "quarantined", "compressed", 2),
    Count(("lynx", "scraper"), "accepted", "", 7),
    Count(("cat", "studio"), "accepted", "", 57),
    Count(("cat", "studio"), "quarantined", "blurry", 3),
    Count(("dog", "studio"), "accepted", "", 51),
    Count(("dog", "studio"), "quarantined", "overexposed", 1),
    Count(("dog", "studio"), "quarantined", "blurry", 3),
]


def example(by: Dimension) -> Report:
    """Give the report that the page shows."""
    return report_of(COUNTS, by)


def test_the_table_on_the_page_is_real() -> None:
    """Who follows the page sees on the terminal what the page shows."""
    out = io.StringIO()
    Console(file=out, width=80, highlight=False, markup=False, emoji=False).print(as_table(example(Dimension.class_)))
    printed = "\n".join(line.rstrip() for line in out.getvalue().splitlines())
    assert printed in re.sub(r"^  Such as .*\n", "", PAGE, flags=re.MULTILINE)  # these counts have no images


def test_the_json_on_the_page_is_real() -> None:
    """Keys, order and numbers of the example are those of the program."""
    shown = re.search(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    assert _rounded(json.loads(shown[1])) == _rounded(as_dict(example(Dimension.source)))


def test_the_page_names_the_limits_in_force() -> None:
    """The defaults on the page are those of the settings."""
    settings = Reporting()
    assert f"`min_sample` ({settings.min_sample})" in PAGE
    for name in ("rejection_rate_limit", "class_rate_limit", "mostly_share"):
        assert f"`{name}` ({getattr(settings, name):.0%})".replace("%", " %") in PAGE


def _rounded(made: object) -> str:
    # The last digits of a logarithm differ from one C library to the next.
    return json.dumps(json.loads(json.dumps(made), parse_float=lambda digits: f"{float(digits):.6g}"))
