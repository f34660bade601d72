"""The images of a folder as a stream; what is measured, what is known, and what failed."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.audit.measurement_cache import MeasuredFiles
from imageguard_daemon.batch import measuring as batch_measuring
from imageguard_daemon.batch.measuring import ImagesOfFolder, Measuring, count_images, version_of
from imageguard_daemon.config import Intake, Scoring
from imageguard_daemon.core.errors import RetryableError
from imageguard_daemon.core.model import Candidate, FileIdentity, Measurement
from imageguard_daemon.intake.rules.selection import Selection, SkipReason
from imageguard_daemon.quality.readout import readout_of
from imageguard_daemon.sandbox.workers import Finished
from tests.helpers.images import jpeg, photo
from tests.helpers.pipeline_bench import GOOD
from tests.helpers.readouts import write_readout

Answer = Callable[[str, int], Measurement | Exception]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MeasuredFiles]:
    """An empty store."""
    made = MeasuredFiles(tmp_path / "state", "1")
    yield made
    made.close()


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    """Three files."""
    made = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in made:
        path.write_bytes(path.name.encode())
    return [str(path) for path in made]


def _good(path: str, _attempt: int) -> Measurement:
    return Measurement("ab", GOOD, identity=FileIdentity.from_stat(Path(path).lstat()))


def _run(
    store: MeasuredFiles, paths: list[str], answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> tuple[Measuring, list]:
    """Measure with workers that answer as told; gives what was asked of them, too."""
    asked: list[str] = []

    def measure_files(waiting: Iterable[str], *_: object) -> Iterator[Finished]:
        for path in waiting:
            asked.append(path)
            result = answer(path, asked.count(path))
            if isinstance(result, Measurement):
                yield Finished(Candidate("", path), result)
            else:
                yield Finished(Candidate("", path), error=result)

    monkeypatch.setattr(batch_measuring, "measure_files", measure_files)
    measuring, handled = Measuring(store, Scoring()), []
    measuring.run(paths, lambda path, measurement: handled.append((path, measurement)))
    assert [path for path, _ in handled] == sorted({path for path, _ in handled}, key=[p for p, _ in handled].index)
    return measuring, [asked, handled]


def test_what_is_known_is_not_measured_again(store, paths, monkeypatch) -> None:
    """A second run asks no worker, and gives the same measurements."""
    _, (asked, handled) = _run(store, paths, _good, monkeypatch)
    assert asked == paths
    again, (asked_again, handled_again) = _run(store, paths, _good, monkeypatch)
    assert (asked_again, handled_again, again.known) == ([], handled, 3)


def test_passing_trouble_is_tried_once_more(store, paths, monkeypatch) -> None:
    """A file whose worker was killed gets a second look at the end; then it counts as unread."""

    def answer(path: str, attempt: int) -> Measurement | Exception:
        trouble = path == paths[0] or (path == paths[1] and attempt == 1)
        return RetryableError("its worker process was killed") if trouble else _good(path, attempt)

    measuring, (asked, handled) = _run(store, paths, answer, monkeypatch)
    assert asked == [*paths, paths[0], paths[1]]
    assert [path for path, _ in handled] == [paths[2], paths[1]]
    assert measuring.unread.examples == [(paths[0], "its worker process was killed")]


def test_one_run_is_by_one_readout_whatever_becomes_of_its_file(store, paths, monkeypatch, tmp_path) -> None:
    """What is tried once more, in new processes, is measured by what was read at first."""
    own, real, calls = write_readout(tmp_path / "own.npz"), batch_measuring.measure_files, []
    Path(paths[0]).write_bytes(jpeg(photo(280, 200)))

    def measure_files(waiting: Iterable[str], *how: object) -> Iterator[Finished]:
        calls.append(how)
        own.write_bytes(b"none")
        for path in waiting if len(calls) == 1 else ():
            yield Finished(Candidate("", path), error=RetryableError("its worker process was killed"))
        yield from real(waiting, *how)

    monkeypatch.setattr(batch_measuring, "measure_files", measure_files)
    digest, found = readout_of(str(own)).digest, []
    measuring = Measuring(store, Scoring(workers=1, readout=own), readout_of(str(own)))
    measuring.run(paths[:1], lambda _, measurement: found.append(measurement.readout))
    assert (found, len(calls)) == ([digest], 2)


def test_files_that_cannot_be_read_are_counted_by_reason(store, paths, monkeypatch) -> None:
    """A million of them are a number, with the first few by name."""
    many = [f"{paths[0]}/{number}" for number in range(50)]
    measuring, _ = _run(store, many, lambda _path, _: PermissionError(13, "Permission denied"), monkeypatch)
    assert (measuring.unread.total, len(measuring.unread.examples)) == (50, 20)
    assert measuring.unread.reasons == {"Permission denied": 50}


def test_an_unsupported_format_is_looked_at_again(store, paths, monkeypatch) -> None:
    """Support for a format may be installed between two scans."""
    unsupported = replace(_good(paths[0], 1), measures=None, issue="unsupported")
    _run(store, paths[:1], lambda _path, _: unsupported, monkeypatch)
    _, (asked, _) = _run(store, paths[:1], _good, monkeypatch)
    assert asked == paths[:1]


def test_limits_that_decide_what_is_too_large_are_part_of_the_version() -> None:
    """After a limit was raised, nothing stays too large by memory alone."""
    assert version_of(Scoring(), "1") == version_of(Scoring(workers=3), "1")
    assert version_of(Scoring(), "1") != version_of(Scoring(max_pixels=1000), "1")
    assert version_of(Scoring(), "1") != version_of(Scoring(), "1+0123456789ab")


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
