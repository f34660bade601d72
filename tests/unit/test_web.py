"""Pages and API through the real application, with attacks."""

import hashlib
import html
import itertools
import json
import os
import re
import threading
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer import Typer
from typer.testing import CliRunner

from imageguard_daemon import PRESETS, validate
from imageguard_daemon.audit import quarantine_queries
from imageguard_daemon.cli.quarantine import reading
from imageguard_daemon.cli.report import report
from imageguard_daemon.config import Settings
from imageguard_daemon.core.errors import DataError, StalledError
from imageguard_daemon.daemon import status as live
from imageguard_daemon.daemon.parts import Snapshot
from imageguard_daemon.review.acting import reject, release, undo
from imageguard_daemon.web import api, api_models, cache
from imageguard_daemon.web.app import make_app
from imageguard_daemon.web.pages import gallery, images, overview, thresholds, uploads
from imageguard_daemon.web.security import MAX_BODY_BYTES, MAX_UPLOAD_BYTES
from imageguard_daemon.web.site import Access, RateLimit, Site
from imageguard_daemon.web.tokens import Tokens, add
from tests.helpers.images import blurred, jpeg, photo
from tests.helpers.readouts import write_readout
from tests.helpers.rejections import Rejections

command = Typer()
command.command()(report)
pytestmark = pytest.mark.anyio
HOSTILE = "cat/<img src=x onerror=alert(1)>'\"&.jpg"
PAGES = (
    *("/", "/live", "/quarantine", "/quarantine?order=nearest", "/accepted", "/accepted?since=1d", "/review?ids=1"),
    *("/quarantine/scores", "/thresholds", "/check", "/api"),
)


@pytest.fixture
def anyio_backend():
    """The event loop that uvicorn uses."""
    return "asyncio"


@pytest.fixture
def rejections(tmp_path):
    """A root with a hostile name and two ordinary images."""
    made = Rejections(tmp_path / "root")
    made.file(HOSTILE, jpeg(blurred(photo(), 4)))
    made.file("cat/2.jpg", jpeg(photo(seed=2)))
    made.file("dog/3.jpg", jpeg(photo(seed=3)), ok=True)
    yield made
    made.close()


def _site(rejections, **changes):
    return Site(rejections.settings, rejections.root / "audit.db", "anna", **changes)


@asynccontextmanager
async def _client(site):
    guarded = make_app(site)
    transport = httpx.ASGITransport(guarded, raise_app_exceptions=False)
    async with (
        guarded._app.router.lifespan_context(guarded._app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765") as client,
    ):
        yield client


@pytest.fixture
async def client(rejections):
    """A browser on this machine."""
    async with _client(_site(rejections)) as made:
        yield made


def _form(text):
    return {name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="(.*?)"', text)}


@pytest.mark.parametrize("page", [*PAGES, "/decisions/1", "/decisions/3"])
async def test_every_page_is_there_and_hostile_names_are_text(client, page):
    """No name becomes markup, nothing is inline, and the headers that forbid it are there."""
    answer = await client.get(page)
    assert answer.status_code == 200
    assert "<img src=x" not in answer.text
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=\"|javascript:", answer.text)
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("/quarantine?reason=nonsense", 400),
        ("/quarantine?reason=%00", 400),
        ("/quarantine?reason=%20", 400),
        ("/quarantine?class_name=%00", 400),
        ("/quarantine?class_name=" + 5000 * "x", 400),
        ("/quarantine?since=never", 400),
        ("/quarantine?after=x", 422),
        ("/?since=9y", 400),
        ("/decisions/99", 404),
        ("/decisions/0", 422),
        ("/decisions/99999999999999999999", 422),
        ("/static/../site.py", 404),
        ("/static/%2e%2e/site.py", 404),
        ("/decisions/..%2f..%2fetc%2fpasswd/image", 404),
        ("/review?ids=x", 400),
        ("/review?action=purge", 400),
        ("/review?action=reject&which=matching&state=accepted", 400),
        ("/accepted?order=nearest", 400),
        ("/accepted?reason=blurry", 400),
        ("/quarantine?order=borderline", 400),
        ("/thresholds?blur_score=nan", 400),
        ("/api/decisions?limit=0", 422),
    ],
)
async def test_what_makes_no_sense_is_told(client, page, status):
    """A wrong address gets a clear answer, never a traceback."""
    answer = await client.get(page)
    assert answer.status_code == status
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil@127.0.0.1", "", "[", "[::1", "127.0.0.1:8765]"]
)
async def test_another_host_is_refused(client, host):
    """A page elsewhere whose name leads here reads nothing."""
    assert (await client.get("/", headers={"Host": host})).status_code == 421


async def test_a_release_says_how_many_first_and_can_be_undone(client, rejections):
    """The count comes first, exactly those move, who did it is recorded, and undo takes it back."""
    asked = await client.get("/review?action=release&which=matching&reason=blurry")
    assert "Release 2 images?" in asked.text
    assert (rejections.quarantine / "cat/2.jpg").exists()
    form = _form(asked.text) | {"who": "berta", "why": "fine"}
    done = await client.post("/review", data=form, follow_redirects=True)
    assert "2 released" in done.text
    assert done.url.params["reason"] == "blurry"
    assert (rejections.accepted / "cat/2.jpg").exists()
    assert "release by berta: fine" in (await client.get("/decisions/2")).text
    undo = await client.get("/review?action=undo&ids=2")
    await client.post("/review", data=_form(undo.text) | {"who": "berta"})
    assert (rejections.quarantine / "cat/2.jpg").exists()
    assert rejections.wrong() == []


async def test_an_accepted_image_is_rejected_by_a_person_and_taken_back(client, rejections):
    """The gallery has what arrived lately; one is rejected, recorded with who and why, and the notice takes it back."""
    gallery = (await client.get("/accepted")).text
    assert re.findall(r'type="checkbox" name="ids" value="(\d+)"', gallery) == ["3"]
    asked = await client.get("/review?state=accepted&since=1h&order=borderline&action=reject&ids=3")
    assert "Reject 1 image?" in asked.text
    form = _form(asked.text) | {"who": "berta", "why": "a cat"}
    done = await client.post("/review", data=form, follow_redirects=True)
    assert (done.url.path, "1 rejected" in done.text) == ("/accepted", True)
    assert (rejections.quarantine / "dog/3.jpg").exists()
    image = (await client.get("/decisions/3")).text
    assert "reject by berta: a cat" in image
    assert ", rejected by a person" in image
    assert "dog/3.jpg" in (await client.get("/quarantine?state=rejected")).text
    assert (await client.get("/decisions/3/thumbnail")).status_code == 200
    await client.post("/review", data=_form(done.text) | {"ids": "3", "who": "berta"})
    assert (rejections.accepted / "dog/3.jpg").exists()
    assert rejections.wrong() == []


async def test_what_is_approved_is_not_shown_again(client, rejections):
    """An approval moves nothing, and the next look at the same arrivals begins with what nobody looked at."""
    asked = await client.get("/review?state=accepted&since=1h&which=matching&action=approve")
    assert "Approve 1 image?" in asked.text
    done = await client.post("/review", data=_form(asked.text) | {"who": "berta"}, follow_redirects=True)
    assert (done.url.path, done.url.params["since"]) == ("/accepted", "1h")
    assert "1 approved" in done.text
    assert "No images match" in done.text
    assert "dog/3.jpg" in (await client.get("/accepted?state=approved")).text
    assert (rejections.accepted / "dog/3.jpg").exists()


