"""The documentation as a site: it is complete, no link in it is dead, and it needs nothing from elsewhere."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "mkdocs.yml"


class _Links(HTMLParser):
    """What a page points to, what it loads, and what can be pointed to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if known.get("id"):
            self.anchors.add(known["id"])
        for name in ("href", "src"):
            if known.get(name):
                self.targets.append(known[name])
                if tag != "a" and known.get("rel") not in {"canonical", "prev", "next"}:
                    self.loaded.append(known[name])


@dataclass
class Site:
    """The built pages, each with its links, by path below the site."""

    folder: Path
    pages: dict[Path, _Links] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in self.folder.rglob("*.html"):
            self.pages[path] = links = _Links()
            links.feed(path.read_text(encoding="utf-8"))


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of a folder that has mkdocs.yml and docs/."""
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Build the site from a copy of the documents."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(CONFIG, folder)
    built = build(folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return Site(folder / "site")


def _nav(entries: list) -> Iterator[str]:
    for entry in entries:
        for value in [entry] if isinstance(entry, str) else entry.values():
            yield from [value] if isinstance(value, str) else _nav(value)


def test_each_page_is_in_the_navigation_once():
    """Who adds a page to docs/ adds a line to `nav` in mkdocs.yml, and nothing there leads nowhere."""
    listed = list(_nav(yaml.safe_load(CONFIG.read_text())["nav"]))
    assert len(listed) == len(set(listed))
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert set(listed) == pages


def test_each_page_has_one_title():
    """A page begins with its title, and has no other heading of that level."""
    for path in (ROOT / "docs").rglob("*.md"):
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        assert text.startswith("# "), path
        assert len(re.findall("^# ", text, re.MULTILINE)) == 1, path


def test_a_link_says_where_it_leads():
    """Readers of the site see titles of pages, not names of files; the mark of pure modules is no emphasis."""
    for path in (ROOT / "docs").rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"\[[\w./-]+\.md\]\(", text) == [], path
    assert re.findall(r"`[\w./]+`\*", (ROOT / "docs/architecture.md").read_text()) == [], "write `name.py`\\*"


def test_no_link_of_the_site_is_dead(site):
    """Every link, picture, script and style leads to a file of the site, and to an anchor that is there."""
    dead = []
    for page, links in site.pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme in {"http", "https", "mailto"}:
                continue
            base = site.folder if parts.path.startswith("/") else page.parent
            path = (base / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
            path = path / "index.html" if path.is_dir() else path
            anchors = site.pages[path].anchors if path in site.pages else None
            if not path.is_file() or (parts.fragment and anchors is not None and parts.fragment not in anchors):
                dead.append((str(page.relative_to(site.folder)), target))
    assert not dead, "\n".join(map(str, dead))


def test_reading_the_site_asks_no_other_server(site):
    """No page loads a font, a script, a style or a picture from elsewhere."""
    foreign = {
        target for links in site.pages.values() for target in links.loaded if urlsplit(target).scheme.startswith("http")
    }
    assert foreign == set()


def test_a_dead_link_in_a_document_fails_the_build(tmp_path):
    """A warning of the site's builder is an error."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text("site_name: x\nnav: [index.md]\n")
    (tmp_path / "docs/index.md").write_text("# x\n\n[to nowhere](nowhere.md)\n")
    assert build(tmp_path).returncode != 0
