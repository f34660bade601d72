"""Data sets are read, judged and held as their labels say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.dataset_report import datasets_as_json, datasets_as_markdown, figures_to_hold, held
from bench.dataset_tally import DataSetFigures, dataset_figures, held_figures, worse
from bench.datasets import Listed, labels_sha256, measure_datasets, measured_crops, read_datasets
from bench.labelled import LayoutError
from bench.tally import Share
from imageguard_daemon.quality import policy
from tests.helpers.images import blurred, photo, pixelated

HEAD = "path,set,kind,expect"


def inline(_what: str, work: Callable, jobs: list) -> list:
    """Run jobs here; processes are for many."""
    return [work(job) for job in jobs]


def write_labels(folder: Path, *lines: str) -> Path:
    (folder / "labels.csv").write_text("\n".join([HEAD, *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], DataSetFigures]:
    """Give a function that judges small data sets, measured once, under the presets of the moment."""
    folder, lines = tmp_path_factory.mktemp("sets"), []

    def add(name: str, rgb: np.ndarray, rest: str) -> None:
        Image.fromarray(rgb).save(folder / name)
        lines.append(f"{name},{rest}")

    for seed in range(3):
        add(f"p{seed}.png", photo(480, 360, seed), "holiday,good:photo,accept")
    add("blurred.png", blurred(photo(480, 360, 3), 5), "holiday,good:photo,accept")
    add("digit.png", photo(32, 32), "digits,good:small,size_only")
    add("blocks.png", pixelated(photo(), 5), "web,bad:pixelated,reject:pixelated")
    add("fine.png", photo(), "web,bad:pixelated,reject:pixelated")
    add("other.png", photo(), "other,mixed,any")
    for seed in range(10):
        add(f"soft{seed}.png", blurred(photo(320, 240, seed), 3.5), "cells,good:microscopy,soft_source")
    measured = measure_datasets(read_datasets(write_labels(folder, *lines)), inline)
    return lambda: dataset_figures(measured)


@pytest.mark.parametrize(
    ("expect", "issues", "wrong"),
    [
        ("accept", (), False),
        ("accept", ("low_resolution",), True),
        ("size_only", ("low_resolution",), False),
        ("size_only", ("low_resolution", "blurry"), True),
        ("reject:blurry", ("noisy", "blurry"), False),
        ("reject:blurry", ("noisy",), True),
        ("soft_source", ("blurry",), True),
        ("any", (), False),
    ],
)
def test_what_is_wrong_follows_from_what_is_expected(expect: str, issues: tuple[str, ...], wrong: bool):
    """Good images may have no issue, tiny ones `low_resolution`, bad ones must have theirs."""
    assert Listed(Path("a.jpg"), "a", "good:photo", expect).wrong(issues) is wrong


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no"),
        ("path,label\n", "has no columns path, set, kind and expect"),
        (f"{HEAD}\n", "no images in"),
        (f"{HEAD}\ngone.jpg,a,b,accept\n", "line 2: there is no file"),
        (f"{HEAD}\nlabels.csv,a,b,reject:ugly\n", "line 2: not an expectation: 'reject:ugly'"),
        (f"{HEAD}\nlabels.csv,a,b,good\n", "line 2: not an expectation: 'good'"),
    ],
)
def test_labels_that_make_no_sense_are_refused(tmp_path: Path, text: str | None, message: str):
    """A slip in the list is named with its line before anything is measured."""
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(LayoutError, match=message):
        read_datasets(tmp_path)


def test_sets_are_counted_as_they_are_labelled(figures: Callable[[], DataSetFigures]):
    """Each set has its share of wrong verdicts; everyday photos and good sets are pooled without what is only shown."""
    found = figures()
    wrong = {(one.expect, one.name): one.wrong for one in found.sets}
    assert wrong == {
        ("accept", "holiday"): Share(1, 4),
        ("any", "other"): Share(0, 1),
        ("reject:pixelated", "web"): Share(1, 2),
        ("size_only", "digits"): Share(0, 1),
        ("soft_source", "cells"): Share(10, 10),
    }
    assert (found.everyday, found.good) == (Share(1, 4), Share(1, 5))
    assert next(one.issues for one in found.sets if one.name == "holiday") == (("blurry", 1),)


def test_accepted_photos_are_cropped_to_the_sizes_they_have(figures: Callable[[], DataSetFigures]):
    """A rejected photo gives no crops, and none is enlarged: of 360 rows there is no square of 384."""
    crops = figures().crops
    assert crops["general", 224].trials == crops["segmentation", 320].trials == 3
    assert crops["general", 384].trials == crops["fine_grained", 384].trials == 0


def test_crops_are_of_photos_that_their_preset_accepts_whole(
    figures: Callable[[], DataSetFigures], monkeypatch: pytest.MonkeyPatch
):
    """A crop of what a stricter preset rejects anyway says nothing of cropping; that the whole is rejected is told."""
    strict = {**policy.PRESETS, "detection": {**policy.PRESETS["detection"], "blur_score": 100.5}}
    monkeypatch.setattr(policy, "PRESETS", strict)
    found = figures()
    assert (found.whole["general"], found.whole["detection"]) == (Share(1, 4), Share(4, 4))
    assert found.crops["segmentation", 320].trials == 3
    assert found.crops["detection", 320].trials == 0
    assert held_figures(found)["everyday photos, detection"] == Share(4, 4)


def test_a_photo_that_is_too_small_for_a_preset_is_no_wrong_verdict_of_it(tmp_path: Path):
    """What has not the pixels that a preset demands is left out: no estimate, and no error, rejects it."""
    Image.fromarray(photo(320, 240)).save(tmp_path / "small.png")
    write_labels(tmp_path, "small.png,holiday,good:photo,accept")
    whole = dataset_figures(measure_datasets(read_datasets(tmp_path), inline)).whole
    assert (whole["general"], whole["detection"]) == (Share(0, 1), Share(0, 0))


def test_a_crop_is_the_square_in_the_centre(tmp_path: Path):
    """What lies beside the largest square is not measured."""
    wide = np.zeros((256, 1024, 3), np.uint8)
    wide[:, 384:640] = photo(256, 256)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    crops = measured_crops(tmp_path / "wide.png")
    assert sorted(crops) == [224, 256]
    assert crops[256].measures.clipped_low < 0.1
    assert (crops[224].measures.width, crops[224].measures.height) == (224, 224)


def test_soft_sources_are_calibrated_on_one_half(figures: Callable[[], DataSetFigures]):
    """The other half is judged at those thresholds, as it is and after a further blur."""
    soft = figures().soft["cells"]
    assert soft.thresholds["blur_score"] < policy.PRESETS["general"]["blur_score"]
    assert soft.rejected.trials == soft.missed.trials == 5
    assert soft.rejected.hits < 5
    assert soft.missed.hits < 5


def test_a_person_and_a_program_get_the_same_figures(figures: Callable[[], DataSetFigures]):
    """What is only shown stands in parentheses; a preset and size that no photo has is a dash."""
    found = figures()
    text, json = datasets_as_markdown(found), datasets_as_json(found)
    cells = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    row = next(line for line in cells if "cells" in line and "soft_source" in line)
    assert row[4] == "(100 (72-100))"
    assert ["", "general", "whole", "25 (5-70)", "4", ""] in cells
    assert ["", "general", "640", "-", "0", ""] in cells
    assert "everyday photos rejected, %: 25 (5-70) of 4" in text
    assert json["everyday_rejected"]["share"] == 0.25
    assert json["whole_rejected"]["general"]["n"] == 4
    assert json["crops_rejected"]["general"]["224"]["n"] == 3
    assert json["soft"]["cells"]["rejected"]["n"] == 5
    assert {one["set"]: one["counted"] for one in json["sets"]}["cells"] is False


def test_worse_is_what_lies_beyond_the_committed_interval():
    """Of 0 in 60 up to 6 % fit: 3 wrong pass, 4 do not; a figure that is gone counts, a new one does not."""
    committed = {"a": Share(0, 60), "b": Share(0, 60), "gone": Share(1, 2)}
    now = {"a": Share(3, 60), "b": Share(4, 60), "new": Share(9, 9)}
    assert worse(now, committed) == ["b: 4 of 60, was 0 of 60", "gone: not measured any more"]


def test_what_is_held_survives_the_file_and_sees_a_damaged_threshold(
    figures: Callable[[], DataSetFigures], monkeypatch: pytest.MonkeyPatch
):
    """Figures equal to the committed ones are not worse; under a preset that rejects all they are, by name."""
    committed = held(figures_to_hold(figures(), "abc"))
    assert worse(held_figures(figures()), committed) == []
    assert not any(name.startswith(("any", "soft_source")) for name in committed)
    strict = {**policy.PRESETS, "general": {**policy.PRESETS["general"], "resolution_score": 100.0}}
    monkeypatch.setattr(policy, "PRESETS", strict)
    found = worse(held_figures(figures()), committed)
    assert "accept holiday (good:photo): 4 of 4, was 1 of 4" in found
    assert "crops general 224: not measured any more" in found


def test_other_labels_are_told_apart(tmp_path: Path):
    """Figures of one collection are never held against another."""
    first = labels_sha256(write_labels(tmp_path, "a.jpg,a,b,accept"))
    assert first == labels_sha256(tmp_path)
    assert first != labels_sha256(write_labels(tmp_path, "a.jpg,a,b,any"))
