"""The pages in a real browser: every page and action, by pointer, keyboard and without script; axe; the API's schema.

One daemon's log, one server and one browser serve all of them; each test acts on images of its own class.
"""

import base64
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from imageguard_daemon import PRESETS
from tests.e2e.daemon_process import COMMAND, Ingest, command, wait_until
from tests.helpers.images import blurred, exposed, jpeg, noisy, photo

AXE = Path(__file__).parents[1] / "data/axe-core-4.14.1.min.js"
CHROMIUM = shutil.which("chromium")
HOSTILE = "evil/<img src=x onerror=alert(1)>.jpg"
PAGES = (
    *(
        "/",
        "/quarantine?order=nearest&state=all",
        "/accepted",
        "/accepted?since=1d&order=borderline",
        "/check",
        "/thresholds",
        "/api",
    ),
    *(
        "/decisions/{hostile}",
        "/decisions/{broken}",
        "/review?which=matching&class_name=evil",
        "/review?ids=999",
        "/no/such/page",
    ),
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian package chromium)")


def _images():
    soft = jpeg(blurred(photo(), 4))
    yield HOSTILE, soft
    yield "evil/broken.jpg", b"\xff\xd8\xff\xe0 no image"
    for name in ("script", "keys", "bulk"):
        for number in range(3):
            yield f"{name}/{number}.jpg", jpeg(blurred(photo(seed=number), 3.5 + number))
    for number in range(4):
        yield f"hour/{number}.jpg", jpeg(blurred(photo(seed=number), 4))
    for number in range(30):
        yield f"many/{number}.jpg", b"no image %d" % number
    for number in range(180):
        yield f"scattered/{number}.jpg", b"no image at all %d" % number
    yield "kinds/noisy.jpg", jpeg(noisy(photo(), 40))
    yield "kinds/dark.jpg", jpeg(exposed(photo(), -6))
    yield "kinds/good.jpg", jpeg(photo(seed=9))
    for number in range(5):
        yield f"fine/{number}.jpg", jpeg(photo(seed=20 + number))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A root whose images a real daemon has judged."""
    ingest = Ingest(tmp_path_factory.mktemp("pages") / "root", intake={"settle_seconds": 0.1})
    for name, data in _images():
        ingest.put(name, data)
    assert command("run", "--once", "--config", ingest.config_file).returncode == 0
    return ingest


@pytest.fixture(scope="module")
def numbers(root):
    """The decisions by path."""
    return {row["relative_path"]: row["id"] for row in root.decisions()}


@contextmanager
def _served(root, *options, port=0, cwd=None):
    with socket.create_server(("127.0.0.1", port)) as server:
        port = server.getsockname()[1]
    of_root = ["--config", str(root.config_file)] if root else []
    process = subprocess.Popen(
        [*COMMAND, "web", *of_root, "--port", str(port), *options], stderr=subprocess.DEVNULL, cwd=cwd
    )

    def answers():
        with suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60).status == 200

    try:
        wait_until(answers, "the server to answer")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def address(root):
    """The real command serving that root."""
    with _served(root) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    """Debian's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield started
        started.close()


_GIVEN_UP = ("htmx:sendAbort", "htmx:afterRequest")
"""What htmx says of a question that was open when its page was left; of one that failed it says something else, too."""


@pytest.fixture
def page(browser, address):
    """A page that fails the test when it writes an error, opens a dialogue or asks another host."""
    context = browser.new_context(base_url=address)
    page, told = context.new_page(), []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("dialog", lambda dialog: told.append(dialog.message))
    page.on("request", lambda request: None if request.url.startswith(address) else told.append(request.url))
    yield page
    context.close()
    # Where there is no picture a drawing comes with this status.
    assert [one for one in told if not one.startswith(_GIVEN_UP) and "404 (Not Found)" not in one] == []


def _counted(page):
    page.locator("[role=status]").first.wait_for(state="detached")


