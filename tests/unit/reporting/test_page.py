"""The report as one page: complete in itself, and harmless whatever names are in it."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest

from imageguard_daemon.audit.counts import Count, Dimension, RecordedImage, Scope
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.charts import rejections_over_time
from imageguard_daemon.reporting.page import as_html
from imageguard_daemon.reporting.report import EVERYTHING, Facts, Report, make_report
from imageguard_daemon.reporting.survey import BINS, Near, Survey
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
    near = Near(7, "blur_score", 39.9, 40.0)
    survey = Survey(histogram, {"blur_score": 40.0}, (), (near,), {name: (7, 8)})
    recorded = {
        number: RecordedImage(number, "", name, name, f"{name}/{number}.jpg", "", "", "quarantined", name, name)
        for number in (7, 8)
    }
    return make_report(by, Scope(class_name=name), Facts(counts, None, survey, recorded), Reporting())


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
    labels = [attributes.get("aria-label", "") or "" for tag, attributes in page.seen if tag == "svg"]
    assert len(labels) == 3 + 6  # one of the two over time twice: for wide pages and for phones
    assert "Distribution of blur scores, threshold 40" in labels
    assert "Look at" in page.text
    assert "no picture" in page.text  # of the second example there is none


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_and_nothing_else(name: str) -> None:
    """A class, source, camera, reason or path that is HTML, a template or an escape is shown, never followed."""
    page = read(as_html(report_with(name), {7: JPEG}, NOW))
    ordinary = read(as_html(report_with("a name"), {7: JPEG}, NOW))
    assert [tag for tag, _ in page.seen] == [tag for tag, _ in ordinary.seen]
    assert not {name for _, attributes in page.seen for name in attributes if name.startswith("on")}
    assert page.text.count("7 * 7") == (0 if "7" not in name else page.text.count("{{ 7 * 7 }}"))
    assert not {"\x1b", "\u202e"} & set(page.text)


def test_a_page_needs_nothing_from_elsewhere() -> None:
    """No script, no link, no address but name spaces and pictures in the page itself; a policy forbids the rest."""
    html = as_html(report_with(), {7: JPEG}, NOW)
    page = read(html)
    assert not {"script", "link", "iframe", "object", "form", "base"} & {tag for tag, _ in page.seen}
    addresses = {
        attributes[key] for _, attributes in page.seen for key in ("src", "href", "xlink:href") if key in attributes
    }
    assert all(str(address).startswith("data:image/jpeg;base64,") for address in addresses)
    assert set(re.findall(r"https?://[^\s\"'<>)]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
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


def test_days_without_images_are_gaps_and_long_times_are_weeks() -> None:
    """The axis of time is even: an empty day has its place, and a year is shown by weeks that begin on Monday."""
    from imageguard_daemon.reporting.page import _gapless
    from imageguard_daemon.reporting.tallies import Tally

    short = _gapless({"2025-03-01": Tally(5), "2025-03-04": Tally(7, {"blurry": 1})})
    assert [one.total for one in short.values()] == [5, 0, 0, 7]
    year = _gapless({"2025-01-01": Tally(5), "2025-12-31": Tally(7, {"blurry": 1})})
    assert (len(year), next(iter(year)), sum(one.total for one in year.values())) == (*(53, "2024-12-30 (part)", 12),)
    assert list(year)[1] == "2025-01-06"
    assert list(year)[-1] == "2025-12-29 (part)"
    hours = {"2025-03-01T08": Tally(1), "2025-03-01T07": Tally(2)}
    assert list(_gapless(hours)) == sorted(hours)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ((1, 0), ["0", "1"]),
        ((3, 4), ["0", "2", "4", "6", "8"]),
        ((0, 26_000), ["0", "10,000", "20,000", "30,000"]),
        ((0, 0), ["0"]),
    ],
)
def test_charts_count_whole_images(images: tuple[int, int], labels: list[str]) -> None:
    """There is no half of an image beside the bars, and large numbers can be read."""
    chart = rejections_over_time(["2025-03-01"], {"blurry": [images[0]], "noisy": [images[1]]})
    axis = re.search(r'<g class="axis y.*?</g></g>', chart, re.DOTALL)
    assert re.findall(r"<text[^>]*>([0-9.,]+)</text>", axis[0] if axis else "") == labels
