"""The command that measures accuracy, on code-made photos."""

import json
from pathlib import Path

import pytest

from bench import accuracy
from bench.kinds import KINDS
from bench.labelled import Label
from bench.trials import draw, judge, judge_good, try_photo
from tests.helpers.images import blurred, jpeg, photo, png


@pytest.fixture
def good(tmp_path: Path) -> Path:
    folder = tmp_path / "good photos"
    folder.mkdir()
    for seed in range(2):
        (folder / f"{seed}.png").write_bytes(png(photo(300, 225, seed)))
    return folder


def test_trials_do_not_depend_on_what_else_is_tried(good: Path):
    """The same photo and seed give the same trials; another seed draws others."""
    first, again, other = (try_photo((good / "0.png", seed)) for seed in (1, 1, 2))
    assert first == again
    assert [trial.badness for trial in first.trials] != [trial.badness for trial in other.trials]


def test_more_photos_begin_with_the_same():
    """A longer run confirms a shorter one."""
    paths = [Path(str(number)) for number in range(30)]
    assert draw(paths, 20, 3)[:5] == draw(paths, 5, 3)
    assert draw(paths, 20, 3) != draw(paths, 20, 4)


def test_what_is_no_image_is_not_tried(tmp_path: Path):
    """A text file among the photos costs a note, no trace."""
    (tmp_path / "readme.txt").write_text("photos of the sea")
    assert try_photo((tmp_path / "readme.txt", 1)) is None
    assert judge_good(tmp_path / "readme.txt") is None


def test_an_image_is_judged_as_it_is(tmp_path: Path):
    """Labelled images are neither scaled nor re-saved."""
    (tmp_path / "soft.jpg").write_bytes(jpeg(blurred(photo(), 6)))
    judged = judge((tmp_path / "soft.jpg", Label.parse("bad:blurry")))
    assert judged.reason == "blurry"
    assert judged.label.met_by(judged.issues)


def test_the_command_prints_tables_and_writes_the_same_figures(good: Path, tmp_path: Path, capsys):
    """One command gives a person the tables and a program the numbers."""
    (good / "notes.txt").write_text("not an image")
    labelled = tmp_path / "truth"
    (labelled / "bad" / "blurry").mkdir(parents=True)
    (labelled / "bad" / "blurry" / "1.png").write_bytes(png(blurred(photo(), 6)))
    target = tmp_path / "figures.json"
    accuracy.main(f"--good|{good}|--labelled|{labelled}|--photos|3|--seed|5|--workers|1|--json|{target}".split("|"))
    printed, figures = capsys.readouterr().out, json.loads(target.read_text())
    assert "2 photos damaged, seed 5\n1 of the files drawn passed over" in printed
    assert set(figures["kinds"]) == set(KINDS)
    assert all(f"| {name} " in printed for name in KINDS)
    assert figures["jpeg_quality_exact_to_1"]["share"] == 1
    assert figures["undamaged_rejected"]["n"] == 2
    assert figures["labelled"]["bad:blurry"]["share"] == 1
    assert max(map(len, printed.splitlines()[:20])) <= 80


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give at least one of --good, --labelled and --datasets"),
        (["--good", "/nowhere/at/all"], "there is no /nowhere"),
        (["--good", "/", "--photos", "0"], "at least 1"),
        (["--good", "/", "--json", "/nowhere/x.json"], "there is no folder /nowhere"),
    ],
)
def test_a_command_line_without_sense_is_refused_at_once(arguments: list[str], message: str, capsys):
    """Nobody waits for minutes to learn of a slip."""
    with pytest.raises(SystemExit) as ended:
        accuracy.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