async def test_all_that_arrived_in_a_minute_is_the_same_minute_after_a_count(rejections):
    """While somebody reads the count, nothing leaves the selection because time goes by."""
    passed = [timedelta(0)]
    site = _site(rejections, now=lambda: datetime.now(UTC) + passed[-1])
    async with _client(site) as client:
        asked = await client.get("/review?state=accepted&since=1m&which=matching&action=reject")
        passed.append(timedelta(hours=1))
        done = await client.post("/review", data=_form(asked.text) | {"who": "berta"}, follow_redirects=True)
    assert "1 rejected" in done.text
    assert done.url.params["since"] == "1m"
    assert (rejections.quarantine / "dog/3.jpg").exists()


async def test_to_release_what_a_person_rejected_offers_no_undo_of_an_undo(client, rejections):
    """It is accepted again, and the notice has nothing to take back."""
    rejections.do(reject, 3)
    form = _form((await client.get("/review?action=release&state=rejected&ids=3")).text) | {"who": "anna"}
    done = await client.post("/review", data=form, follow_redirects=True)
    assert "1 released" in done.text
    assert 'value="undo"' not in done.text.split("</h1>")[1].split('<form class="filters"')[0]


async def test_what_came_after_the_count_is_left_alone(client, rejections):
    """An image that was rejected while somebody read the count is not released with the others."""
    form = _form((await client.get("/review?action=release&which=matching&reason=blurry")).text) | {"who": "anna"}
    rejections.file("cat/late.jpg", b"late")
    assert "2 released" in (await client.post("/review", data=form, follow_redirects=True)).text
    assert (rejections.quarantine / "cat/late.jpg").exists()


async def test_a_selection_that_shrank_is_counted_again(client, rejections):
    """When others acted meanwhile, nothing is done but say so."""
    form = _form((await client.get("/review?action=release&which=matching&reason=blurry")).text) | {"who": "anna"}
    await client.post("/review", data=_form((await client.get("/review?action=confirm&ids=2")).text) | {"who": "x"})
    assert (await client.post("/review", data=form)).status_code == 409
    assert not (rejections.accepted / "cat").exists()


@pytest.mark.parametrize("query", ["", "&reason=blurry", "&class_name=cat&state=waiting", "&ids=", "&which=ticked"])
async def test_nothing_ticked_never_means_everything(client, rejections, query):
    """A selection without a tick is a mistake, on the way to the count and on the way back."""
    asked = await client.get(f"/review?action=release{query}")
    assert asked.status_code == 400
    form = _form((await client.get("/review?action=release&ids=2")).text) | {"who": "x", "count": "2", "newest": "9"}
    del form["ids"]
    assert (await client.post("/review", data=form)).status_code == 400
    assert not (rejections.accepted / "cat").exists()


@pytest.mark.parametrize("page", ["/quarantine?", "/review?which=matching&action=release&"])
async def test_a_range_without_its_score_is_a_mistake(client, page):
    """Ignored, it would look as if it held."""
    assert (await client.get(f"{page}low=30&high=40")).status_code == 400
    assert (await client.get(f"{page}score=blur_score&low=30&high=40")).status_code == 200


async def test_a_confirmation_says_in_words_and_pictures_what_is_meant(client):
    """Nobody has to trust a number alone."""
    text = (await client.get("/review?action=release&which=matching&reason=blurry&class_name=cat&since=7d")).text
    assert "All that match: blurry, class cat, since 7d." in text
    assert 'src="/decisions/2/thumbnail"' in text
    ticked = (await client.get("/review?action=release&ids=2&reason=blurry")).text
    assert "Ticked: blurry." in ticked


@pytest.mark.parametrize("name", ["cat ", " cat", "(none)", "c" * 240, "K\u00f6ln \U0001f408", "a&b=c+d%20", ""])
async def test_each_class_is_found_by_its_link(rejections, monkeypatch, name):
    """From the overview to its images and to the question before they are released: those, and no others."""
    monkeypatch.setattr(cache, "PAGE_TIMEOUT_SECONDS", 60)
    place = f"{name}/4.jpg" if name else "4.jpg"
    number = rejections.file(place, class_name=name)
    async with _client(_site(rejections)) as client:
        links = re.findall(r'href="(/quarantine\?class_name=[^"]*)"', (await client.get("/live")).text)
        pages = [(await client.get(html.unescape(link))).text for link in links]
        [gallery] = [page for page in pages if f'value="{number}"' in page]
        assert re.findall(r'name="ids" value="(\d+)"', gallery) == [str(number)]
        [release] = re.findall(r'href="(/review\?[^"]*action=release)"', gallery)
        asked = (await client.get(html.unescape(release))).text
    assert f"/decisions/{number}/thumbnail" in asked
    assert "/decisions/1/" not in asked


async def test_what_is_ticked_stays_meant_however_long_somebody_looks(rejections):
    """The last minute has gone by for the images that were ticked in it: they are what is asked about."""
    number = rejections.file("cat/5.jpg", ok=True)
    site = _site(rejections, now=lambda: datetime.now(UTC) + timedelta(hours=1))
    async with _client(site) as client:
        asked = (await client.get(f"/review?ids={number}&action=reject&state=accepted&since=1m")).text
    assert "Reject 1 image?" in asked


async def test_a_score_without_a_range_narrows_nothing(rejections):
    """It chooses which bars are shown; all accepted images are still all."""
    rejections.file("cat/5.jpg", ok=True)
    async with _client(_site(rejections)) as client:
        assert "Reject all that match" not in (await client.get("/accepted?state=accepted&score=blur_score")).text
        asked = await client.get("/review?which=matching&action=reject&state=accepted&score=blur_score")
        assert asked.status_code == 400
        narrow = await client.get("/review?which=matching&action=reject&state=accepted&score=blur_score&low=0&high=90")
        assert narrow.status_code == 200


async def test_a_cameras_images_are_one_link_from_the_overview_and_from_each_of_them(rejections, monkeypatch):
    """Its link shows its images with their reasons, and no others; so does that of images without a camera."""
    monkeypatch.setattr(cache, "PAGE_TIMEOUT_SECONDS", 60)
    number = rejections.file("cat/4.jpg", camera="Canon & Söhne")
    async with _client(_site(rejections)) as client:
        page = (await client.get("/live")).text
        links = [html.unescape(one) for one in re.findall(r'href="(/quarantine\?camera=[^"]*)"', page)]
        shown = [re.findall(r'name="ids" value="(\d+)"', (await client.get(link)).text) for link in links]
        assert sorted(shown) == [["2", "1"], [str(number)]]
        image = (await client.get(f"/decisions/{number}")).text
        assert any(f'href="{html.escape(link.removesuffix("&since=24h"))}"' in image for link in links)
        asked = (await client.get("/review?which=matching&action=confirm&camera=Canon+%26+S%C3%B6hne")).text
    assert "All that match: camera Canon &amp; Söhne." in asked
    assert "Confirm 1 image?" in asked


