"""Judged images read from an audit log, after people have reviewed some."""

import json
from pathlib import Path

import pytest

from imageguard_daemon.batch.entries import entries_of_log, entries_of_results
from imageguard_daemon.batch.judging import Rules, judge, row_of
from imageguard_daemon.core.errors import NoInputError
from imageguard_daemon.core.model import FileIdentity, Measurement
from imageguard_daemon.quality.policy import PRESETS
from imageguard_daemon.review.acting import reject, release
from tests.helpers.pipeline_bench import GOOD
from tests.helpers.rejections import Rejections


@pytest.mark.parametrize(
    "changes", [{}, {"verdict": "good"}, {"verdict": "quarantined"}, {"reason": "blurry"}], ids=str
)
def test_lines_whose_verdict_means_nothing_are_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    """An image whose verdict is none would be left out of any manifest, and nobody told."""
    measurement = Measurement("ab" * 32, GOOD, identity=FileIdentity(1, 2, 3, 4, 5))
    row = row_of(judge("data/1.jpg", "1.jpg", measurement, Rules("general", PRESETS["general"])))
    (tmp_path / "results").write_text(json.dumps({**row, **changes}) + "\n")
    if not changes:
        assert [one.verdict for one in entries_of_results(tmp_path / "results")] == ["accepted"]
        return
    with pytest.raises(NoInputError, match="line 1: this was not written by scan --jsonl"):
        list(entries_of_results(tmp_path / "results"))


def test_brackets_without_an_end_are_refused(tmp_path: Path) -> None:
    """A hostile line ends with a sentence and no traceback."""
    (tmp_path / "results").write_text("[" * 200_000)
    with pytest.raises(NoInputError, match="line 1: this was not written by scan --jsonl"):
        list(entries_of_results(tmp_path / "results"))


def test_an_image_is_what_a_person_made_of_it(tmp_path: Path) -> None:
    """Released is accepted, rejected by a person is rejected with a reason of its own; the others are as judged."""
    rejections = Rejections(tmp_path / "root")
    ids = [rejections.file(f"cat/{number}.jpg", ok=number > 1) for number in range(4)]
    rejections.do(release, ids[0])
    rejections.do(reject, ids[2])
    found = {one.relative_path: one for one in entries_of_log(rejections.root / "audit.db", rejections.settings)}
    assert {name: (one.verdict, one.reason, one.issues) for name, one in found.items()} == {
        "cat/0.jpg": ("accepted", "blurry", ("blurry",)),
        "cat/1.jpg": ("quarantined", "blurry", ("blurry",)),
        "cat/2.jpg": ("quarantined", "rejected_by_review", ()),
        "cat/3.jpg": ("accepted", "", ()),
    }
    assert all(Path(one.path).exists() for one in found.values())
    rejections.close()
