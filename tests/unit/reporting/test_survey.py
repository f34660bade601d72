"""One pass over the scores of a report."""

import json

import numpy as np
import pytest

from imageguard_daemon.audit.columns import Batch, Key
from imageguard_daemon.reporting.survey import Survey, Surveyor


def key(class_name: str, blur: float) -> Key:
    """Give the key of accepted images judged by this threshold of blur."""
    return Key("host", "web", class_name, "", "general", json.dumps({"blur_score": blur}), "accepted", "", "1")


KEYS = [None, key("a", 50), key("b", 50), key("c", 50), key("all", 10)]


def survey(images: dict[int, int]) -> Survey:
    """Look at so many images of each key, all with a blur score of 30."""
    keys = np.repeat(list(images), list(images.values())).astype(np.uint32)
    scores = np.full((len(keys), 6), 99.0)
    scores[:, 0] = 30.0
    nothing = np.zeros(len(keys), np.int64)
    batch = Batch(0, nothing, keys, nothing.astype(np.uint8), np.arange(1, len(keys) + 1), scores)
    surveyor = Surveyor(KEYS)
    surveyor.weigh(np.bincount(batch.keys, minlength=len(KEYS)))
    surveyor.add(batch)
    return surveyor.survey()


@pytest.mark.parametrize(("images", "rejected"), [({1: 1, 2: 1, 3: 1, 4: 10}, 0), ({1: 4, 2: 4, 3: 4, 4: 10}, 22)])
def test_groups_are_held_against_the_thresholds_of_most_images(images: dict[int, int], rejected: int) -> None:
    """Not against those that most classes have, each with an image or two."""
    found = survey(images).by_one_rule
    assert found is not None
    assert found.sum() == rejected


def test_thresholds_that_none_of_these_images_was_judged_by_do_not_count() -> None:
    """A log may have others of years ago: a report on images that all were judged alike compares them as they are."""
    assert survey({4: 10}).by_one_rule is None
