"""`scan --html`: a page that shows what a scan found, made by the command and read as a browser would."""

import json
from pathlib import Path

import pytest

from tests.e2e.daemon_process import command
from tests.helpers.images import blurred, jpeg, photo
from tests.unit.reporting.test_page import read

HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m.jpg"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Thirty images of two classes: blurred ones, one of a hostile name, one that is cut off."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
    for number in range(10):
        (folder / f"cat/{number}.jpg").write_bytes(jpeg(photo(280, 200, number)))
    for number in range(18):
        (folder / f"dog/{number}.jpg").write_bytes(jpeg(blurred(photo(280, 200, number), 4 + number / 10)))
    (folder / "dog" / HOSTILE).write_bytes(jpeg(blurred(photo(280, 200), 9)))
    (folder / "dog/cut.jpg").write_bytes(jpeg(photo(280, 200))[:1500])
    return folder


@pytest.mark.parametrize("move", [False, True])
def test_a_page_shows_what_was_rejected_and_why(data: Path, tmp_path: Path, *, move: bool) -> None:
    """Totals as in the summary, findings, a chart for each signal, and pictures of the worst and the nearest."""
    page = tmp_path / "page.html"
    where = ("--move", tmp_path / "filed") if move else ()
    made = command("scan", data, "--html", page, "--format", "json", "--workers", 2, *where)
    assert made.returncode == 0, made.stderr
    told, text = json.loads(made.stdout), page.read_text()
    shown = read(text).text
    assert (told["total"], told["rejected"]) == (30, 20)
    assert "<b>30</b>images judged" in text
    assert "Class 'dog': 20 of 20 images were rejected (100.0 %)" in shown
    assert text.count('<svg class="plot"') == 6
    assert 'href="#example-0"' in text
    of_reasons = {reason: min(16, images) for reason, images in told["reasons"].items()}
    assert of_reasons.pop("corrupt") == 1  # of which there is no picture
    assert text.count("data:image/jpeg;base64,") == sum(of_reasons.values())
    assert "no picture" in shown
    assert "dog/cut.jpg" in shown
    assert "dog/0.jpg" in shown  # the least blurred
    assert "<img src=x" not in text
    assert "\x1b" not in text
    assert "://" not in text


def test_an_earlier_page_stays_until_there_is_a_new_one(data: Path, tmp_path: Path) -> None:
    """A page of a scan is replaced by the next, a file of anybody else is not, and a folder without images has none."""
    page, empty = tmp_path / "page.html", tmp_path / "empty"
    empty.mkdir()
    assert command("scan", data, "--html", page).returncode == 0
    before = page.read_bytes()
    assert command("scan", empty, "--html", page).returncode == 66
    assert page.read_bytes() == before
    assert command("scan", data / "cat", "--html", page).returncode == 0
    assert page.read_bytes() != before
    page.write_text("<!doctype html><title>mine</title>")
    refused = command("scan", data, "--html", page)
    assert refused.returncode == 64
    assert "was not made by a scan" in refused.stderr
    assert page.read_text() == "<!doctype html><title>mine</title>"
    assert not list(tmp_path.glob(".imageguard*"))