async def test_of_thousands_of_classes_those_are_offered_that_fit_what_is_typed(rejections, monkeypatch):
    """A few at a time, those first that begin so; accepted images alone make no class worth offering."""
    monkeypatch.setattr(cache, "PAGE_TIMEOUT_SECONDS", 60)
    for number in range(60):
        rejections.file(f"x/{number}.jpg", class_name=f"bird {number:02}")
    rejections.file("x/late.jpg", class_name="early bird <3")
    rejections.file("x/good.jpg", class_name="fish", ok=True)
    async with _client(_site(rejections)) as client:

        async def offered(address):
            return re.findall('<option value="(.*?)">', (await client.get(address)).text)

        assert len(await offered("/quarantine/classes")) == gallery.NAMES_OFFERED
        assert await offered("/quarantine/classes?class_name=BIRD+5") == [f"bird 5{n}" for n in range(10)]
        assert await offered("/quarantine/classes?class_name=early") == ["early bird &lt;3"]
        assert await offered("/quarantine/classes?class_name=fish") == ["fish"]
        assert await offered("/quarantine/cameras?camera=") == ["(none)"]


async def test_bars_of_scores_count_what_the_filters_match_and_lead_to_it(client, monkeypatch):
    """Each bar is a link to its images, with the other filters as they are; they can be chosen without script."""
    monkeypatch.setattr(cache, "PAGE_TIMEOUT_SECONDS", 60)
    page = (await client.get("/quarantine/scores?class_name=cat&score=score&low=0.1&high=0.2")).text
    assert "<h1>Scores</h1>" in page
    bars = re.findall(r'<li><a href="([^"]*)"[^>]* aria-label="(\S+) to (\S+): (\d+) images?"', page)
    assert [(low, high) for _, low, high, images in bars if images != "0"] == [("0.15", "0.2"), ("0.2", "0.25")]
    [link] = [html.unescape(link) for link, low, _, _ in bars if low == "0.2"]
    assert link == "/quarantine?class_name=cat&score=score&low=0.2&high=0.25"
    assert re.findall(r'name="ids" value="(\d+)"', (await client.get(link)).text) == ["2", "1"]
    piece = (await client.get("/quarantine/scores", headers={"HX-Request": "true"})).text
    assert "<html" not in piece
    assert "0.2 to 0.25: 2 images" in piece
    assert "No image that matches has a blur_score" in (await client.get("/quarantine/scores?score=blur_score")).text
    assert (await client.get("/quarantine/scores?score=blur_score&low=x")).status_code == 400


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """Six rejected images, all of them blurry cats."""
    made = Rejections(tmp_path_factory.mktemp("several") / "root")
    for number in range(6):
        made.file(f"cat/{number}.jpg")
    yield made
    made.close()


_REASONS, _CLASSES = ("blurry", "noisy"), ("cat", "dog", "cat ", "ca")
_QUESTIONS = st.fixed_dictionaries(
    {},
    optional={
        "reason": st.sampled_from(_REASONS),
        "class_name": st.sampled_from(_CLASSES),
        "source": st.sampled_from(["default", "other"]),
        "ids": st.lists(st.integers(1, 7), max_size=4),
        "which": st.sampled_from(["matching", "ticked", ""]),
    },
)
_ALL_ARE = {"reason": "blurry", "class_name": "cat", "source": "default"}


@settings(max_examples=50, deadline=None)
@given(asked=_QUESTIONS)
def test_no_request_acts_on_an_image_that_its_filter_does_not_match(several, asked):
    """Whatever is ticked, filtered or left out: the images acted on are those that a reader of the address expects."""
    is_all, ids = asked.get("which") == "matching", set(asked.get("ids", ()))
    expected = (set() if ids else set(range(1, 7))) if is_all else ids - {7}
    if any(asked.get(name, value) != value for name, value in _ALL_ARE.items()):
        expected = set()
    anyio.run(_confirm, several, asked)
    with reading(several.root / "audit.db") as engine:
        confirmed = {
            image.id for image in quarantine_queries.page(engine, quarantine_queries.Selection(states=("confirmed",)))
        }
    several.do(undo, *confirmed)
    assert confirmed == expected


async def _confirm(several, asked):
    async with _client(_site(several)) as client:
        page = await client.get("/review", params={"action": "confirm", **asked})
        if _form(page.text):
            await client.post("/review", data=_form(page.text) | {"ids": asked.get("ids", []), "who": "anna"})


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({"csrf": ""}, {}),
        ({"csrf": "guess"}, {}),
        ({}, {"Origin": "http://evil.example"}),
        ({}, {"Origin": "null"}),
        ({}, {"Origin": "http://["}),
        ({}, {"Origin": "http://[::1"}),
        ({}, {"Origin": ""}),
        ({}, {"Sec-Fetch-Site": "cross-site"}),
    ],
)
async def test_forms_of_other_sites_do_nothing(client, rejections, change, headers):
    """Without this server's secret, or from another origin, no image moves."""
    form = _form((await client.get("/review?action=release&ids=2")).text) | {"who": "x"} | change
    assert (await client.post("/review", data=form, headers=headers)).status_code == 403
    assert (rejections.quarantine / "cat/2.jpg").exists()


async def test_pictures_have_a_safe_type_and_are_what_was_recorded(client, rejections):
    """A picture cannot be read as anything else, and a file that was swapped is not shown."""
    whole = await client.get("/decisions/2/image")
    small = await client.get("/decisions/2/thumbnail")
    assert whole.headers["content-type"] == small.headers["content-type"] == "image/jpeg"
    assert "sandbox" in whole.headers["content-security-policy"]
    (rejections.quarantine / "cat/2.jpg").write_bytes(b"<html><script>alert(1)</script>")
    assert (await client.get("/decisions/2/image")).status_code == 404


