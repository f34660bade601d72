"""The gallery shows what the code says today."""

import re
from pathlib import Path

import pytest

from bench.gallery import DOCS, PICTURE_SIZE, ROWS, examples, judged, page, picture_name, read_original, shown, write
from imageguard_daemon.quality.scoring import SCALES

PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")
TOLERANCE = 3.0
"""Points of score: other builds of numpy and OpenCV round differently."""


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("| \n").split(" | ")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_the_page_has_the_scores_of_the_code(row):
    """Every score on the page is what the code gives for that picture; else run `python -m bench.gallery`."""
    scale = next(scale for scale in SCALES if scale.measure == row.measure)
    name = f"{scale.signal}_score"
    table = [cells(line) for line in section(row.title).splitlines() if line.startswith("|")]
    documented = [float(re.findall(r"score (\d+)$", cell)[0]) for cell in table[4]]
    found = [example.decision for example in examples(row, read_original())]
    assert documented == pytest.approx([decision.scores[name] for decision in found], abs=TOLERANCE)
    for verdict, decision in zip(table[5], found, strict=True):
        if abs(decision.scores[name] - decision.thresholds[name]) > TOLERANCE:
            assert (f"`{scale.issue}`" in verdict) == (scale.issue in decision.issues)


def test_the_photo_itself_is_accepted():
    """An example of damage begins with a good photo."""
    assert judged(read_original()).ok
    assert "| accepted |" in section("The photo as it is")


def test_the_page_is_what_the_command_writes(tmp_path: Path):
    """Page and pictures are made, not drawn by hand: the same text but for numbers, and exactly these files."""
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "original.jpg").write_bytes((DOCS / "gallery" / "original.jpg").read_bytes())
    write(tmp_path)

    def prose(text: str) -> list[str]:
        return [line for line in text.splitlines() if not line.startswith("|") or "](" in line]

    assert prose((tmp_path / "gallery.md").read_text(encoding="utf-8")) == prose(PAGE)
    assert {path.name for path in tmp_path.glob("gallery/*")} == {path.name for path in DOCS.glob("gallery/*")}


def test_every_picture_of_the_page_is_there_and_the_whole_is_small():
    """A clone stays light: a megabyte for all examples."""
    names = re.findall(r"\]\(gallery/([^)]+)\)", PAGE)
    assert set(names) == {"original.jpg", *(picture_name(row, n) for row in ROWS for n in range(1, 6))}
    assert sum((DOCS / "gallery" / name).stat().st_size for name in names) < 1_000_000


def test_all_pictures_show_the_same_part_at_the_same_size():
    """Of a thumbnail the same view is shown, enlarged."""
    original = read_original()
    for row in ROWS:
        *_, worst = examples(row, original)
        assert shown(worst.rgb, original).size == PICTURE_SIZE


def test_the_page_names_author_and_licence():
    """Who takes a picture from the docs knows that they may."""
    assert "Rachel Michetti" in PAGE
    assert "creativecommons.org/publicdomain/zero" in PAGE


def test_a_page_without_rows_is_still_one():
    """The page is made of decisions alone."""
    assert page(judged(read_original()), []).startswith("# Gallery\n")
