"""What the log has of many images: counts of all, an even sample of those that can be learned from."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from imageguard_daemon.audit import reviewed_images
from imageguard_daemon.audit.columns import Batch, open_columns
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.reviewed_images import census, samples
from imageguard_daemon.core.model import SCORE_NAMES
from tests.helpers.audit_logs import Judged, write_log

VERSION = "test"  # what the helper records


class Given:
    """Columns without a database."""

    def __init__(self, keys: list[Key | None], batches: list[Batch]) -> None:
        self.keys = Keys.numbered(keys)
        self._batches = batches

    def batches(self, _: Scope, *, scores: bool) -> list[Batch]:
        """Give them as a log does."""
        assert scores
        return self._batches


def batch(first_id: int, images: int, key: int = 1) -> Batch:
    """Give measured images of one key."""
    whole = np.arange(first_id, first_id + images)
    scores = np.full((images, len(SCORE_NAMES)), 90.0)
    return Batch(0, whole, np.full(images, key, np.uint32), np.zeros(images, np.uint8), whole, scores)


KEY = Key("host", "smears", "cell", "", "general", "{}", "accepted", "", "3")


def test_a_large_log_is_sampled_evenly_and_always_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many images at most are read, from all parts of the log, and the same ones when asked again."""
    monkeypatch.setattr(reviewed_images, "MAX_SAMPLES", 500)
    given = Given([None, KEY], [batch(1 + 1000 * part, 1000) for part in range(10)])
    made, ids = census(given, Scope(), "3")
    assert (made.measured, len(ids)) == (10_000, 500)
    assert ids == census(given, Scope(), "3")[1]
    parts = np.bincount(np.array(ids) // 1000, minlength=10)
    assert parts[:10].min() > 25


def test_every_image_is_counted_once_by_why_it_counts_or_not() -> None:
    """Another scorer's images and those that could not be measured are told, not learned from."""
    corrupt = batch(200, 3, key=2)
    corrupt = dataclasses.replace(corrupt, scores=np.full_like(corrupt.scores, np.nan))
    keys = [None, KEY, KEY._replace(verdict="quarantined", reason="corrupt"), KEY._replace(scorer_version="2")]
    made, ids = census(Given(keys, [batch(1, 10), corrupt, batch(300, 4, key=3)]), Scope(), "3")
    assert ids == list(range(1, 11))
    assert made.measured == 10
    assert made.unmeasured == {"corrupt": 3}
    assert made.other_versions == {"2": 4}
    assert made.sources == {"smears": 17}
    assert made.presets == {"general": 10}


def test_a_real_log_gives_names_and_measures(tmp_path: Path) -> None:
    """What the writer recorded comes back, of images in scope alone."""
    log = write_log(
        tmp_path / "audit.db",
        [Judged("cat", images=4, exposure=(0.1, 0.2)), Judged("dog", images=3, exposure=(0.1, 0.2))],
    )
    with open_log(log) as log:
        with open_columns(log) as columns:
            made, ids = census(columns, Scope(class_name="cat"), VERSION)
        rows = list(samples(log, Scope(class_name="cat"), ids))
    assert made.measured == 4
    assert sorted(row.relative_path for row in rows) == [f"cat/{number}.jpg" for number in range(4)]
    assert all('"overexposure": 0.1' in row.measures for row in rows)
    assert {row.is_bad for row in rows} == {None}