@pytest.mark.parametrize("name", ["image", "thumbnail", "sharpness.svg", "clipping.svg"])
async def test_browsers_ask_again_for_a_picture_and_get_it_only_where_it_is_another(client, rejections, name):
    """The address of a picture does not name its content: what is kept is shown only once the server has said so."""
    address = f"/decisions/2/{name}"
    first = await client.get(address)
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    for known in (tag, f'"other", W/{tag}'):
        again = await client.get(address, headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["cache-control"] == "private, no-cache"
    assert (await client.get(address, headers={"If-None-Match": '"other"'})).content == first.content
    other = rejections.file("cat/other.jpg", jpeg(blurred(photo(seed=5), 5)))
    another = await client.get(f"/decisions/{other}/{name}")
    assert another.headers["etag"] != tag


@pytest.mark.parametrize("name", ["image", "thumbnail", "sharpness.svg", "clipping.svg"])
async def test_to_say_that_a_picture_has_not_changed_takes_no_look_into_its_file(client, rejections, monkeypatch, name):
    """Fifty who come back are answered without reading or decoding; a file written to since is looked at again."""
    address, file = f"/decisions/2/{name}", rejections.quarantine / "cat/2.jpg"
    known = {"If-None-Match": (await client.get(address)).headers["etag"]}

    def never(*_):
        raise AssertionError("the file was read")

    with monkeypatch.context() as looking:
        looking.setattr(images, "contents_of", never)
        looking.setattr(images.RenderCache, "of", never)
        assert (await client.get(address, headers=known)).status_code == 304
    os.utime(file)
    assert (await client.get(address, headers=known)).status_code == 200


async def test_maps_lie_over_the_image_and_what_cannot_be_decoded_says_so(client, rejections):
    """Both maps are drawings that can run nothing; where there is nothing to be seen a drawing says why."""
    for name in ("sharpness", "clipping"):
        answer = await client.get(f"/decisions/2/{name}.svg")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
        assert "sandbox" in answer.headers["content-security-policy"]
    broken = rejections.file("cat/broken.jpg", b"\xff\xd8 no image")
    for name in ("thumbnail", "sharpness.svg"):
        answer = await client.get(f"/decisions/{broken}/{name}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "image/svg+xml")
    assert "cannot be decoded" in (await client.get(f"/decisions/{broken}/thumbnail")).text
    (rejections.quarantine / "cat/broken.jpg").unlink()
    assert "gone or changed" in (await client.get(f"/decisions/{broken}/image")).text


async def test_html_called_jpeg_is_never_served(client, rejections):
    """What is no image by its content is not given to a browser, whatever it is called."""
    number = rejections.file("cat/evil.jpg", b"<html><script>alert(1)</script>")
    assert (await client.get(f"/decisions/{number}/image")).status_code == 404
    assert (await client.get(f"/decisions/{number}/thumbnail")).status_code == 404


async def test_uploads_are_judged_by_every_preset_and_not_stored(client, rejections):
    """Good and bad get their scores, a hostile file is corrupt, and no file appears."""
    before = rejections.files()
    files = [("images", (name, data)) for name, data in (("a.jpg", jpeg(photo())), (HOSTILE, b"no image"))]
    answer = (await client.post("/api/check", files=files)).json()["images"]
    assert answer[0]["presets"]["general"]["ok"]
    assert set(answer[0]["presets"]) == set(PRESETS)
    assert not answer[1]["presets"]["general"]["ok"]
    page = await client.post("/check", files=files)
    assert page.status_code == 200
    assert "<img src=x" not in page.text
    assert rejections.files() == before


async def test_uploads_are_bounded(client):
    """Too large, too many or no form at all are refused before anything is measured."""
    too_much = {
        "Content-Length": str(MAX_UPLOAD_BYTES + MAX_BODY_BYTES + 1),
        "Content-Type": "multipart/form-data; boundary=x",
    }
    assert (await client.post("/api/check", content=b"", headers=too_much)).status_code == 413
    many = [("images", (f"{n}.jpg", b"x")) for n in range(21)]
    assert (await client.post("/api/check", files=many)).status_code == 400
    assert (await client.post("/api/check", json={})).status_code == 400

    form_type = {"Content-Type": "application/x-www-form-urlencoded"}

    async def endless():
        for _ in range(70):
            yield b"x" * 1024

    assert (await client.post("/review", content=endless(), headers=form_type)).status_code == 413


def test_the_rate_limit_fills_up_again():
    """Who asks too often waits as long as is said, and not longer."""
    now = [0.0]
    limit = RateLimit(60, lambda: now[0])
    assert limit.wait_seconds("a", 60) == 0
    assert limit.wait_seconds("a") == pytest.approx(1)
    assert limit.wait_seconds("b") == 0
    now[0] = 1.0
    assert limit.wait_seconds("a") == 0


async def test_elsewhere_a_token_is_needed(rejections):
    """Without the token there is nothing to see; with it there is, under its holder's name, until it is taken back."""
    file = rejections.root / "tokens"
    file.write_text(hashlib.sha256(b"letmein").hexdigest() + " carla\n")
    async with _client(_site(rejections, access=Access(tokens=Tokens(file)))) as client:
        assert (await client.get("/")).status_code == 303
        assert (await client.get("/api/decisions")).status_code == 401
        assert (await client.get("/decisions/1/image")).status_code == 303
        assert (await client.get("/api/decisions", headers={"Authorization": "Bearer no"})).status_code == 401
        assert (await client.get("/api/decisions", headers={"Authorization": "Bearer letmein"})).status_code == 200
        assert (await client.post("/login", data={"token": "no"})).status_code == 403
        answer = await client.post("/login", data={"token": "letmein"})
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert (await client.get("/")).status_code == 200
        form = _form((await client.get("/review?action=confirm&ids=2")).text)
        await client.post("/review", data=form | {"who": "somebody else"})
        assert "confirm by carla" in (await client.get("/decisions/2")).text
        file.write_text("")
        assert (await client.get("/")).status_code == 303


async def test_whoever_logs_in_comes_to_the_page_that_was_asked_for(rejections):
    """A colleague's link survives the login, a piece of a page sends the whole page there, no link leads elsewhere."""
    path = rejections.root / ".imageguard/tokens"
    token = add(path, "carla")
    async with _client(_site(rejections, access=Access(tokens=Tokens(path)))) as client:
        asked = await client.get("/quarantine?reason=blurry")
        assert asked.headers["location"] == "/login?next=%2Fquarantine%3Freason%3Dblurry"
        door = (await client.get(asked.headers["location"])).text
        assert str(rejections.root) not in door
        assert "version" not in door
        piece = await client.get("/live", headers={"HX-Request": "true"})
        assert (piece.status_code, piece.headers["hx-redirect"]) == (401, "/login")
        entered = await client.post("/login", data=_form(door) | {"token": token})
        assert entered.headers["location"] == "/quarantine?reason=blurry"
        for elsewhere in (
            "https://evil.example/",
            "//evil.example",
            "/\\evil.example",
            "\\\\evil",
            "javascript:alert(1)",
            "",
        ):
            answer = await client.post("/login", data={"token": token, "next": elsewhere})
            assert answer.headers["location"] == "/"


async def test_what_pages_load_is_kept_until_it_changes(client):
    """Five files less are asked for with every image that is looked at: their addresses name their content."""
    loaded = re.findall(r'"(/static/[^"]+)"', (await client.get("/check")).text)
    assert len(loaded) == 5
    for address in loaded:
        kept = await client.get(address)
        assert (kept.status_code, "immutable" in kept.headers["cache-control"]) == (200, True)
        assert address.endswith(f"?{hashlib.sha256(kept.content).hexdigest()[:16]}")
    for unnamed in ("", "?", "?x", "?0123456789abcdef", f"?{loaded[0].partition('?')[2]}&x"):
        assert (await client.get(f"/static/app.css{unnamed}")).headers["cache-control"] == "no-cache", unnamed


async def test_an_address_of_before_an_upgrade_is_not_kept_with_what_came_after_it(client, monkeypatch):
    """A page of the old version names the old content: kept by that, the new one would never be asked for again."""
    style = next(one for one in re.findall(r'"(/static/[^"]+)"', (await client.get("/check")).text) if "app.css" in one)
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + b"/* newer */" * (self.name == "app.css"))
    answer = await client.get(style)
    assert answer.headers["cache-control"] == "no-cache"
    again = await client.get(style, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")


async def test_bars_lead_to_the_images_that_they_count(client, monkeypatch):
    """Each bar of the overview, of a reason or of all, is a link to as many images as it says."""
    monkeypatch.setattr(cache, "PAGE_TIMEOUT_SECONDS", 60)
    text = (await client.get("/live")).text
    found = re.findall(r'<a href="([^"]+)" tabindex="-1"><title>[^<]*: (\d+)( [^<%]+)?<', text)
    bars = [(html.unescape(address), int(number)) for address, number, _ in found]
    assert sum(number for _, number in bars) == 2
    for address, number in bars:
        assert (await client.get(address)).text.count('name="ids"') == number


async def test_the_page_that_counts_stops_asking_every_second_once_it_has_counted(client, monkeypatch):
    """How often the page asks is part of what it gets."""
    monkeypatch.setattr(cache, "PAGE_TIMEOUT_SECONDS", 60)
    assert 'hx-trigger="every 5s" hx-swap="outerHTML"' in (await client.get("/live")).text


@pytest.mark.parametrize("page", [*PAGES, "/healthz", "/decisions/1/image"])
async def test_every_page_answers_to_head(client, page):
    """Monitoring and link checkers ask for headers alone."""
    assert (await client.head(page)).status_code == 200


async def test_tokens_that_cannot_be_read_are_told_and_nobody_is_called_wrong(rejections):
    """Pages and API say that nobody can be let in; that the server lives can still be asked."""
    path = rejections.root / "tokens"
    path.mkdir()
    site = _site(rejections, access=Access(frozenset({"127.0.0.1"}), Tokens(path)))
    async with _client(site) as client:
        for page in ("/", "/api/summary"):
            answer = await client.get(page, headers={"Authorization": "Bearer any"})
            assert (answer.status_code, str(path) in answer.text) == (503, False)
            assert answer.headers["Retry-After"]
            assert "cannot be read" in answer.text
        assert (await client.get("/healthz")).status_code == 200
        login = await client.post("/login", data={"token": "any"})
        assert (login.status_code, str(path) in login.text) == (500, False)


async def test_the_interface_pages_by_keys(client):
    """Every decision comes once, newest first; report and findings are those of the command."""
    first = (await client.get("/api/decisions?limit=2")).json()
    rest = (await client.get(f"/api/decisions?limit=2&before={first['next_before']}")).json()
    assert [one["id"] for one in first["decisions"] + rest["decisions"]] == [3, 2, 1]
    assert rest["next_before"] is None
    assert (await client.get("/api/report")).json()["quarantined"] == 2
    assert "findings" in (await client.get("/api/findings")).json()
    assert "/api/check" in (await client.get("/api/openapi.json")).json()["paths"]


REPORTS = (
    {},
    {"by": "reason"},
    {"by": "class,day", "since": "2020-01-01", "until": "2020-12-31"},
    {"by": "week,source", "since": "7d"},
    {"source": "default", "class": "cat", "camera": "", "preset": "general"},
    {"class": "cat", "until": "2020-01-01T08:30"},
    {"since": "2020-01-01T08:30+01:00"},
)


@pytest.mark.parametrize("asked", REPORTS)
async def test_the_interface_reports_what_the_command_does(client, rejections, asked):
    """The same options with the same defaults give the same numbers."""
    options = [part for name, value in asked.items() for part in (f"--{name}", value)]
    printed = CliRunner().invoke(command, [str(rejections.root), "--format", "json", *options])
    answered = (await client.get("/api/report", params=asked)).json()
    ours, theirs = ({**one, "since": 0, "until": 0} for one in (json.loads(printed.stdout), answered))
    assert ours == theirs


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/api/report?untill=2020-01-01", 422, "'untill'; did you mean until"),
        ("/api/report?class_name=cat", 422, "no parameter 'class_name'"),
        ("/api/report?source=default&source=other", 422, "source is given more than once"),
        ("/api/report?by=day,week", 422, "by"),
        ("/api/report?since=2025-02-29", 422, "since: '2025-02-29' is not a time such as 7d"),
        ("/api/report?until=soon", 422, "until: 'soon' is not a time"),
        ("/api/report?by=class,class", 422, "by"),
        ("/api/report?class=cta", 404, "no class 'cta'; did you mean 'cat'"),
        ("/api/report?since=2020-01-02&until=2020-01-01", 404, "not before"),
        ("/api/findings?by=class", 422, "no parameter 'by'"),
        ("/api/decisions?class=cat", 422, "known are before, limit"),
        ("/?period=7d", 422, "no parameter"),
        ("/live?x=1", 422, "no parameter"),
        ("/quarantine?class=cat", 422, "no parameter"),
        ("/review?class=cat&action=release", 422, "no parameter"),
        ("/thresholds?blur=3", 422, "no parameter"),
        ("/thresholds/effect?blur=3", 422, "no parameter"),
        ("/decisions/1?x=1", 422, "no parameter"),
        ("/decisions/1/thumbnail?x=1", 422, "no parameter"),
        ("/check?x=1", 422, "no parameter"),
        ("/api?x=1", 422, "no parameter"),
        ("/nowhere?x=1", 404, "no such page"),
    ],
)
async def test_a_parameter_that_nobody_reads_is_refused(client, address, status, words):
    """A misspelt filter must not be answered by wider numbers, or a wider selection."""
    answer = await client.get(address)
    assert answer.status_code == status
    assert words in html.unescape(answer.text)


