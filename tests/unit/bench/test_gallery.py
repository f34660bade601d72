"""The gallery shows what the code says today."""

import re
from pathlib import Path

import numpy as np
import pytest

from bench.gallery import DOCS, PICTURE_SIZE, ROWS, examples, judged, page, picture_name, read_original, shown, write
from bench.kinds import KINDS
from imageguard_daemon.quality.scoring import SCALES

PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")
TOLERANCE = 3.0
"""Points of score: other builds of numpy and OpenCV round differently."""


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def table(text: str, title: str) -> list[list[str]]:
    lines = section(text, title).splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]


def scores(row: list[str]) -> list[float]:
    return [float(re.findall(r"score (\d+)$", cell)[0]) for cell in row]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Path:
    """Give a folder for which the command was run just now."""
    docs = tmp_path_factory.mktemp("docs")
    (docs / "gallery").mkdir()
    (docs / "gallery" / "original.jpg").write_bytes((DOCS / "gallery" / "original.jpg").read_bytes())
    write(docs)
    return docs


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_the_page_has_the_scores_of_the_code(row, fresh: Path):
    """Every score on the page is what the code gives for that picture; else run `python -m bench.gallery`."""
    issue = next(scale.issue for scale in SCALES if scale.measure == row.measure)
    documented, today = table(PAGE, row.title), table((fresh / "gallery.md").read_text(encoding="utf-8"), row.title)
    assert scores(documented[4]) == pytest.approx(scores(today[4]), abs=TOLERANCE)
    limit = float(re.findall(r"threshold is a score of (\d+)", section(PAGE, row.title))[0])
    for score, ours, theirs in zip(scores(today[4]), documented[5], today[5], strict=True):
        if abs(score - limit) > TOLERANCE:
            assert (issue in ours) == (issue in theirs)


def test_the_explanation_shows_a_part_of_the_gallery():
    """The tables in docs/measures.md are columns of those in the gallery, and every kind of damage is explained."""
    explained = (DOCS / "measures.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"<!-- gallery: ([\w ]+) -->\n(.*?)<!-- /gallery -->", explained, re.DOTALL))
    assert set(found) == {row.kind for row in ROWS}
    for row in ROWS:
        lines = [line.strip("|").split(" | ") for line in found[row.kind].strip().splitlines()]
        shown_here = [[cell.strip() for cell in line] for line in lines]
        assert shown_here == [line[::2] for line in table(PAGE, row.title)]


def test_examples_are_measured_not_told(fresh: Path):
    """The page has the scores that `validate` gives for the damaged copies."""
    row = ROWS[0]
    first, *_, last = examples(row, read_original())
    written = scores(table((fresh / "gallery.md").read_text(encoding="utf-8"), row.title)[4])
    assert written[0] == pytest.approx(first.decision.scores["blur_score"], abs=0.5)
    assert written[-1] == pytest.approx(last.decision.scores["blur_score"], abs=0.5)


def test_the_photo_itself_is_accepted():
    """An example of damage begins with a good photo."""
    assert judged(read_original()).ok
    assert "| accepted |" in section(PAGE, "The photo as it is")


def test_the_page_is_what_the_command_writes(fresh: Path):
    """Page and pictures are made, not drawn by hand: the same text but for numbers, and exactly these files."""

    def prose(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("|") or "](" in line]

    assert prose((fresh / "gallery.md").read_text(encoding="utf-8")) == prose(PAGE)
    assert {path.name for path in fresh.glob("gallery/*")} == {path.name for path in DOCS.glob("gallery/*")}


def test_every_picture_of_the_page_is_there_and_the_whole_is_small():
    """A clone stays light: a megabyte for all examples."""
    names = re.findall(r"\]\(gallery/([^)]+)\)", PAGE)
    assert set(names) == {"original.jpg", *(picture_name(row, n) for row in ROWS for n in range(1, 6))}
    assert sum((DOCS / "gallery" / name).stat().st_size for name in names) < 1_000_000


def test_all_pictures_show_the_same_part_at_the_same_size():
    """Of a thumbnail the same view is shown, enlarged."""
    original = read_original()
    for row in ROWS:
        worst = KINDS[row.kind].damaged(original, row.strengths[-1], np.random.default_rng(0))
        assert shown(worst, original).size == PICTURE_SIZE


def test_the_page_names_author_and_licence():
    """Who takes a picture from the docs knows that they may."""
    assert "Rachel Michetti" in PAGE
    assert "creativecommons.org/publicdomain/zero" in PAGE


def test_a_page_without_rows_is_still_one():
    """The page is made of decisions alone."""
    assert page(judged(read_original()), []).startswith("# Gallery\n")
