"""A report as people and programs get to see it."""

import csv
import io
import json

import pytest
from rich.console import Console

from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.rendering import as_csv, as_dict, as_table
from imageguard_daemon.reporting.report import Report
from imageguard_daemon.reporting.text import limit_percent, percent, shown
from tests.helpers.reports import report_of

FINDING_KEYS = {
    *("kind", "subject", "message", "sentence", "look_at", "sample_size", "evidence"),
    *("excess", "since", "until", "where", "example", "command"),
}


def report_on(*classes: tuple[str, int, int], by: Dimension = Dimension.class_, scope: Scope | None = None) -> Report:
    """Give a report on classes of so many images of which so many were blurry."""
    counts = []
    for name, total, rejected in classes:
        counts += [Count((name, "default"), "accepted", "", total - rejected)] if total > rejected else []
        counts += [Count((name, "default"), "quarantined", "blurry", rejected)] if rejected else []
    return report_of(counts, by, scope=scope, settings=Reporting(min_sample=20))


def printed(report: Report, width: int = 80, terminal: bool = False) -> str:
    """Give what a terminal or pipe of this width gets."""
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False).print(
        as_table(report)
    )
    return out.getvalue()


def test_the_dictionary_has_the_documented_keys() -> None:
    """Programs find totals, rate, reasons, groups and findings under their names."""
    made = as_dict(report_on(("dog", 40, 36), ("cat", 60, 3)))
    assert (made["total"], made["accepted"], made["quarantined"]) == (100, 61, 39)
    assert made["rejection_rate"] == pytest.approx(0.39)
    assert made["reasons"] == {"blurry": 39}
    whereabouts = {"released", "rejected_by_people", "purged", "in_quarantine"}
    assert set(made["groups"][0]) == {"key", "total", "rejected", "rate", "low", "high", "top_reason"} | whereabouts
    assert all(set(finding) == FINDING_KEYS for finding in made["findings"])


def test_an_empty_log_is_an_answer_and_no_error() -> None:
    """Nothing judged: zeros for programs, a header for spreadsheets, a sentence for people."""
    empty = report_on()
    made = as_dict(empty)
    assert (made["total"], made["rejection_rate"], made["groups"], made["findings"]) == (0, 0.0, [], [])
    assert as_csv(empty) == "key,total,rejected,rate,low,high,top_reason\n"
    assert printed(empty).startswith("No decisions in the whole log.")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\uff1d"])
def test_no_cell_is_a_live_formula(start: str) -> None:
    """A class named like a formula stays text in a spreadsheet."""
    [row] = csv.DictReader(io.StringIO(as_csv(report_on((f"{start}1+1", 5, 1)))))
    assert row["key"].startswith("'")


def test_csv_survives_commas_and_quotes() -> None:
    """A reader of CSV gets names back as they are in the log."""
    [row] = csv.DictReader(io.StringIO(as_csv(report_on(('a,"b"', 5, 1)))))
    assert row["key"] == 'a,"b"'


def test_images_without_a_class_are_named_for_people_and_empty_for_programs() -> None:
    """The table says (none) where JSON has an empty key."""
    report = report_on(("", 5, 1))
    assert "(none)" in printed(report)
    assert as_dict(report)["groups"][0]["key"] == ""


@pytest.mark.parametrize("name", ["[red]x[/red]", "[/]", ":cat:", "[link=http://x]y[/link]", "\\[b]"])
def test_markup_in_a_name_is_text(name: str) -> None:
    """A name that looks like the table library's markup is printed letter by letter, in table and findings."""
    assert printed(report_on((name, 40, 36), ("cat", 60, 3)), width=200).count(name) >= 2


@pytest.mark.parametrize("terminal", [True, False])
def test_a_name_cannot_steer_the_terminal(terminal: bool) -> None:
    """Escapes in a log that somebody else wrote are shown, not sent."""
    text = printed(report_on(("\x1b[2J\x07\u202ex", 40, 36)), terminal=terminal)
    assert "\x1b[2J" not in text
    assert not {"\x07", "\u202e"} & set(text)
    assert "\x1b[2J" not in as_csv(report_on(("\x1b[2J", 40, 36)))


def test_a_pipe_gets_plain_text() -> None:
    """Without a terminal there is no colour and no letter beyond ASCII that is not in a name."""
    text = printed(report_on(("dog", 40, 36), ("cat", 60, 3)))
    assert text.isascii()
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("by", [Dimension.class_, Dimension.reason, Dimension.source])
def test_no_line_is_wider_than_the_terminal(width: int, by: Dimension) -> None:
    """Long names are folded and sentences wrapped; every number stays whole."""
    report = report_on(("a" * 255, 12_345_678, 12_000_000), ("\u732b" * 80, 9_999, 3), by=by)
    text = printed(report, width)
    assert max(map(len, text.splitlines())) <= width
    assert "12,345,678" in text


def test_numbers_line_up_on_the_right() -> None:
    """Counts of different length end in the same column."""
    lines = printed(report_on(("dog", 1_000, 400), ("cat", 60, 3))).splitlines()
    dog, cat = (next(line for line in lines if line.startswith(name)) for name in ("dog", "cat"))
    assert dog.index("1,000") + len("1,000") == cat.index("60") + len("60")


def test_above_the_limit_by_chance_is_said_to_be_that() -> None:
    """A rate above the limit that gives no finding is not passed over in silence."""
    remark = "above the limit of 20 %, but that may be chance"
    assert remark in printed(report_on(("cat", 100, 22)))
    assert remark not in printed(report_on(("cat", 100, 35)))
    assert remark not in printed(report_on(("cat", 100, 20)))


def test_the_scope_is_part_of_the_report() -> None:
    """A report on a part of the log says on which."""
    scope = Scope(source="studio", class_name="")
    assert "from source 'studio', without a class" in printed(report_on(("", 5, 1), scope=scope))
    made = as_dict(report_on(("", 5, 1), scope=scope))
    assert (made["since"], made["source"], made["class"]) == (None, "studio", "")


def test_json_has_no_number_that_json_does_not_know() -> None:
    """What is written is valid JSON even for rates at the ends."""
    for classes in ((), (("a", 1, 0),), (("a", 1, 1),)):
        json.loads(json.dumps(as_dict(report_on(*classes)), allow_nan=False))


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.0, "0.0 %"),
        (0.0004, "<0.1 %"),
        (0.123, "12.3 %"),
        (0.9999, ">99.9 %"),
        (1.0, "100.0 %"),
    ],
)
def test_a_rounded_rate_never_claims_none_or_all(rate: float, text: str) -> None:
    """One image of ten thousand is not 0 %."""
    assert percent(rate) == text


def test_limits_read_as_they_were_set() -> None:
    """A limit of 0.2 is 20 %, of 0.125 is 12.5 %."""
    assert [limit_percent(limit) for limit in (0.2, 0.07, 0.125)] == ["20 %", "7 %", "12.5 %"]


def test_an_escaped_name_is_not_escaped_again() -> None:
    """A name appears in a report exactly as in the log."""
    assert shown(r"caf\xe9 \\") == r"caf\xe9 \\"