@pytest.mark.parametrize(
    "address",
    [
        "/quarantine?reason=blurry&reason=noisy",
        "/quarantine?class_name=cat&class_name=dog",
        "/quarantine?order=newest&order=newest",
        "/quarantine/count?state=waiting&state=all",
        "/review?which=matching&source=a&source=b",
        "/review?which=ticked&which=matching&ids=1",
        "/decisions/1?low=1&score=blur_score&low=2",
        "/thresholds?blur_score=1&blur_score=2",
        "/thresholds/effect?preset=general&preset=detection",
        "/?since=24h&since=7d",
        "/api/report?class=cat&class=dog",
        "/login?next=/a&next=/b",
    ],
)
async def test_a_parameter_given_twice_is_refused(client, address):
    """Of two filters of one name none is left out in silence."""
    answer = await client.get(address)
    assert (answer.status_code, "given more than once" in answer.text) == (422, True)


@pytest.mark.parametrize("field", ["reason", "class_name", "action", "newest", "count", "at_reason", "csrf"])
async def test_a_field_given_twice_is_refused(client, rejections, field):
    """A form of which one of two values would be left out does nothing."""
    form = _form((await client.get("/review?action=release&ids=2")).text)
    form |= {"who": "anna", field: 2 * [form.get(field, "noisy")]}
    answer = await client.post("/review", data=form)
    assert (answer.status_code, "given more than once" in answer.text) == (422, True)
    assert (rejections.quarantine / "cat/2.jpg").exists()


async def test_ticks_beside_all_that_match_are_refused(client, rejections):
    """It is the one or the other: neither the ticks nor the filters are left out in silence."""
    asked = await client.get("/review?action=release&which=matching&ids=2")
    assert (asked.status_code, "the one or the other" in asked.text) == (400, True)
    form = _form((await client.get("/review?action=release&which=matching")).text) | {"who": "anna", "ids": ["2"]}
    answer = await client.post("/review", data=form)
    assert (answer.status_code, "the one or the other" in answer.text) == (400, True)
    assert (rejections.quarantine / "cat/2.jpg").exists()
    assert (await client.get("/review?action=release&which=all&ids=2")).status_code == 400