def _faults(page):
    page.add_script_tag(path=str(AXE))
    found = page.evaluate("axe.run().then(result => result.violations.map(one => [one.impact, one.id]))")
    return [one for one in found if one[0] in {"serious", "critical"}]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_have_no_serious_fault_for_axe_and_fit_a_phone(address, browser, numbers, scheme):
    """Contrast, labels, roles and names are right in both colour schemes, and nothing is wider than a phone."""
    options = {"bypass_csp": True, "color_scheme": scheme, "viewport": {"width": 390, "height": 800}}
    context = browser.new_context(base_url=address, **options)
    page = context.new_page()
    ids = {"hostile": numbers[HOSTILE], "broken": numbers["evil/broken.jpg"]}
    for path in PAGES:
        page.goto(path.format(**ids))
        _counted(page)
        assert _faults(page) == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    page.goto("/quarantine")
    assert page.locator(".gallery img").first.bounding_box()["y"] < 700  # a picture is seen without scrolling
    page.goto("/quarantine?score=blur_score&low=0&high=20")
    page.locator(".histogram").wait_for()
    assert _faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.goto("/check")
    page.set_input_files("input[type=file]", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": jpeg(photo())})
    page.get_by_role("button", name="Check").click()
    page.get_by_role("heading", name="a.jpg").wait_for()
    assert _faults(page) == []
    context.close()


_WIDER = """[...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".scroll, .whole, svg, datalist"))
    .map(one => one.outerHTML.slice(0, 150))"""


def test_names_without_a_space_break_on_a_phone_on_every_page(browser, tmp_path):
    """Folders, files, sources, people and reasons of theirs may have long names: no page scrolls sideways for them."""
    name, source = "x" * 99, "y" * 60
    ingest = Ingest(
        tmp_path / ("z" * 100), intake={"settle_seconds": 0.1}, sources=[{"name": source, "preset": "general"}]
    )
    for number in range(12):
        ingest.put(f"{name}/{number}{name}.jpg", jpeg(blurred(photo(seed=number), 4)))
    for number in range(3):
        ingest.put(f"{name}/good{number}{name}.jpg", jpeg(photo(seed=number + 20)))
    assert command("run", "--once", "--config", ingest.config_file).returncode == 0
    rejected, other = [row["id"] for row in ingest.decisions() if row["verdict"] == "quarantined"][:2]
    given = ("--id", str(other), "--who", name, "--why", name)
    assert command("quarantine", "confirm", "--config", ingest.config_file, *given).returncode == 0
    accepted = next(row["id"] for row in ingest.decisions() if row["verdict"] == "accepted")
    of_class = f"class_name={name}"
    places = ("/", f"/quarantine?{of_class}", "/accepted", "/check", "/thresholds", "/thresholds?blur_score=1", "/api")
    places += tuple(f"/decisions/{number}" for number in (rejected, other, accepted))
    places += (f"/quarantine?source={source}&state=all&score=blur_score", f"/no/{name}", f"/?since={name}")
    places += tuple(f"/review?action={one}&which=matching&{of_class}" for one in ("release", "reject"))
    with _served(ingest) as address:
        context = browser.new_context(base_url=address, viewport={"width": 390, "height": 800})
        page = context.new_page()
        wide = {}
        for place in places:
            page.goto(place)
            _counted(page)
            page.locator("details").evaluate_all("every => every.forEach(one => one.open = true)")
            if page.evaluate("document.scrollingElement.scrollWidth > innerWidth") or page.evaluate(_WIDER):
                wide[place] = page.evaluate(_WIDER)
        context.close()
    assert wide == {}


def test_hostile_names_run_nothing_and_every_picture_is_one(page, numbers):
    """No page breaks its own policy; what cannot be decoded shows a drawing instead of a broken picture."""
    for path in PAGES:
        page.goto(path.format(hostile=numbers[HOSTILE], broken=numbers["evil/broken.jpg"]))
        _counted(page)
        for picture in page.locator("img").all():
            picture.scroll_into_view_if_needed()
            assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 0, path
    page.goto(f"/decisions/{numbers[HOSTILE]}")
    assert page.locator(".over").count() == 2


def test_an_image_is_released_and_taken_back_without_script(address, browser, root, numbers):
    """Select, count, release and undo work with JavaScript off."""
    context = browser.new_context(java_script_enabled=False, base_url=address)
    page = context.new_page()
    page.goto("/quarantine?class_name=script")
    page.locator(f"input[name=ids][value='{numbers['script/1.jpg']}']").check()
    page.get_by_role("button", name="Release ticked").click()
    assert page.locator("h1").inner_text() == "Release 1 image?"
    page.get_by_role("button", name=re.compile("^Release 1")).click()
    assert page.locator(".notice b").inner_text() == "1 released."
    assert "class_name=script" in page.url
    assert (root.accepted / "script/1.jpg").exists()
    page.get_by_role("button", name="Undo", exact=True).click()
    assert page.locator(".notice b").inner_text() == "1 undone."
    assert (root.quarantine / "script/1.jpg").exists()
    context.close()


def test_the_keyboard_alone_confirms_and_takes_back(page, root):
    """Skip to the content, tick, confirm and undo, without a pointer; what has the focus can be seen."""
    page.goto("/quarantine?class_name=keys")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "To the content"
    page.keyboard.press("Enter")
    boxes = 0
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.locator(":focus")
        assert focus.evaluate("one => getComputedStyle(one).outlineStyle") != "none"
        if focus.get_attribute("name") == "ids":
            page.keyboard.press("Space")
            boxes += 1
        if boxes == 2:
            break
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if page.locator(":focus").inner_text() == "Confirm ticked":
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Confirm 2 images?").wait_for()
    page.get_by_label("Why").focus()
    page.keyboard.type("as it should be")
    page.keyboard.press("Enter")
    page.get_by_text("2 confirmed.").wait_for()
    page.goto("/quarantine?class_name=keys&state=confirmed")
    page.locator(".gallery a").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/decisions/*")
    assert "as it should be" in page.locator("ol").inner_text()
    page.keyboard.press("u")
    page.get_by_text("1 undone.").wait_for()


def test_bulk_actions_say_how_many_and_act_on_exactly_those(page, root):
    """All that match are counted, released, and taken back; others stay."""
    page.goto("/quarantine?class_name=bulk")
    page.get_by_role("button", name="Tick all shown").click()
    assert page.locator("input[name=ids]:checked").count() == 3
    page.get_by_text("Act on all: 3 images match").click()
    page.get_by_role("link", name="Release all that match").click()
    page.get_by_role("heading", name="Release 3 images?").wait_for()
    page.get_by_label("Who decides").fill("berta")
    page.get_by_role("button", name="Release 3").click()
    page.get_by_text("3 released.").wait_for()
    assert sorted(path.name for path in (root.accepted / "bulk").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_text("3 undone.").wait_for()
    assert len(list((root.quarantine / "bulk").iterdir())) == 3


def test_an_hour_of_review_takes_a_key_for_an_image(page, root):
    """Images are decided one after the other by single keys; the place is not lost, the last one is undone."""
    page.goto("/quarantine?class_name=hour")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/decisions/*")
    first = page.url
    for verb in ("r", "c", "r"):
        before = page.url
        page.keyboard.press(verb)
        page.wait_for_url(lambda url, before=before: url != before)
    page.get_by_text("1 released.").wait_for()
    assert "class_name=hour" in page.url
    assert len(list((root.accepted / "hour").iterdir())) == 2
    page.keyboard.press("u")
    page.get_by_text("1 undone.").wait_for()
    assert len(list((root.accepted / "hour").iterdir())) == 1
    page.goto(first)
    page.keyboard.press("j")
    page.wait_for_url(lambda url: url != first)
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("undo what was done last").wait_for()


def test_fifty_scattered_images_are_released_with_sixty_keys(page, root):
    """Of 180 on eight pages every third or so was wrongly rejected; none between costs a key, and the place stays."""
    page.goto("/quarantine?class_name=scattered")
    page.locator(".gallery kbd").first.wait_for()
    wrong = {f"scattered/{number}.jpg" for number in range(180) if number * 7 % 18 < 5}
    assert len(wrong) == 50
    pressed = []

    def press(key):
        pressed.append(key)
        page.keyboard.press(key)

    while True:
        cards = page.locator(".gallery li").evaluate_all(
            "all => all.map(one => [one.querySelector('img').alt, one.querySelector('input').ariaKeyShortcuts"
            " || one.querySelector('input').getAttribute('aria-keyshortcuts')])"
        )
        for name, key in cards:
            if name in wrong:
                press(key)
        if not page.locator("a[rel=next]").count():
            break
        before = page.url
        press("n")
        page.wait_for_url(lambda url, before=before: url != before)
        page.locator(".gallery kbd").first.wait_for()
    place = parse_qs(urlsplit(page.url).query)
    press("r")
    page.get_by_role("heading", name="Release 50 images?").wait_for()
    press("Enter")
    page.get_by_text("50 released.").wait_for(timeout=120_000)
    came_back = parse_qs(urlsplit(page.url).query)
    assert came_back.pop("notice")
    assert came_back == place
    assert {f"scattered/{path.name}" for path in (root.accepted / "scattered").iterdir()} == wrong
    assert len(pressed) <= 60


def test_accepted_images_are_rejected_by_keys_and_taken_back(page, root):
    """On its page an accepted image is rejected by one key, and the next one comes; in the gallery those ticked are."""
    page.goto("/")
    page.get_by_text("What came in the last minute").get_by_role("link", name="accepted").click()
    page.get_by_role("heading", name="Accepted", exact=True).wait_for()
    assert page.get_by_role("link", name="last minute").get_attribute("aria-current") == "true"
    page.goto("/accepted?class_name=fine&since=1d&order=borderline")
    assert page.locator(".gallery li").count() == 5
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/decisions/*")
    before = page.url
    page.keyboard.press("x")
    page.wait_for_url(lambda url: url != before)
    page.get_by_text("1 rejected.").wait_for()
    assert "class_name=fine" in page.url
    assert len(list((root.quarantine / "fine").iterdir())) == 1
    page.keyboard.press("u")
    page.get_by_text("1 undone.").wait_for()
    assert list((root.quarantine / "fine").iterdir()) == []
    page.keyboard.press("a")
    page.get_by_text("1 approved.").wait_for()
    page.goto("/accepted?class_name=fine&since=1d")
    assert page.locator(".gallery li").count() == 4
    for _ in range(2):
        page.keyboard.press("j")
        page.keyboard.press("x")
    page.keyboard.press("X")
    page.get_by_role("heading", name="Reject 2 images?").wait_for()
    page.get_by_label("Why").fill("not what was asked for")
    page.get_by_role("button", name="Reject 2").click()
    page.get_by_text("2 rejected.").wait_for()
    assert page.locator(".gallery li").count() == 2
    assert len(list((root.quarantine / "fine").iterdir())) == 2
    page.get_by_role("button", name="Undo", exact=True).click()
    page.get_by_text("2 undone.").wait_for()
    assert page.locator(".gallery li").count() == 4


def test_ticks_are_kept_over_pages_and_ranges_are_ticked_with_shift(page, root):
    """Thirty images on two pages: one shift-click on each, a count, one release of exactly those; a way back."""
    page.goto("/quarantine?class_name=many")
    page.get_by_text("30 images match").wait_for()
    ticks = page.locator("input[name=ids]")
    ticks.nth(1).click()
    ticks.nth(4).click(modifiers=["Shift"])
    assert page.locator("input[name=ids]:checked").count() == 4
    page.get_by_role("link", name="Next page").click()
    page.get_by_text("4 ticked, 4 on other pages").wait_for()
    ticks.nth(0).click()
    page.get_by_role("link", name="Previous page").click()
    page.get_by_text("5 ticked, 1 on other pages").wait_for()
    page.get_by_role("button", name="Confirm ticked").click()
    page.get_by_role("heading", name="Confirm 5 images?").wait_for()
    page.get_by_role("button", name="Confirm 5").click()
    page.get_by_text("5 confirmed.").wait_for()
    page.get_by_text("25 images match").wait_for()
    assert page.locator("input[name=ids]:checked").count() == 0


@pytest.mark.parametrize(
    ("name", "value", "shown", "hidden"),
    [
        ("reason", "noisy", "kinds/noisy.jpg", "kinds/dark.jpg"),
        ("class_name", "kinds", "kinds/noisy.jpg", "script/0.jpg"),
        ("source", "default", "kinds/noisy.jpg", "kinds/good.jpg"),
        ("state", "all", "kinds/dark.jpg", "kinds/good.jpg"),
        ("since", "1d", "kinds/dark.jpg", "kinds/good.jpg"),
        ("until", "1d", "", "kinds/dark.jpg"),
        ("order", "nearest", "kinds/dark.jpg", "kinds/good.jpg"),
    ],
)
def test_each_filter_shows_what_it_says_and_stands_in_the_address(page, name, value, shown, hidden):
    """What matches is there, what does not is not, and the address can be sent to somebody."""
    page.goto("/quarantine")
    page.get_by_text("More filters").click()
    field = page.locator(f".filters [name={name}]")
    field.select_option(value) if field.evaluate("one => one.tagName") == "SELECT" else field.fill(value)
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url(f"**={value}*")
    gallery = page.locator("main").inner_text()
    assert shown in gallery
    assert hidden not in gallery


def test_a_range_of_scores_filters(page):
    """From and to are of the score that was chosen."""
    page.goto("/quarantine")
    page.get_by_text("More filters").click()
    page.locator(".filters [name=score]").select_option("noise_score")
    page.locator("[name=low]").fill("0")
    page.locator("[name=high]").fill("20")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**score=noise_score*")
    assert "kinds/noisy.jpg" in page.locator("main").inner_text()
    assert "keys/2.jpg" not in page.locator("main").inner_text()


def _bar(page, low):
    return page.locator(f".histogram a[data-low='{low}']")


def test_a_range_of_scores_is_brushed_over_bars_by_pointer_and_by_keyboard(page):
    """The bars count what matches; a drag, or Shift with arrows and Enter, chooses; the address has it."""
    page.goto("/quarantine?class_name=bulk")
    page.get_by_text("How many have which score").click()
    page.locator(".histogram").wait_for()
    page.goto("/quarantine?class_name=bulk&score=blur_score")
    page.locator(".histogram").wait_for()
    images = page.locator(".histogram a").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert sum(int(re.search(r": (\d+)", one)[1]) for one in images) == 3
    _bar(page, 0).hover()
    page.mouse.down()
    _bar(page, 20).hover()
    page.mouse.up()
    page.wait_for_url("**low=0&high=25")
    page.locator(".histogram .chosen").first.wait_for()
    assert page.locator(".histogram .chosen").count() == 5
    shown = page.locator("input[name=ids]").count()
    _bar(page, 20).focus()
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    page.get_by_text("10 to 25").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**low=10&high=25")
    page.get_by_role("link", name="Any score").click()
    page.get_by_text("3 images match").wait_for()
    assert shown <= 3


def test_a_class_is_found_by_typing_a_part_of_its_name(page):
    """What fits is offered without loading all, and why a class is bad is two clicks from the overview."""
    page.goto("/quarantine")
    with page.expect_response(re.compile("/quarantine/classes")):
        page.locator(".filters [name=class_name]").focus()
    with page.expect_response(re.compile("class_name=ind")):
        page.keyboard.type("ind")
    page.locator("#classes option[value=kinds]").wait_for(state="attached")
    assert page.locator("#classes option").count() == 1
    page.goto("/")
    page.get_by_role("region", name="Worst cameras").get_by_role("link").first.click()
    page.wait_for_url("**/quarantine?camera=*")
    assert page.locator(".gallery li").count() > 0


def test_a_bar_of_the_overview_is_a_link_to_its_images(page):
    """Why something is rejected at a time is one click: the bar of a reason, which says how many there are."""
    page.goto("/")
    bar = page.locator(".plot a", has_text="noisy").first
    assert re.search(r": 1 noisy$", bar.text_content())
    bar.click()
    page.wait_for_url("**/quarantine?reason=noisy&state=all&since=*")
    page.get_by_text("1 image matches").wait_for()
    assert "kinds/noisy.jpg" in page.locator(".gallery").inner_text()


def test_images_that_are_dropped_are_judged_and_not_stored(page, root):
    """Two images and a file that is none are dropped at once; each has its verdict under every preset."""
    before = root.contents()
    files = {"good.jpg": jpeg(photo()), "soft.jpg": jpeg(blurred(photo(), 4)), "<b>text.txt": b"text"}
    given = [[name, base64.b64encode(data).decode()] for name, data in files.items()]
    page.goto("/check")
    make = """files => { const all = new DataTransfer(); for (const [name, data] of files)
        all.items.add(new File([Uint8Array.from(atob(data), one => one.charCodeAt(0))], name)); return all; }"""
    page.dispatch_event(".drop", "drop", {"dataTransfer": page.evaluate_handle(make, given)})
    page.get_by_role("heading", name="<b>text.txt").wait_for()
    told = {one.locator("h2").inner_text(): one.inner_text() for one in page.locator("section").all()}
    assert told.keys() == files.keys()
    assert told["good.jpg"].count("accepted") == len(PRESETS)
    assert "blurry" in told["soft.jpg"]
    assert "corrupt" in told["<b>text.txt"]
    assert root.contents() == before


def test_too_much_for_the_checker_is_told_before_anything_is_sent(page):
    """Twenty-five files, or a hundred megabytes, chosen or dropped: a sentence says the limit, nothing is sent."""
    page.goto("/check")
    asked = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    many = [{"name": f"{n}.jpg", "mimeType": "image/jpeg", "buffer": b"x"} for n in range(25)]
    page.set_input_files("input[type=file]", many)
    page.get_by_role("alert").get_by_text(
        "These are 25 files; at most 20 are taken at a time. Nothing was sent."
    ).wait_for()
    page.get_by_role("button", name="Check").click()
    make = """() => { const all = new DataTransfer();
        all.items.add(new File([new Uint8Array(100 * 1048576)], "large.tif")); return all; }"""
    page.dispatch_event(".drop", "drop", {"dataTransfer": page.evaluate_handle(make)})
    page.get_by_role("alert").get_by_text("These files have 100 MB together; at most 64 MB").wait_for()
    page.wait_for_timeout(300)
    assert asked == []
    page.set_input_files("input[type=file]", many[:1])
    page.get_by_role("alert").wait_for(state="hidden")
    page.get_by_role("button", name="Check").click()
    page.get_by_role("heading", name="0.jpg").wait_for()


def test_the_checker_opens_without_a_root(browser, tmp_path):
    """In any folder, nothing is made there, and an image is judged."""
    with _served(None, "--check", cwd=tmp_path) as address:
        context = browser.new_context(base_url=address, bypass_csp=True)
        page = context.new_page()
        page.goto("/")
        page.set_input_files("input[type=file]", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": jpeg(photo())})
        page.get_by_role("button", name="Check").click()
        page.get_by_role("heading", name="a.jpg").wait_for()
        assert _faults(page) == []
        page.goto("/quarantine")
        page.get_by_role("heading", name="Not found").wait_for()
        context.close()
    assert list(tmp_path.iterdir()) == []


def test_thresholds_answer_to_the_slider_and_to_another_preset(page):
    """The effect and the YAML follow, the address can be kept, and other presets bring their own limits."""
    page.goto("/thresholds")
    _counted(page)
    began = page.locator("#effect .cards").inner_text()
    assert re.search(r"(\d+) → \1\nrejected\n0\nnewly rejected\n0\nnewly accepted", began), began
    page.locator("#blur_score").fill("100")
    page.locator("#effect pre", has_text="blur_score: 100").wait_for()
    page.locator("#effect", has_text="newly rejected").wait_for()
    page.wait_for_url("**blur_score=100*")
    page.get_by_label("Begin with").select_option("fine_grained")
    page.wait_for_url("**preset=fine_grained*")
    page.locator("#effect pre", has_text="preset: fine_grained").wait_for()
    assert page.locator("#blur_score").input_value() == "60"


def test_the_overview_renews_itself(page):
    """Numbers are anew every five seconds, without the page being loaded again; who stands on a link stays there."""
    page.clock.install()
    page.goto("/")
    page.locator("h2", has_text="Worst classes").wait_for()
    page.evaluate("document.querySelector('h1').dataset.kept = 'yes'")
    page.get_by_role("region", name="Worst classes").get_by_role("link").nth(1).focus()
    focused = page.locator(":focus").inner_text()
    with page.expect_response(re.compile("/live")) as renewed:
        page.clock.fast_forward(6_000)
    assert renewed.value.status == 200
    assert page.locator("h1[data-kept=yes]").count() == 1
    assert page.locator(":focus").inner_text() == focused


def test_a_page_whose_server_is_gone_says_so(browser, root):
    """What it goes on showing is marked as old, and is live again once the server is back."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    context = browser.new_context(base_url=f"http://127.0.0.1:{port}")
    page = context.new_page()
    with _served(root, port=port):
        page.clock.install()
        page.goto("/")
        page.locator("[role=status]").first.wait_for(state="detached")
        assert page.get_by_text("No contact with the server").is_hidden()
    page.clock.fast_forward(6_000)
    page.get_by_text("No contact with the server").wait_for()
    with _served(root, port=port):
        page.clock.fast_forward(6_000)
        page.get_by_text("No contact with the server").wait_for(state="hidden")
    context.close()


def test_a_token_opens_the_pages_under_its_holders_name(browser, root, numbers):
    """A wrong token does not; the right one does until a new one is made, and its holder is who acts."""

    def new_token():
        return command("web", "--config", root.config_file, "--new-token", "carla").stdout.strip()

    token = new_token()
    with _served(root, "--allow-host", "pages.example") as address:
        context = browser.new_context(base_url=address, bypass_csp=True)
        page = context.new_page()
        page.goto("/quarantine")
        assert _faults(page) == []
        page.get_by_label("Token").fill("guess")
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("alert").wait_for()
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Go on").click()
        page.get_by_text("carla").wait_for()
        page.goto(f"/review?action=confirm&ids={numbers['script/2.jpg']}")
        page.get_by_role("button", name="Confirm 1").click()
        page.goto(f"/decisions/{numbers['script/2.jpg']}")
        assert "confirm by carla" in page.locator("ol").inner_text()
        assert _faults(page) == []
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Go on").click()
        page.get_by_text("carla").wait_for()
        new_token()
        page.goto("/quarantine")
        page.get_by_label("Token").wait_for()
        context.close()


@pytest.mark.parametrize("has_tokens", [False, True])
def test_the_api_is_as_its_description_says(root, tmp_path, has_tokens):
    """`schemathesis`, with all its checks, finds nothing: statuses, types and fields of answers, odd input, methods."""
    program = Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        pytest.skip("needs schemathesis, which is among the extras for development")
    token = command("web", "--config", root.config_file, "--new-token", "schemathesis").stdout.strip()
    options = ["--allow-host", "pages.example"] if has_tokens else []
    headers = ["--header", f"Authorization: Bearer {token}"] if has_tokens else []
    with _served(root, *options) as address:  # one of its own, since it uses up how much may be checked in a minute
        arguments = ["run", f"{address}/api/openapi.json", "--checks", "all", "--max-examples", "10", "--no-color"]
        found = subprocess.run(
            [program, *arguments, *headers], capture_output=True, text=True, cwd=tmp_path, check=False, timeout=120
        )
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr
