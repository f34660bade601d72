"""Links to judged images: nothing but links is ever made or removed."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.batch.judging import JudgedImage, Rules, judge
from imageguard_daemon.batch.links import Linker
from imageguard_daemon.core.errors import ChangedError
from imageguard_daemon.core.model import FileIdentity, Measurement
from imageguard_daemon.quality.policy import thresholds_for
from tests.helpers.pipeline_bench import BLURRY, GOOD


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A file in a class folder."""
    path = tmp_path / "data" / "cat" / "1.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"precious")
    return path


def _judged(path: Path, measures: object = GOOD) -> JudgedImage:
    measurement = Measurement("ab" * 32, measures, identity=FileIdentity.from_stat(path.lstat()))
    return judge(str(path), f"cat/{path.name}", measurement, Rules("general", thresholds_for("general")))


def _links(tmp_path: Path) -> list[str]:
    links = tmp_path / "links"
    return sorted(str(path.relative_to(links)) for path in links.rglob("*") if not path.is_dir() or path.is_symlink())


@pytest.mark.parametrize("hard", [False, True])
def test_a_link_follows_its_verdict(tmp_path: Path, photo: Path, hard: bool) -> None:
    """Judged anew by other rules, an image is linked in the other folder, and no longer in the first."""
    linker = Linker(tmp_path / "links", hard=hard)
    linked = linker.link(_judged(photo))
    assert (linked.destination, _links(tmp_path)) == (
        str(tmp_path / "links/accepted/cat/1.jpg"),
        ["accepted/cat/1.jpg"],
    )
    assert Path(linked.destination).samefile(photo)
    assert Path(linked.destination).is_symlink() != hard
    linker.link(_judged(photo))  # once more: nothing new
    assert _links(tmp_path) == ["accepted/cat/1.jpg"]
    linker.link(_judged(photo, BLURRY))
    assert _links(tmp_path) == ["quarantine/cat/1.jpg"]
    assert photo.read_bytes() == b"precious"


def test_the_kind_of_links_can_be_changed(tmp_path: Path, photo: Path) -> None:
    """Who asks for hard links after symbolic ones gets hard ones."""
    Linker(tmp_path / "links", hard=False).link(_judged(photo))
    linked = Linker(tmp_path / "links", hard=True).link(_judged(photo))
    assert not Path(linked.destination).is_symlink()
    assert _links(tmp_path) == ["accepted/cat/1.jpg"]


@pytest.mark.parametrize("hard", [False, True])
def test_what_others_put_there_is_left_alone(tmp_path: Path, photo: Path, hard: bool) -> None:
    """A file that has the name already keeps it, in both folders; the link is told apart by the content's hash."""
    for folder in ("accepted", "quarantine"):
        other = tmp_path / "links" / folder / "cat" / "1.jpg"
        other.parent.mkdir(parents=True)
        other.write_bytes(b"other")
    linker = Linker(tmp_path / "links", hard=hard)
    for measures, folder in ((GOOD, "accepted"), (BLURRY, "quarantine"), (GOOD, "accepted")):
        assert linker.link(_judged(photo, measures)).destination.endswith(f"/{folder}/cat/1.abababab.jpg")
        kept = ["accepted/cat/1.jpg", "quarantine/cat/1.jpg", f"{folder}/cat/1.abababab.jpg"]
        assert _links(tmp_path) == sorted(kept)
    assert (tmp_path / "links/accepted/cat/1.jpg").read_bytes() == b"other"


def test_a_file_that_changed_since_is_not_linked(tmp_path: Path, photo: Path) -> None:
    """A link promises what was judged."""
    judged = _judged(photo)
    photo.write_bytes(b"something else")
    linker = Linker(tmp_path / "links", hard=False)
    with pytest.raises(ChangedError):
        linker.link(judged)
    gone = replace(judged, path=str(photo.with_name("gone.jpg")))
    with pytest.raises(ChangedError):
        linker.link(gone)
    assert _links(tmp_path) == []