_NO_WHOLE_NUMBERS = ("-1", " 5", "5 ", "+5", "5.0", "1_0", "nan", "inf", "1e3", "٣", 5000 * "0", 5000 * "9")
_WHOLE_NUMBERS = (
    ("/quarantine", "after"),
    ("/review?which=matching", "after"),
    ("/review", "ids"),
    ("/api/decisions", "before"),
    ("/api/decisions", "limit"),
)


async def test_no_odd_number_is_read_as_another(client):
    """Numbers of images and pages are digits alone; anything else is told, whatever could be made of it."""
    for odd, (address, name) in itertools.product(_NO_WHOLE_NUMBERS, _WHOLE_NUMBERS):
        answer = await client.get(httpx.URL(address).copy_merge_params({name: odd}))
        assert (answer.status_code in {400, 422}, name in answer.text) == (True, True), (odd, address, answer.text)
    for odd in set(_NO_WHOLE_NUMBERS) - {"5.0"} | {"9999999999999999999"}:  # a dot stands between two pages
        assert (await client.get("/quarantine", params={"trail": odd})).status_code in {400, 422}, odd
    for odd in _NO_WHOLE_NUMBERS:
        assert (await client.get(f"/decisions/{quote(odd)}")).status_code == 422


async def test_an_odd_number_in_a_form_is_told_before_anything_is_done(client, rejections):
    """Also where only the way back is concerned."""
    form = _form((await client.get("/review?action=release&ids=2")).text) | {"who": "anna"}
    for odd, field in itertools.product(_NO_WHOLE_NUMBERS, ("ids", "count", "newest", "after", "back")):
        answer = await client.post("/review", data=form | {field: odd})
        assert (answer.status_code, field in answer.text) == (400, True), (odd, field, answer.text)
    assert (await client.post("/review", data=form | {"trail": "5.x"})).status_code == 400
    assert (rejections.quarantine / "cat/2.jpg").exists()


async def test_a_limit_that_is_no_number_is_told(client):
    """A range that nothing can be in, or that anything is in, looks like an answer."""
    for odd in ("nan", "inf", "-inf", "1e400", "1_0", "0x5", "٣", "5,5", 4000 * "9", 5000 * "9"):
        for name in ("low", "high"):
            answer = await client.get("/quarantine", params={"score": "blur_score", name: odd})
            assert answer.status_code == 400, odd
        assert (await client.get("/thresholds", params={"blur_score": odd})).status_code == 400, odd
    for odd in (" 5", "-1", "100.1"):
        assert (await client.get("/thresholds/effect", params={"blur_score": odd})).status_code == 400, odd


async def test_a_length_that_is_no_number_is_refused(client):
    """However many digits it has."""
    for odd in (5000 * "9", "²", "-1", "1e3"):
        assert (await client.get("/", headers={"Content-Length": odd.encode()})).status_code == 413


async def test_every_route_refuses_what_it_does_not_know(client):
    """The rule is the application's: no page and no answer for programs is without it."""
    described = (await client.get("/api/openapi.json")).json()["paths"]
    for address in {*(page.partition("?")[0] for page in PAGES), *described, "/healthz"}:
        method = "GET" if "get" in described.get(address, {"get": {}}) else "POST"
        assert (await client.request(method, address, params={"nobody_reads": 1})).status_code == 422, address


@pytest.mark.parametrize("address", ["/review", "/check", "/api/check", "/login"])
async def test_a_field_that_nobody_reads_is_refused(client, rejections, address):
    """A form with another field than its page has does nothing."""
    form = _form((await client.get("/review?action=release&ids=2")).text) if address == "/review" else {"token": "x"}
    form |= {"class": "cat"}
    given = {"files": {"image": ("1.jpg", jpeg(photo()))}} if "check" in address else {"data": form}
    answer = await client.post(address, **given)
    assert (answer.status_code, "no parameter" in html.unescape(answer.text)) == (422, True)
    assert (rejections.quarantine / "cat/2.jpg").exists()


async def test_a_typed_name_is_remembered(client):
    """Where nobody needs a token, the next form begins with the name that was typed last."""
    form = _form((await client.get("/review?action=confirm&ids=2")).text) | {"who": "Zoë"}
    await client.post("/review", data=form)
    assert 'name="who" value="Zoë"' in (await client.get("/review?ids=1")).text


async def test_a_page_that_is_still_counting_says_so_and_asks_again(client, monkeypatch):
    """However large the log, the overview and the thresholds are there at once."""
    may_end = threading.Event()
    for where, name in ((overview, "report_on"), (thresholds, "simulation_of")):
        real = getattr(where, name)
        monkeypatch.setattr(where, name, lambda *args, real=real: (may_end.wait(60), real(*args))[1])
    first = await client.get("/?since=7d")
    assert "Counting the log" in first.text
    assert '<noscript><meta http-equiv="refresh"' in first.text
    tried = await client.get("/thresholds?blur_score=81")
    assert "this fills by itself" in tried.text
    assert "blur_score: 81" in tried.text
    may_end.set()
    await client.get("/api/report?since=7d")
    with anyio.fail_after(60):
        while "refresh" in (first := await client.get("/?since=7d")).text:  # noqa: ASYNC110 - made by a thread
            await anyio.sleep(0.05)
    assert "Worst classes" in first.text


async def test_questions_that_take_long_hold_up_no_page(client, monkeypatch):
    """Thirty at once: pages answer, those that fit are answered in the end, the others are told to come again."""
    may_end = threading.Event()
    real = overview.report_on
    monkeypatch.setattr(overview, "report_on", lambda *args: (may_end.wait(60), real(*args))[1])
    api_models = []

    async def ask(number):
        api_models.append(await client.get(f"/api/report?since={number + 1}d"))

    with anyio.fail_after(120):
        async with anyio.create_task_group() as asking:
            for number in range(30):
                asking.start_soon(ask, number)
            await anyio.wait_all_tasks_blocked()
            assert [(await client.get(page)).status_code for page in ("/healthz", "/quarantine", "/check")] == [200] * 3
            may_end.set()
    statuses = Counter(answer.status_code for answer in api_models)
    assert set(statuses) == {200, 503}
    assert statuses[200] >= api.MAX_WAITING


async def test_those_who_ask_the_same_wait_together(client, monkeypatch):
    """Fifty at once for one report: all are answered, and it is made once."""
    made, may_end = [], threading.Event()
    real = overview.report_on
    monkeypatch.setattr(overview, "report_on", lambda *args: (made.append(1), may_end.wait(60), real(*args))[2])
    statuses = []

    async def ask():
        statuses.append((await client.get("/api/findings?since=9d")).status_code)

    with anyio.fail_after(120):
        async with anyio.create_task_group() as asking:
            for _ in range(50):
                asking.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            may_end.set()
    assert (statuses, made) == ([200] * 50, [1])


async def test_what_the_overview_has_counted_is_not_counted_again_for_programs(client, monkeypatch):
    """A moment ago is as good as now; another question is another report."""
    made = []
    real = overview.report_on
    monkeypatch.setattr(cache, "PAGE_TIMEOUT_SECONDS", 60)
    monkeypatch.setattr(overview, "report_on", lambda *args: (made.append(1), real(*args))[1])
    assert (await client.get("/live")).status_code == 200
    shared = (await client.get("/api/report?since=24h")).json()
    assert (shared["total"], made) == (3, [1])
    assert (await client.get("/api/report?since=24h&by=reason")).json()["total"] == 3
    assert made == [1, 1]


