"""One pass over the scores of a report."""

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from imageguard_daemon.audit.columns import Batch, Columns, open_columns
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.query import gather
from imageguard_daemon.reporting.score_stats import ScoreCounter, ScoreStats
from tests.helpers.audit_logs import NOON, Judged, write_log


def key(class_name: str, blur: float) -> Key:
    """Give the key of accepted images judged by this threshold of blur."""
    return Key("host", "web", class_name, "", "general", json.dumps({"blur_score": blur}), "accepted", "", "1")


KEYS = [None, key("a", 50), key("b", 50), key("c", 50), key("all", 10)]


def score_stats(
    images: dict[int, int], guess: np.ndarray | None = None, keys: Sequence[Key | None] = KEYS
) -> ScoreStats:
    """Look at so many images of each key, all with a blur score of 30, after a guess at how many there are."""
    of_image = np.repeat(list(images), list(images.values())).astype(np.uint32)
    scores = np.full((len(of_image), 6), 99.0)
    scores[:, 0] = 30.0
    nothing = np.zeros(len(of_image), np.int64)
    batch = Batch(0, nothing, of_image, nothing.astype(np.uint8), np.arange(1, len(of_image) + 1), scores)
    score_counter = ScoreCounter(Keys.numbered(keys))
    counted = np.bincount(batch.keys, minlength=len(keys))
    score_counter.suppose(counted if guess is None else guess)
    score_counter.add(batch)
    assert score_counter.is_right(counted) == (guess is None)
    return score_counter.stats()


@pytest.mark.parametrize(("images", "rejected"), [({1: 1, 2: 1, 3: 1, 4: 10}, 0), ({1: 4, 2: 4, 3: 4, 4: 10}, 22)])
def test_groups_are_held_against_the_thresholds_of_most_images(images: dict[int, int], rejected: int) -> None:
    """Not against those that most classes have, each with an image or two."""
    found = score_stats(images).by_one_rule
    assert found is not None
    assert found.sum() == rejected


def test_the_line_of_a_chart_is_the_threshold_of_most_images_not_of_the_largest_class() -> None:
    """Three classes of four share one threshold; the largest has another, and fewer images."""
    assert score_stats({1: 4, 2: 4, 3: 4, 4: 10}).thresholds["blur_score"] == 50
    assert score_stats({1: 4, 4: 10}).thresholds["blur_score"] == 10
    assert score_stats({}).thresholds == {}


def test_each_signal_has_the_threshold_of_most_images_whatever_the_others_are() -> None:
    """Rules that differ in noise alone have the same threshold of blur, and count together for it."""
    profiles = ({"blur_score": 50, "noise_score": 20}, {"blur_score": 50, "noise_score": 25}, {"blur_score": 10})
    keys = [None, *(Key("h", "web", "a", "", "general", json.dumps(one), "accepted", "", "1") for one in profiles)]
    assert score_stats({1: 4, 2: 4, 3: 6}, keys=keys).thresholds["blur_score"] == 50


def test_thresholds_that_none_of_these_images_was_judged_by_do_not_count() -> None:
    """A log may have others of years ago: a report on images that all were judged alike compares them as they are."""
    assert score_stats({4: 10}).by_one_rule is None


def test_a_wrong_guess_at_the_thresholds_of_most_images_is_known() -> None:
    """Then the scores are looked at once more."""
    score_stats({1: 4, 4: 10}, guess=np.array([0, 5, 0, 0, 4]))


@pytest.mark.parametrize("guessed", ["general", "detection"])
def test_a_report_holds_by_the_thresholds_of_most_whatever_was_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guessed: str
) -> None:
    """Hours are sampled in a long log, and those may have been judged by other thresholds than most."""
    images = [
        Judged(images=n, preset=preset, exposure=(0.0, 0.0)) for preset, n in (("general", 20), ("detection", 30))
    ]
    with open_log(write_log(tmp_path / "audit.db", images)) as log:

        def made() -> list[int]:
            found = gather(log, (Dimension.class_,), Scope(), Reporting()).score_stats
            assert found is not None
            assert found.by_one_rule is not None
            return found.by_one_rule.tolist()

        def sampled(columns: Columns, _: Scope) -> np.ndarray:
            return np.array([int(key is not None and key.preset == guessed) for key in columns.keys])

        exact = made()
        monkeypatch.setattr(Columns, "some_images_of_keys", sampled)
        assert made() == exact


def test_a_sample_of_a_long_log_is_of_its_hours(tmp_path: Path) -> None:
    """Of three weeks each hour of the day is looked at; what is not packed yet counts, too."""
    times = [NOON + timedelta(hours=number) for number in range(504)]
    path = write_log(tmp_path / "audit.db", [Judged(decided_at=time) for time in times])
    with open_log(path) as log, open_columns(log) as columns:
        assert 40 <= columns.some_images_of_keys(Scope()).sum() <= 60
        assert columns.some_images_of_keys(Scope(since=times[-100])).sum() == 100
        assert columns.some_images_of_keys(Scope(source="default", since=times[-300])).sum() < 40