def test_a_link_in_the_way_leads_nowhere_else(tmp_path: Path, photo: Path) -> None:
    """A folder of links that somebody replaced by a link is not written through."""
    linker = Linker(tmp_path / "links", hard=False)
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "links/accepted/cat").symlink_to(outside)
    with pytest.raises(Exception, match="cannot link"):
        linker.link(_judged(photo))
    assert os.listdir(outside) == []


@pytest.mark.parametrize("hard", [False, True])
def test_a_second_run_leaves_what_a_fresh_one_would_make(tmp_path: Path, photo: Path, hard: bool) -> None:
    """Links of files that are gone, moved to another class or no images any more are gone, with empty folders."""
    paths = [photo, *(photo.with_name(f"{number}.jpg") for number in (2, 3))]
    for path in paths[1:]:
        path.write_bytes(path.name.encode())
    first = Linker(tmp_path / "links", hard=hard)
    for path in paths:
        first.link(_judged(path))
    assert first.take_old_away(tmp_path / "data", keep=False).removed == 0
    moved = photo.parent.parent / "dog" / "2.jpg"
    moved.parent.mkdir()
    paths[1].rename(moved)
    for path in (paths[0], paths[2]) if not hard else (paths[0],):
        path.unlink()
    second = Linker(tmp_path / "links", hard=hard)
    measurement = Measurement("cd" * 32, BLURRY, identity=FileIdentity.from_stat(moved.lstat()))
    second.link(judge(str(moved), "dog/2.jpg", measurement, Rules("general", thresholds_for("general"))))
    if hard:
        second.link(_judged(paths[2]))
    old = second.take_old_away(tmp_path / "data", keep=False)
    if hard:  # the last name of a file is never taken away: it is told
        assert (old.removed, old.examples) == (1, [str(tmp_path / "links/accepted/cat/1.jpg")])
        assert _links(tmp_path) == ["accepted/cat/1.jpg", "accepted/cat/3.jpg", "quarantine/dog/2.jpg"]
    else:
        assert (old.removed, old.left) == (3, 0)
        assert _links(tmp_path) == ["quarantine/dog/2.jpg"]
        assert os.listdir(tmp_path / "links/accepted") == []


def test_links_are_kept_and_counted_when_not_all_could_be_read(tmp_path: Path, photo: Path) -> None:
    """A folder that cannot be read just now is no folder that is gone."""
    Linker(tmp_path / "links", hard=False).link(_judged(photo))
    old = Linker(tmp_path / "links", hard=False).take_old_away(tmp_path / "data", keep=True)
    assert (old.removed, old.left, old.examples) == (0, 1, [str(tmp_path / "links/accepted/cat/1.jpg")])
    assert _links(tmp_path) == ["accepted/cat/1.jpg"]


def test_links_and_files_of_others_are_no_old_links(tmp_path: Path, photo: Path) -> None:
    """What leads elsewhere stays, and files stay and are told."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"other")
    linker = Linker(tmp_path / "links", hard=False)
    (tmp_path / "links/accepted/other").symlink_to(elsewhere)
    (tmp_path / "links/accepted/relative").symlink_to("nowhere")
    (tmp_path / "links/accepted/file").write_bytes(b"other")
    linker.link(_judged(photo))
    old = linker.take_old_away(tmp_path / "data", keep=False)
    assert (old.removed, old.examples) == (0, [str(tmp_path / "links/accepted/file")])
    assert _links(tmp_path) == [f"accepted/{name}" for name in ("cat/1.jpg", "file", "other", "relative")]


def test_a_folder_that_was_renamed_is_linked_under_the_same_names(tmp_path: Path, photo: Path) -> None:
    """Links that lead nowhere any more stand in nobody's way."""
    Linker(tmp_path / "links", hard=False).link(_judged(photo))
    photo.parent.parent.rename(tmp_path / "renamed")
    again = tmp_path / "renamed/cat/1.jpg"
    linker = Linker(tmp_path / "links", hard=False)
    for measures, folder in ((BLURRY, "quarantine"), (GOOD, "accepted")):
        assert linker.link(_judged(again, measures)).destination.endswith(f"{folder}/cat/1.jpg")
        assert _links(tmp_path) == [f"{folder}/cat/1.jpg"]
