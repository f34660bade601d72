"""Which names are candidates."""

from pathlib import Path

import pytest

from imageguard_daemon.config import Intake
from imageguard_daemon.intake.rules.selection import PROTECTED, Selection, SkipReason, unprotected

DEFAULT = Selection.from_settings(Intake())
WITH_SIDECARS = Selection.from_settings(Intake(sidecars=True))


@pytest.mark.parametrize("name", ["1.jpg", "1.JPG", "1.JpEg", "a.b.png", "猫.webp", "line\nbreak.gif", "1 (copy).tif"])
def test_images_are_known_by_their_ending(name: str) -> None:
    """Any case of an image's ending makes a candidate, whatever else is in the name."""
    assert DEFAULT.is_image(name)
    assert DEFAULT.skip_reason(name) is None


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
    assert DEFAULT.skip_reason(name) is SkipReason.ignored


@pytest.mark.parametrize("name", ["1.txt", "README", "1.jpg.", "jpg", "1.mp4"])
def test_other_files_stay_or_are_judged_as_configured(name: str) -> None:
    """Files with other endings stay by default, and go the way of images when `other_files` says so."""
    assert DEFAULT.skip_reason(name) is SkipReason.other
    assert Selection.from_settings(Intake(other_files="quarantine")).is_image(name)


def test_without_patterns_nothing_temporary_is_ignored() -> None:
    """An empty `ignore` ignores no hidden and no temporary name."""
    assert not Selection.from_settings(Intake(ignore=())).ignores(".hidden")


@pytest.mark.parametrize("settings", [Intake(), Intake(ignore=()), Intake(ignore=(), other_files="quarantine")])
@pytest.mark.parametrize(
    "name",
    [
        *("#recycle", "$RECYCLE.BIN", "$Recycle.Bin", "@Recycle", "@recycle", ".recycle", ".Trash-1000", ".Trashes"),
        *("@Recently-Snapshot", "#snapshot", "~snapshot", "@eaDir", "@EaDir", "@tmp", ".@__thumb"),
        *("System Volume Information", "lost+found", "FOUND.000", "__MACOSX", "._1.jpg", "Network Trash Folder"),
        *("Thumbs.db", "thumbs.db", "desktop.ini", "Desktop.ini", ".DS_Store", "1.jpg@SynoEAStream"),
        *("1.sync-conflict-20260101-120000-ABCDEFG.jpg", "1 (Bo's conflicted copy 2026-01-01).jpg"),
        *(
            "1_conflict-20260101-120000.jpg",
            "1 (SFConflict bo@example.org 2026-01-01-12-00-00).jpg",
            "~syncthing~1.tmp",
        ),
    ],
)
def test_what_systems_and_nas_make_is_left_alone_whatever_is_ignored(settings: Intake, name: str) -> None:
    """Trash cans, snapshots, indexes and second versions are never judged, in any case of their letters."""
    assert Selection.from_settings(settings).skip_reason(name) is SkipReason.protected
    assert Selection.from_settings(settings).ignores(name)


@pytest.mark.parametrize(
    "name",
    ["recycle", "recycled", "snapshot", "trash", "lost", "found", "tmp", "sync", "conflict-3", "#1", "@home", "$1"],
)
def test_classes_are_not_taken_for_trash(name: str) -> None:
    """Names that a class may well have are no protected ones."""
    assert not DEFAULT.ignores(name)


def test_further_names_add_to_the_defaults_and_replaced_ones_are_told() -> None:
    """`ignore_also` extends; `ignore` replaces, and what it lets through is named, however it is spelt."""
    extended = Selection.from_settings(Intake(ignore_also=("draft-*",)))
    assert extended.ignores("DRAFT-1.jpg")
    assert extended.ignores("1.jpg.part")
    assert not unprotected(Intake())
    assert not unprotected(Intake(ignore_also=("draft-*",)))
    assert (
        unprotected(Intake(ignore=(".*", "*~", "~*", "#*", "*.*[dpt]", "*.!q*", "*.bak", "*.partial", "*.aria2"))) == ()
    )
    assert {"*.part", ".*", "*.aria2"} <= set(unprotected(Intake(ignore=("*.tmp",))))


@pytest.mark.parametrize("name", ["1.jpg.st", "1.JPG.ARIA2", "1.png.lftp-pget-status", "1.jpg.!UT", "1.tif.bc!"])
def test_what_download_programs_keep_is_no_image(name: str) -> None:
    """Not even where all files are judged."""
    everything = Selection.from_settings(Intake(other_files="quarantine", ignore=()))
    assert everything.skip_reason(name) is SkipReason.ignored
    assert not everything.is_image(name)
    assert everything.is_image("1.st")
    assert everything.is_image("main.st")


def test_sidecars_count_only_when_they_are_on() -> None:
    """A label file is another file by default, and waits for its image when sidecars are on."""
    assert DEFAULT.skip_reason("1.txt") is SkipReason.other
    assert WITH_SIDECARS.skip_reason("1.TXT") is SkipReason.lone_sidecar


def test_an_image_and_its_sidecars_find_one_another() -> None:
    """Image and label files share folder and stem, in lower and in upper case."""
    assert set(WITH_SIDECARS.sidecars_of("cat/a.b.jpg")) >= {"cat/a.b.txt", "cat/a.b.TXT", "cat/a.b.json"}
    assert {"cat/a.b.jpg", "cat/a.b.JPG"} <= set(WITH_SIDECARS.images_of("cat/a.b.txt"))
    assert set(WITH_SIDECARS.sidecars_of("cat/a.b.jpg")) >= {"cat/a.b.jpg.txt", "cat/a.b.jpg.XMP", "cat/a.b.jpg.json"}
    assert next(WITH_SIDECARS.images_of("cat/a.b.JPG.xmp")) == "cat/a.b.JPG"
    assert set(WITH_SIDECARS.sidecars_of("folder.d/no ending")) >= {"folder.d/no ending.txt"}
    assert not list(Selection.from_settings(Intake(checksums=False)).sidecars_of("cat/1.jpg"))


def test_checksums_follow_their_image_or_stay(tmp_path: Path) -> None:
    """1.jpg.sha256 is a sidecar of 1.jpg alone; lists of a folder are neither sidecars nor images, unless off."""
    assert {"cat/1.jpg.sha256", "cat/1.jpg.MD5"} <= set(DEFAULT.sidecars_of("cat/1.jpg"))
    assert "cat/1.sha256" not in set(WITH_SIDECARS.sidecars_of("cat/1.jpg"))
    assert list(DEFAULT.images_of("cat/1.jpg.sha256")) == ["cat/1.jpg"]
    assert DEFAULT.is_sidecar("1.JPG.md5")
    assert not DEFAULT.is_sidecar("data.tar.sha256")
    everything = Selection.from_settings(Intake(other_files="quarantine", sidecars=True))
    for name in ("SHA256SUMS", "md5sum.txt"):
        assert everything.skip_reason(name) is SkipReason.checksums
        assert not everything.is_image(name)
        assert not everything.is_sidecar(name)
    without = Selection.from_settings(Intake(checksums=False))
    assert without.skip_reason("1.jpg.sha256") is SkipReason.other
    assert list(without.sidecars_of("cat/1.jpg")) == []


def test_every_protected_name_is_documented() -> None:
    """Operators can look up what is never judged."""
    documented = Path("docs/operations.md").read_text(encoding="utf-8")
    assert not [name for name in PROTECTED if f"`{name}`" not in documented]
