"""The figures of docs/performance.md are worked out, not written down."""

import re
from pathlib import Path

import pytest

from bench.scaling import Assumptions, effort, table

DOCUMENT = (Path(__file__).parents[3] / "docs/performance.md").read_text(encoding="utf-8")


def test_an_image_of_ten_milliseconds_takes_what_one_can_work_out_by_hand():
    """A million on one core that is always busy are 2.8 hours; on ten cores a tenth of that, at the same price."""
    given = Assumptions(10, 100, 1, 0.05, 0.0004, 300, busy=1.0)
    one = effort(10**6, given)
    assert one.core_hours == pytest.approx(2.777, abs=0.001)
    assert (one.cost, one.request_cost) == (pytest.approx(0.1389, abs=0.0001), pytest.approx(0.4))
    assert (one.megabytes_a_second, one.terabytes) == (pytest.approx(10), pytest.approx(0.1))
    assert (one.result_gigabytes, one.files) == (pytest.approx(0.3), 1000)
    ten = effort(10**6, Assumptions(10, 100, 10, 0.05, 0.0004, 300, busy=1.0))
    assert (ten.seconds, ten.cost) == (pytest.approx(one.seconds / 10), one.cost)


def test_the_tables_of_the_document_are_those_of_the_command():
    """Each table stands below the command that prints it, to the letter."""
    found = re.findall(r"`python -m bench\.scaling ([^`]*)`[^\n]*\n\n((?:\|[^\n]*\n)+)", DOCUMENT)
    assert len(found) >= 2
    for arguments, shown in found:
        words = dict(re.findall(r"--([a-z-]+) ([\d.]+)", arguments))
        given = Assumptions(
            milliseconds=float(words["milliseconds"]),
            kilobytes=float(words["kilobytes"]),
            cores=int(words.get("cores", 64)),
            price=float(words.get("price", 0.04)),
            request_price=float(words.get("request-price", 0.0004)),
            result_bytes=float(words.get("result-bytes", 190)),
        )
        assert shown.strip() == table(given)
