"""Real images are found with what is expected of them, or it is said why not."""

from pathlib import Path

import pytest

from bench.labelled import Label, LayoutError, images_below, read_labelled


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_folders_are_labels(tmp_path: Path):
    """Where an image lies says what is expected of it; hidden files and other folders say nothing."""
    put(tmp_path, "good/night/1.jpg", "bad/blurry/motion/2.jpg", "bad/noisy/3.jpg", "good/.thumb/4.jpg", "rest/5.jpg")
    found = {path.name: str(label) for path, label in read_labelled(tmp_path)}
    assert found == {"1.jpg": "good:night", "2.jpg": "bad:blurry:motion", "3.jpg": "bad:noisy"}


def test_a_table_names_files_relative_to_itself(tmp_path: Path):
    """A CSV file can be moved together with its images; further columns and a byte order mark do no harm."""
    put(tmp_path, "a/1.jpg", "b 2.jpg")
    table = tmp_path / "truth.csv"
    table.write_text("path,label,note\na/1.jpg,good:snow,\nb 2.jpg,not:noisy:crops,x\n", encoding="utf-8-sig")
    assert read_labelled(table) == [
        (tmp_path / "a/1.jpg", Label("good", "", "snow")),
        (tmp_path / "b 2.jpg", Label("not", "noisy", "crops")),
    ]


@pytest.mark.parametrize("text", ["", "bad", "bad:ugly", "fine:night", "not", "not::x"])
def test_what_is_no_label_is_refused(text: str):
    """A misspelt label is no silent group of its own."""
    with pytest.raises(LayoutError, match="not a label"):
        Label.parse(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\n", "no columns path and label"),
        ("path,label\n", "no labelled images"),
        ("path,label\nmissing.jpg,good\n", "line 2: there is no file"),
        ("path,label\n1.jpg\n", "not a label"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, content: str, message: str):
    """Nothing is measured on half of what was meant."""
    put(tmp_path, "1.jpg")
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(LayoutError, match=message):
        read_labelled(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("label", "issues", "met"),
    [
        ("good:night", set(), True),
        ("good", {"noisy"}, False),
        ("bad:blurry", {"noisy", "blurry"}, True),
        ("bad:blurry", {"noisy"}, False),
        ("bad:blurry", set(), False),
        ("not:noisy", {"blurry"}, True),
        ("not:noisy", {"noisy"}, False),
    ],
)
def test_expectations_are_what_they_say(label: str, issues: set[str], met: bool):
    """Good means no issue, bad means this issue, not means anything but this one."""
    assert Label.parse(label).met_by(frozenset(issues)) == met


def test_images_are_found_in_the_order_of_their_names(tmp_path: Path):
    """The same folder draws the same photos on every file system."""
    put(tmp_path, "b/1.jpg", "a.jpg", "a/2.jpg")
    assert images_below(tmp_path) == sorted(tmp_path / name for name in ("b/1.jpg", "a.jpg", "a/2.jpg"))
