"""The HTML report in a real browser: many reasons, long names, from a phone to a wide screen, in the dark, on paper."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.model import ISSUES
from imageguard_daemon.reporting.page import as_html
from imageguard_daemon.reporting.query import report_on
from tests.helpers.audit_logs import Judged, write_log

AXE = Path(__file__).parents[1] / "data/axe-core-4.14.1.min.js"
CHROMIUM = shutil.which("chromium")
NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
LONG_NAME = "a_class_whose_name_is_as_long_as_some_datasets_have_them_" * 3
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian package chromium)")


_LABELS = """chart => [...chart.querySelectorAll("text")].filter(one => getComputedStyle(one).display !== "none")
    .map(one => one.getBoundingClientRect()).map(one => [one.left, one.right, one.top, one.bottom])"""
_SPILLED = """charts => charts.filter(chart => [...chart.querySelectorAll("rect")].some(bar =>
    bar.getBoundingClientRect().bottom > chart.getBoundingClientRect().bottom + 1)).map(one => one.outerHTML)"""


def _overlap(one, other):
    return one[0] < other[1] and other[0] < one[1] and one[2] + 2 < other[3] and other[2] + 2 < one[3]


def _page(folder, days, names=("cat", "wild boar", LONG_NAME)):
    """Write a report on images of three classes, rejected for every reason there is."""
    batches = [
        Judged(name, reason, 5, "default", decided_at=NOW - timedelta(days=day), exposure=(90.0, 90.0))
        for day in days
        for name in names
        for reason in ("", *ISSUES)
    ]
    write_log(folder / "audit.db", batches)
    with open_log(folder / "audit.db") as log:
        report = report_on(log, (Dimension.class_,), Scope(), Reporting(), NOW)
    (folder / "report.html").write_text(as_html(report, {}, NOW), encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        started.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A report of a month."""
    return _page(tmp_path_factory.mktemp("report"), range(30))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 800, 1440])
def test_nothing_is_cut_off_or_hard_to_read(browser, address, width, scheme):
    """The page never scrolls sideways, rows stay rows, words stay whole, the legend has all reasons, axe is content."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heights = page.locator(".heat tbody tr, .heat > tr").evaluate_all("rows => rows.map(row => row.offsetHeight)")
    assert max(heights) < 340  # that of a name of 170 letters; no other is higher than a line or two
    assert sorted(heights)[-2] < 60
    legend = page.locator(".chart .legend").first.text_content()
    assert all(reason in legend for reason in ISSUES)
    labels = [chart.evaluate(_LABELS) for chart in page.locator(".plot").all()]
    assert len(labels) == 8
    for texts in labels:
        assert len(texts) > 5
        assert all(left >= 0 and right <= width for left, right, _, _ in texts)
        assert [pair for pair in combinations(texts, 2) if _overlap(*pair)] == []
    assert page.locator(".plot").evaluate_all(_SPILLED) == []
    boxes = page.locator(".heat th.reason").evaluate_all("cells => cells.map(cell => cell.offsetHeight)")
    assert max(boxes) < 160
    assert min(page.locator(".heat th.reason").evaluate_all("cells => cells.map(cell => cell.offsetWidth)")) >= 18
    page.add_script_tag(path=str(AXE))
    found = page.evaluate(
        "axe.run().then(result => result.violations.map(one => [one.impact, one.id, one.nodes[0].html]))"
    )
    assert [one for one in found if one[0] in {"serious", "critical"}] == []
    context.close()


def test_names_without_a_space_break_on_a_phone(browser, tmp_path):
    """A class of any name breaks wherever it stands, be it in words that no report has yet."""
    context = browser.new_context(viewport={"width": 390, "height": 900})
    page = context.new_page()
    page.goto(_page(tmp_path, range(3), ("cat", "x" * 200)))
    added = (
        "for (const one of ['h1', 'h2', 'h3', 'li', 'div', 'code']) document.body.append(document.createElement(one))"
    )
    page.evaluate(f"{added}; [...document.body.children].slice(-6).forEach(one => one.textContent = 'y'.repeat(300))")
    assert page.evaluate("document.scrollingElement.scrollWidth") <= 390
    context.close()


def test_a_single_day_is_drawn(browser, tmp_path):
    """One bucket has its bar and its dot."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(_page(tmp_path, [0]))
    assert page.locator(".plot").first.locator("rect").count() == len(ISSUES)
    assert page.locator(".plot circle").count() == 1
    page.locator(".plot a").first.click()
    assert page.locator("figure:target").is_visible()
    context.close()


def test_paper_has_all_of_it(browser, address):
    """Printed, nothing lies beyond the edge, and what was rolled up is there."""
    context = browser.new_context(viewport={"width": 794, "height": 1123})
    page = context.new_page()
    page.goto(address)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth") <= 794
    assert page.pdf(format="A4")[:4] == b"%PDF"
    context.close()