async def test_thresholds_are_tried_and_never_applied(client, rejections):
    """The page shows an effect and YAML, and the log is as before."""
    before = (rejections.root / "audit.db").read_bytes()
    answer = await client.get("/thresholds?preset=detection&blur_score=80&since=")
    assert "  - name: default\n    preset: detection\n    thresholds: {blur_score: 80}" in html.unescape(answer.text)
    assert "blur_score 80: blur of 1.0 px" in answer.text
    assert (rejections.root / "audit.db").read_bytes() == before


async def test_thresholds_begin_with_what_is_in_force_for_the_source(rejections, monkeypatch):
    """Each source has its own limits and its own YAML; the address keeps what was moved, and nothing else."""
    monkeypatch.setattr(cache, "PAGE_TIMEOUT_SECONDS", 60)
    sources = [
        {"name": "default", "thresholds": {"blur_score": 57.25, "noise_score": 35}},
        {"name": "scraper", "inbox": "scraped", "accepted": "a2", "quarantine": "q2", "preset": "fine_grained"},
    ]
    settings = Settings.model_validate({"root": rejections.root, "sources": sources})
    async with _client(Site(settings, rejections.root / "audit.db", "anna")) as client:
        page = (await client.get("/thresholds?since=")).text
        assert "thresholds: {blur_score: 57.25, noise_score: 35}" in page
        sliders = re.findall(r'type="range" id="(\w+)".*? step="([\d.]+)" value="([\d.]+)"', page)
        assert {name: step for name, step, _ in sliders if step != "0.1"} == {"blur_score": "0.01"}
        assert all(Decimal(value) % Decimal(step) == 0 for _, step, value in sliders)  # the browser rounds to steps
        stand = {name: value for name, _, value in sliders}
        untouched = await client.get("/thresholds/effect", params={"since": "", **stand})
        assert "thresholds: {blur_score: 57.25, noise_score: 35}" in untouched.text
        assert untouched.headers["hx-replace-url"] == "/thresholds?source=default&preset=&since="
        moved = await client.get("/thresholds/effect", params={"since": "", **stand, "blur_score": "76"})
        assert moved.headers["hx-replace-url"] == "/thresholds?source=default&preset=&since=&blur_score=76"
        other = (await client.get("/thresholds?source=scraper&was=+default&blur_score=12")).text
        assert re.search(r"- name: scraper\n    preset: fine_grained\s*</pre>", other), other
        assert (await client.get("/thresholds?source=nobody")).status_code == 400


async def test_the_smallest_move_of_a_slider_is_one(client):
    """What differs from what is in force is tried, in the address and in the YAML, with all its digits."""
    tried = await client.get("/thresholds/effect?since=&blur_score=57.2512345")
    assert "blur_score: 57.2512345}" in tried.text
    assert "blur_score=57.2512345" in tried.headers["hx-replace-url"]


async def test_exposure_score_sets_both_sliders(client):
    """As it does in a configuration: it is not left out where the ends have sliders of their own."""
    page = (await client.get("/thresholds?since=&exposure_score=12")).text
    stand = dict(re.findall(r'type="range" id="(\w+)".*? value="([\d.]+)"', page))
    assert (stand["overexposure_score"], stand["underexposure_score"]) == ("12", "12")


ANSWERS = {
    "/api/decisions": api_models.Decisions,
    "/api/report": api_models.Report,
    "/api/report?by=class,day&since=7d": api_models.Report,
    "/api/findings": api_models.Findings,
}


@pytest.mark.parametrize("address", ANSWERS)
async def test_what_the_interface_answers_has_the_form_that_it_describes(client, rejections, address):
    """No field is missing, none is more, and each has its type: of decisions, reports with reviews, and findings."""
    rejections.do(release, 1)
    for number in range(40):
        rejections.file(f"bad/{number}.jpg", class_name="bad")
    answer = await client.get(address)
    assert answer.status_code == 200
    ANSWERS[address].model_validate_json(answer.content)


async def test_what_an_upload_is_answered_has_the_form_that_is_described(client):
    """Of what can be measured, and of what cannot."""
    files = [("images", (name, data)) for name, data in (("a.jpg", jpeg(photo())), ("b.jpg", b"no image"))]
    api_models.Checked.model_validate_json((await client.post("/api/check", files=files)).content)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_a_request_of_another_kind_is_told_which_there_are(client, method):
    """405, as described, in our words, and with what the address takes."""
    for address, takes in (("/api/report", "GET"), ("/api/check", "POST")):
        if method != takes:
            refused = await client.request(method, address)
            assert (refused.status_code, refused.headers["Allow"]) == (405, takes)
            assert refused.json() == {"detail": "This address does not take such requests."}


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/api/report?since=1h&until=1d", "since 1h is not before until 1d"),
        ("/api/findings?since=2025-02-02&until=2025-02-01", "since 2025-02-02 is not before until 2025-02-01"),
        ("/quarantine?since=never", "since 'never' is not a time"),
        ("/quarantine?until=never", "until 'never' is not a time"),
        ("/quarantine/scores?since=1h&until=1d", "since 1h is not before until 1d"),
    ],
)
async def test_a_wrong_question_is_told_by_the_names_of_the_address(client, address, words):
    """Nobody who asks a page has given an option of a command."""
    told = html.unescape((await client.get(address)).text)
    assert words in told
    assert f"--{words[:5]}" not in told


@pytest.mark.parametrize("has_tokens", [True, False])
async def test_the_description_has_every_answer_and_how_to_be_let_in(rejections, has_tokens):
    """Each answer that can come is described with its form; a token is needed exactly where it says so."""
    path = rejections.root / ".imageguard/tokens"
    headers = {"Authorization": f"Bearer {add(path, 'carla')}"}
    site = _site(rejections, access=Access(tokens=Tokens(path))) if has_tokens else _site(rejections)
    async with _client(site) as client:
        described = (await client.get("/api/openapi.json", headers=headers)).json()
    for address, methods in described["paths"].items():
        for method, one in methods.items():
            needed = {"200", "401", "405", "408", "413", "421", "422", "500", "503"}
            needed |= {"400", "403", "429"} if method == "post" else set()
            needed |= {"404"} if address in {"/api/report", "/api/findings"} else set()
            assert set(one["responses"]) == needed, address
            for status, answer in one["responses"].items():
                assert answer["content"]["application/json"]["schema"], (address, status)
                assert ("Retry-After" in answer.get("headers", {})) == (status in {"429", "503"}), (address, status)
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert ({} in described["security"]) == (not has_tokens)


WRONG = {
    "/decisions/99": (404, "Not found"),
    "/nowhere": (404, "Not found"),
    "/static/nothing.js": (404, "Not found"),
    "/quarantine?after=x": (422, "Invalid request"),
    "/quarantine?trail=x": (422, "Invalid request"),
    "/decisions/0": (422, "Invalid request"),
    "/decisions/99999999999999999999": (422, "Invalid request"),
    "/quarantine?reason=nonsense": (400, "Invalid request"),
    "/decisions/99/image": (404, "Not found"),
}
_OF_LIBRARIES = (
    "Input should",
    "String should",
    "Not Found",
    "Method Not",
    "Internal Server",
    "parsing",
    "Value error",
)


