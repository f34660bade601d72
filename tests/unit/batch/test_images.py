"""The images of a folder as a stream."""

import os
from pathlib import Path

import pytest

from imageguard_daemon.batch.images import ImagesOfFolder, count_images
from imageguard_daemon.config import Intake
from imageguard_daemon.intake.rules.selection import Selection, SkipReason

SELECTION = Selection.from_settings(Intake())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two folders of images, with a link, a text and a hidden file."""
    for name in ("cat/1.jpg", "cat/2.PNG", "dog/3.webp", "dog/out.csv", "dog/.4.jpg", "result.jpg"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (tmp_path / "data" / "link.jpg").symlink_to("cat/1.jpg")
    return tmp_path / "data"


def test_paths_are_as_the_user_would_write_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder gives relative paths; what is left out is counted, and outputs are neither."""
    monkeypatch.chdir(folder.parent)
    images = ImagesOfFolder("data", SELECTION, [Path("data/result.jpg")], unreadable=pytest.fail)
    assert sorted(images) == ["data/cat/1.jpg", "data/cat/2.PNG", "data/dog/3.webp"]
    assert images.left == {SkipReason.link: 1, SkipReason.other: 1, SkipReason.ignored: 1}
    assert images.relative("data/cat/1.jpg") == "cat/1.jpg"
    assert ImagesOfFolder("data/", SELECTION, (), unreadable=pytest.fail).relative("data/cat/1.jpg") == "cat/1.jpg"


def test_a_folder_that_cannot_be_read_is_told_and_passed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are looked at all the same."""
    real, told = os.scandir, []

    def scandir(path: str) -> object:
        if str(path).endswith("cat"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    images = ImagesOfFolder(str(folder), SELECTION, (), told.append)
    assert [os.path.basename(path) for path in sorted(images)] == ["3.webp", "result.jpg"]
    assert told == [str(folder / "cat")]


def test_the_images_of_a_folder_are_counted(folder: Path) -> None:
    """As many as a scan will meet."""
    assert sum(count_images(str(folder), SELECTION)) == 4
