"""The report as one page: complete in itself, and harmless whatever names are in it."""

from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from imageguard_daemon.audit.counts import Count, Dimension, RecordedImage, Scope
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.page import as_html
from imageguard_daemon.reporting.report import EVERYTHING, Facts, Report, make_report
from imageguard_daemon.reporting.score_stats import BINS, NearThreshold, ScoreStats
from imageguard_daemon.reporting.templating import with_code
from tests.helpers.reports import report_of

NOW = datetime(2025, 3, 10, 12, tzinfo=UTC)
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style><style>*{display:none}",
    "{{ 7 * 7 }}",
    "&lt;b&gt;",
    "]]><svg onload=alert(1)>",
    "\u202egpj.exe",
    "\x1b[31m",
    "javascript:alert(1)",
)
JPEG = b"\xff\xd8\xff\xe0 made by ourselves"


class _Elements(HTMLParser):
    """Notes every element with its attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> _Elements:
    """Read a page as a browser does."""
    elements = _Elements()
    elements.feed(html)
    return elements


def report_with(name: str = "lynx") -> Report:
    """Give a report in which everything that has a name has this one."""
    by = (Dimension.class_, Dimension.reason)
    images = [Count((name, name, name), "quarantined", name, 40), Count((name, name, name), "accepted", "", 60)]
    other = Count(("cat", "studio", "Canon EOS R6"), "accepted", "", 500)
    days = [Count(("2025-03-01",), "quarantined", name, 40), Count(("2025-03-03",), "accepted", "", 60)]
    counts = {EVERYTHING: [*images, other], (Dimension.day,): days}
    histogram = np.zeros((6, BINS), np.int64)
    histogram[:, ::50] = 7
    near = NearThreshold(7, "blur_score", 39.9, 40.0)
    score_stats = ScoreStats(histogram, {"blur_score": 40.0}, (), (near,), {name: (7, 8)})
    recorded = {
        number: RecordedImage(number, "", name, name, f"{name}/{number}.jpg", "", "", "quarantined", name, name)
        for number in (7, 8)
    }
    return make_report(by, Scope(class_name=name), Facts(counts, None, score_stats, recorded), Reporting())


def test_a_page_has_all_its_parts() -> None:
    """Figures, findings, both charts over time, heat map, six distributions, examples, groups and near misses."""
    page = read(as_html(report_with(), {7: JPEG}, NOW))
    for heading in (
        "Findings",
        "Rejections over time",
        "Classes and reasons",
        "Score distributions",
        "Examples",
        "By class and reason",
        "Nearest to a threshold",
    ):
        assert heading in page.text
    charts = [attributes for tag, attributes in page.seen if tag == "svg" and attributes.get("class") == "plot"]
    assert len(charts) == 2 + 6
    assert "Distribution of blur scores, threshold 40" in page.text
    assert len({attributes["aria-labelledby"] for attributes in charts}) == len(charts)
    assert "Look at" in page.text
    assert "no picture" in page.text  # of the second example there is none


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_nothing_else(name: str) -> None:
    """A class, source, camera, reason or path that is HTML, a template or an escape is shown, never followed."""
    page = read(as_html(report_with(name), {7: JPEG}, NOW))
    ordinary = read(as_html(report_with("a name"), {7: JPEG}, NOW))
    assert [tag for tag, _ in page.seen if tag != "wbr"] == [tag for tag, _ in ordinary.seen if tag != "wbr"]
    assert not {name for _, attributes in page.seen for name in attributes if name.startswith("on")}
    assert page.text.count("7 * 7") == (0 if "7" not in name else page.text.count("{{ 7 * 7 }}"))
    assert not {"\x1b", "\u202e"} & set(page.text)


def test_a_page_needs_nothing_from_elsewhere() -> None:
    """No script, no address but places and pictures in the page itself; a policy forbids the rest."""
    html = as_html(report_with(), {7: JPEG}, NOW)
    page = read(html)
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in page.seen}
    addresses = {
        attributes[key] for _, attributes in page.seen for key in ("src", "href", "xlink:href") if key in attributes
    }
    assert all(str(address).startswith(("data:image/jpeg;base64,", "#example-")) for address in addresses)
    assert "://" not in html
    [policy] = [
        a["content"] for tag, a in page.seen if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_a_log_without_decisions_gives_a_page_that_says_so() -> None:
    """Nothing judged is an answer: one sentence, no chart and no error."""
    page = read(as_html(report_of([]), {}, NOW))
    assert "No decisions in the whole log." in page.text
    assert "svg" not in {tag for tag, _ in page.seen}


def test_a_log_without_rejections_gives_a_page() -> None:
    """Everything accepted: figures and groups, and no chart of what is not there."""
    page = read(as_html(report_of([Count(("cat", "studio"), "accepted", "", 30)]), {}, NOW))
    assert "None: nothing stands out beyond chance." in page.text
    assert "Rejections over time" not in page.text


def test_bars_lead_to_pictures_of_what_they_count() -> None:
    """A bar of a reason leads to its first picture, as does a score below the threshold; every such place is there."""
    report = report_with("blurry")
    page = read(as_html(report, {7: JPEG}, NOW))
    places = [attributes["href"] for tag, attributes in page.seen if tag == "a"]
    assert {attributes["id"] for _, attributes in page.seen if str(attributes.get("id")).startswith("example")} == {
        "example-0",
        "example-1",
    }
    lower = report.score_stats.histogram[0, :400]  # in the page a bar has two points
    below = sum(1 for at in range(0, 400, 20) if lower[at : at + 20].any())
    assert places == ["#example-0"] * (1 + 1 + below)  # legend, bar, scores


def test_commands_in_findings_are_shown_as_such() -> None:
    """No marks of how a text was written are left, and what is HTML in it stays text."""
    assert with_code("Run `report <x>` & see") == "Run <code>report &lt;x&gt;</code> &amp; see"
    assert with_code("`scan --since 7d`") == "<code>scan <span>--since</span> 7d</code>"
