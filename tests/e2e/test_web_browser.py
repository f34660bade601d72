"""The pages in a real browser: readable without script, reachable by keyboard, and without serious faults for axe."""

import os
import re
import shutil
import socket
import subprocess
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.daemon_process import COMMAND, wait_until
from tests.helpers.images import blurred, jpeg, photo
from tests.helpers.rejections import Rejections

AXE = Path(__file__).parents[1] / "data/axe-core-4.14.1.min.js"
CHROMIUM = shutil.which("chromium")
PAGES = ("/", "/quarantine", "/decisions/1", "/check", "/thresholds", "/api", "/review?ids=1")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian package chromium)")


@pytest.fixture
def rejections(tmp_path):
    """A root with two rejected images, one with a hostile name."""
    made = Rejections(tmp_path / "root")
    made.file("cat/<img src=x onerror=alert(1)>.jpg", jpeg(blurred(photo(), 4)))
    made.file("cat/2.jpg", jpeg(photo(seed=2)))
    made.close()
    return made


@pytest.fixture
def address(rejections):
    """The real command serving that root."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen([*COMMAND, "web", str(rejections.root), "--port", str(port)], stderr=subprocess.DEVNULL)

    def answers():
        with suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5).status == 200

    try:
        wait_until(answers, "the server to answer")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def browser():
    """Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        started.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_serious_fault_for_axe_and_fit_a_phone(address, browser, scheme):
    """Contrast, labels, roles and names are right in both colour schemes, and nothing is wider than a phone."""
    page = browser.new_context(bypass_csp=True, color_scheme=scheme, viewport={"width": 390, "height": 800}).new_page()
    for path in PAGES:
        page.goto(address + path)
        page.add_script_tag(path=str(AXE))
        found = page.evaluate("axe.run().then(result => result.violations.map(one => [one.impact, one.id]))")
        assert [one for one in found if one[0] in {"serious", "critical"}] == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_an_image_is_released_and_taken_back_without_script(address, browser, rejections):
    """Select, count, release and undo work with JavaScript off."""
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(f"{address}/quarantine")
    page.locator("input[name=ids][value='2']").check()
    page.get_by_role("button", name="Release selected").click()
    assert page.locator("h1").inner_text() == "Release 1 image?"
    page.get_by_role("button", name=re.compile("^Release 1")).click()
    assert page.locator("h1").inner_text() == "1 released"
    assert (rejections.accepted / "cat/2.jpg").exists()
    page.get_by_role("button", name="Undo").click()
    page.get_by_role("button", name=re.compile("^Undo 1")).click()
    assert (rejections.quarantine / "cat/2.jpg").exists()


def test_nothing_breaks_the_policy_and_hostile_names_run_nothing(address, browser):
    """No page opens a dialogue, writes an error to the console or asks another host; thresholds answer to a slider."""
    page = browser.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("request", lambda request: None if request.url.startswith(address) else told.append(request.url))
    for path in PAGES:
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
    page.goto(f"{address}/thresholds")
    page.locator("#blur_score").fill("90")
    page.locator("#effect pre", has_text="blur_score: 90").wait_for()
    assert told == []