def _is_told(answer, status, title):
    assert (answer.status_code, f"<title>{title} - imageguard-daemon</title>" in answer.text) == (status, True)
    assert 'href="/quarantine"' in answer.text
    assert ("Retry-After" in answer.headers) == (status in {429, 503})
    assert not any(words in answer.text for words in _OF_LIBRARIES), answer.text


@pytest.mark.parametrize("address", WRONG)
async def test_a_page_that_there_is_not_says_so_and_shows_the_way_on(client, address):
    """With its title, in words of ours, with all pages to go to; a person who opens a picture gets that, too."""
    _is_told(await client.get(address, headers={"Accept": "text/html,*/*"}), *WRONG[address])


async def test_what_is_refused_or_fails_is_told_with_the_way_on(client, rejections, monkeypatch):
    """Forms of others, too much, too often, a locked log, and what nobody foresaw."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    _is_told(await client.post("/review", headers={"Origin": "http://evil.example"}), 403, "Not allowed")
    _is_told(await client.post("/review", data={"csrf": "guess"}), 403, "Not allowed")
    _is_told(await client.post("/quarantine"), 405, "Not allowed")
    _is_told(await client.post("/review", content=b"x" * 70_000, headers=form), 413, "Too large")
    _is_told(
        await client.post("/check", headers={"Content-Length": str(MAX_UPLOAD_BYTES + MAX_BODY_BYTES + 1)}),
        413,
        "Too large",
    )
    for _ in range(600):  # one more may be asked each second
        if (often := await client.post("/check")).status_code == 429:
            break
    _is_told(often, 429, "Too often")
    for error, status, title in (
        (StalledError("the log is locked"), 503, "Not now"),
        (DataError("the log is damaged"), 500, "Something is wrong at the server"),
        (RuntimeError("Internal Server Error"), 500, "Something is wrong at the server"),
    ):

        def fails(*_arguments, error=error):
            raise error

        monkeypatch.setattr("imageguard_daemon.web.pages.gallery.page", fails)
        _is_told(await client.get("/quarantine"), status, title)
        monkeypatch.setattr("imageguard_daemon.web.api.newest_decisions", fails)
        answer = await client.get("/api/decisions")
        assert (answer.status_code, list(answer.json())) == (status, ["detail"])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("limit=0", "limit is at least 1."),
        ("limit=501", "limit is at most 500."),
        ("before=x", "before: 'x' is not a whole number that a log can have"),
        ("before=%20", "before: ' ' is not a whole number that a log can have"),
    ],
)
async def test_a_wrong_parameter_is_named_with_what_it_may_be(client, address, words):
    """Programs are told in the same words as people, always as JSON."""
    answer = await client.get(f"/api/decisions?{address}")
    assert (answer.status_code, answer.json()["detail"]) == (422, words)
    for wrong in (
        await client.post("/api/check", headers={"Origin": "http://evil.example"}),
        await client.get("/api/report", headers={"Host": "evil.example"}),
        await client.get("/api/nowhere"),
        await client.post("/api/report"),
    ):
        assert isinstance(wrong.json()["detail"], str)


async def test_the_checker_judges_by_the_readout_in_force(rejections, tmp_path):
    """An upload is judged as the daemon would judge it, and the answer names the scorer."""
    own = write_readout(tmp_path / "own.npz")
    scoring = rejections.settings.scoring.model_copy(update={"readout": own})
    rejections.settings = rejections.settings.model_copy(update={"scoring": scoring})
    good = jpeg(photo(280, 200))
    async with _client(_site(rejections)) as client:
        [told] = (await client.post("/api/check", files=[("images", ("1.jpg", good))])).json()["images"]
    assert told["scorer_version"] == validate(good, readout=own).scorer_version
    assert not told["presets"]["general"]["ok"]


async def test_the_checker_judges_as_the_running_daemon_or_not_at_all(rejections, tmp_path, monkeypatch):
    """After its readout was replaced a check says why there is none, and goes on once the daemon has the new one."""
    own = write_readout(tmp_path / "own.npz")
    scoring = rejections.settings.scoring.model_copy(update={"readout": own})
    rejections.settings = rejections.settings.model_copy(update={"scoring": scoring})
    good, folder = jpeg(photo(280, 200)), rejections.settings.state_folder
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(uploads, "running_process", lambda asked: os.getpid() if asked == folder else None)
    first = validate(good, readout=own).scorer_version

    def daemon_has(scorer_version: str) -> None:
        live.write(Snapshot(process_id=os.getpid(), scorer_version=scorer_version), folder)

    async with _client(_site(rejections)) as client:

        async def checked():
            return await client.post("/api/check", files=[("images", ("1.jpg", good))])

        daemon_has(first)
        write_readout(own, moved=-0.4)
        second = validate(good, readout=own).scorer_version
        refused = await checked()
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        assert f"by scorer {first}" in refused.json()["detail"]
        assert second in refused.json()["detail"]
        page = await client.post("/check", files=[("images", ("1.jpg", good))])
        assert (page.status_code, "once the daemon was restarted" in page.text) == (503, True)
        daemon_has(second)
        for _ in range(2):  # by what was read, whatever becomes of the file
            [told] = (await checked()).json()["images"]
            assert told["scorer_version"] == second
            own.write_bytes(b"none")
        daemon_has(first)
        assert "is not a readout" in (await checked()).json()["detail"]
        monkeypatch.setattr(uploads, "running_process", lambda _: None)
        assert (await checked()).status_code == 200


async def test_pages_need_no_readout_but_to_check(rejections, tmp_path):
    """One that is not there is told by the check alone, in a sentence; the other pages are there."""
    scoring = rejections.settings.scoring.model_copy(update={"readout": tmp_path / "own.npz"})
    rejections.settings = rejections.settings.model_copy(update={"scoring": scoring})
    good = jpeg(photo(280, 200))
    async with _client(_site(rejections)) as client:
        assert [(await client.get(page)).status_code for page in ("/", "/quarantine", "/check")] == [200] * 3
        refused = await client.post("/api/check", files=[("images", ("1.jpg", good))])
        assert refused.status_code == 503
        assert re.fullmatch(r"No image can be checked: scoring.readout: cannot read .*", refused.json()["detail"])
        write_readout(tmp_path / "own.npz")
        assert (await client.post("/api/check", files=[("images", ("1.jpg", good))])).status_code == 200


async def test_the_checker_needs_no_log(tmp_path):
    """Without a root there are uploads, their description, and no link to a page that there is not."""
    site = Site(
        Settings(root=tmp_path / "nothing"), tmp_path / "nothing/audit.db", "anna", may_act=False, has_log=False
    )
    async with _client(site) as client:
        page = await client.get("/", follow_redirects=True)
        assert (page.url.path, page.status_code) == ("/check", 200)
        assert set(re.findall(r'<a href="(/[^"]*)"', page.text)) == {"/check", "/api"}
        files = [("images", ("a.jpg", jpeg(photo())))]
        assert "accepted" in (await client.post("/check", files=files)).text
        assert list((await client.get("/api/openapi.json")).json()["paths"]) == ["/api/check"]
        for address in ("/quarantine", "/decisions/1", "/api/report", "/review?ids=1"):
            missing = await client.get(address)
            assert missing.status_code == 404
            assert "/quarantine" not in missing.text
    assert not (tmp_path / "nothing").exists()
