"""Which names are candidates."""

import pytest

from imageguard_daemon.config import Intake
from imageguard_daemon.intake.selection import Left, Selection

DEFAULT = Selection.from_settings(Intake())
WITH_SIDECARS = Selection.from_settings(Intake(sidecars=True))


@pytest.mark.parametrize("name", ["1.jpg", "1.JPG", "1.JpEg", "a.b.png", "猫.webp", "line\nbreak.gif", "1 (copy).tif"])
def test_images_are_known_by_their_ending(name: str) -> None:
    """Any case of an image's ending makes a candidate, whatever else is in the name."""
    assert DEFAULT.is_image(name)
    assert DEFAULT.why_left(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *(".1.jpg.Xa3f9Q", ".~tmp~", ".hidden.jpg", "1.jpg~", "~$1.jpg", "#1.jpg#"),
        *("1.jpg.part", "1.jpg.PART", "1.jpg.filepart", "1.jpg.crdownload", "1.tmp", "1.jpg.swp"),
        ".\njpg",
    ],
)
def test_temporaries_of_uploaders_and_editors_are_left_alone(name: str) -> None:
    """What rsync, SFTP clients, browsers and editors write while they work is never a candidate."""
    assert not DEFAULT.is_image(name)
    assert DEFAULT.why_left(name) is Left.ignored


@pytest.mark.parametrize("name", ["1.txt", "README", "1.jpg.", "jpg", "1.mp4"])
def test_other_files_stay_or_are_judged_as_configured(name: str) -> None:
    """Files with other endings stay by default, and go the way of images when `other_files` says so."""
    assert DEFAULT.why_left(name) is Left.other
    assert Selection.from_settings(Intake(other_files="quarantine")).is_image(name)


def test_without_patterns_nothing_is_ignored() -> None:
    """An empty `ignore` ignores no name."""
    assert not Selection.from_settings(Intake(ignore=())).ignores(".hidden")


def test_sidecars_count_only_when_they_are_on() -> None:
    """A label file is another file by default, and waits for its image when sidecars are on."""
    assert DEFAULT.why_left("1.txt") is Left.other
    assert WITH_SIDECARS.why_left("1.TXT") is Left.lone_sidecar


def test_an_image_and_its_sidecars_find_one_another() -> None:
    """Image and label files share folder and stem, in lower and in upper case."""
    assert set(WITH_SIDECARS.sidecars_of("cat/a.b.jpg")) >= {"cat/a.b.txt", "cat/a.b.TXT", "cat/a.b.json"}
    assert {"cat/a.b.jpg", "cat/a.b.JPG"} <= set(WITH_SIDECARS.images_of("cat/a.b.txt"))
    assert not list(DEFAULT.sidecars_of("cat/1.jpg"))
