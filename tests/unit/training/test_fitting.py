"""The network learns what it is shown."""

import io
from dataclasses import replace

import numpy as np
import pytest

from imageguard_daemon.quality import network
from imageguard_daemon.quality.features.vector import NAMES
from imageguard_daemon.quality.network import Panel
from imageguard_daemon.quality.readout import TARGETS
from training.evaluation import lines
from training.fitting import FROM_A_START, Settings, Taught, fit, rehearsed, weights

RNG = np.random.default_rng(3)
FEATURES = RNG.normal(0, 1, (3000, len(NAMES))).astype(np.float32)
FEATURES[:, 12:] = 0
SCORES = np.clip(0.6 + 0.15 * FEATURES[:, : len(TARGETS)] - 0.1 * FEATURES[:, 10:11], 0, 1)
SETTINGS = Settings(hidden=(24,), epochs=20, rate=6e-3, jitter=0, dropped=0)


def taught(truths: np.ndarray, rows: slice = slice(None)) -> Taught:
    features = FEATURES[rows]
    return Taught(features, truths[rows], np.ones_like(SCORES[rows]), np.ones(len(features), bool))


def errors(truths: np.ndarray) -> np.ndarray:
    trained = fit(taught(truths, slice(2000)), SETTINGS, 1)
    return np.abs(trained(FEATURES[2000:]) - SCORES[2000:]).mean(axis=0)


def test_exact_truths_are_learnt():
    """What the features say is found for features not seen before."""
    assert errors(np.repeat(SCORES[..., None], 2, axis=2)).max() < 0.06


def test_intervals_around_the_truth_are_learnt():
    """One-sided and loose truths are enough, and unknown ones do no harm."""
    truths = np.stack([SCORES - RNG.uniform(0, 0.2, SCORES.shape), SCORES + RNG.uniform(0, 0.2, SCORES.shape)], axis=2)
    truths[::3, :, 1] = 9
    truths[1::3, :, 0] = -9
    assert errors(truths.astype(np.float32)).max() < 0.12


def test_what_only_labelled_pictures_have_is_no_sign():
    """A feature that no damaged picture has, such as a large size, changes nothing."""
    features, damaged = FEATURES.copy(), np.arange(3000) < 1500
    features[~damaged, 100] = 5
    truths = np.repeat(np.where(damaged[:, None], SCORES, 1)[..., None], 2, axis=2)
    trained = fit(Taught(features, truths, np.ones_like(SCORES), damaged), Settings(hidden=(8,), epochs=1), 5)
    assert np.array_equal(trained(features), trained(FEATURES))


def test_the_same_seed_trains_the_same_network():
    """Training can be repeated to the last bit."""
    truths = np.repeat(SCORES[..., None], 2, axis=2)
    one, same = (fit(taught(truths), Settings(hidden=(8,), epochs=1), 5) for _ in range(2))
    assert np.array_equal(one(FEATURES), same(FEATURES))


def test_a_network_goes_on_from_another_and_keeps_what_it_knows():
    """A new kind of picture is learnt; of the others, of which nobody knows any more, the answers hardly change."""
    before = fit(taught(np.repeat(SCORES[..., None], 2, axis=2), slice(2000)), SETTINGS, 1)
    shown, is_new = FEATURES[2000:].copy(), np.arange(1000) < 300
    shown[is_new, 11] = 4
    truths = np.full((1000, len(TARGETS), 2), (-9, 9), np.float32)
    truths[is_new] = 0.9, 9
    settings = replace(FROM_A_START, epochs=40, rate=4e-3, jitter=0, dropped=0)
    after, forgetful = (
        fit(Taught(shown, known, np.ones_like(known[..., 0]), np.ones(1000, bool)), settings, 1, before)
        for known in (rehearsed(truths, before(shown), is_new), truths)
    )
    assert (before(shown[is_new]) < 0.7).mean() > 0.5
    assert (after(shown[is_new]) < 0.8).mean() < 0.1
    drift, without = (np.abs(one(FEATURES[:2000]) - before(FEATURES[:2000])).mean() for one in (after, forgetful))
    assert drift < 0.07 < 2 * drift < without
    assert np.array_equal(after.low, before.low)
    assert np.array_equal(after.mean, before.mean)


def test_a_start_pulls_back():
    """The stronger the pull, the nearer the weights stay to those of the start."""
    before = fit(taught(np.repeat(SCORES[..., None], 2, axis=2)), Settings(hidden=(8,), epochs=2), 1)
    other = taught(np.repeat(1 - SCORES[..., None], 2, axis=2))
    moved = [
        np.abs(fit(other, replace(FROM_A_START, decay=pull), 1, before).layers[0][0] - before.layers[0][0]).mean()
        for pull in (0, 5, 500)
    ]
    assert moved[0] > moved[1] > moved[2]


def test_what_a_network_answers_rightly_is_what_it_must_go_on_answering():
    """A label that leaves room is narrowed to the answer, if that is right; without a label the answer is the truth."""
    truths = np.array([[(0.6, 9), (-9, 9), (0.6, 9), (0.5, 0.51)]] * 2, np.float32)
    answers = np.array([[0.8, 0.3, 0.5, 0.505]] * 2, np.float32)
    narrowed = [(0.76, 0.84), (0.26, 0.34), (0.6, 9), (0.5, 0.51)]
    labelled, damaged = rehearsed(truths, answers, np.array([True, False]))
    assert labelled == pytest.approx(np.array(narrowed, np.float32))
    assert damaged == pytest.approx(np.stack([answers[1] - 0.015, answers[1] + 0.015], axis=1), abs=1e-6)


def test_what_nobody_knows_has_no_weight():
    """A truth of minus to plus infinity does not count."""
    truths = np.full((10, len(TARGETS), 2), (-9.0, 9.0), np.float32)
    assert not weights(FEATURES[:10], truths, np.zeros(10, bool)).any()


def test_a_saved_network_answers_as_before():
    """What is written is what is read."""
    truths = np.repeat(SCORES[..., None], 2, axis=2)
    trained = fit(taught(truths), Settings(hidden=(8,), epochs=1), 5)
    file = io.BytesIO()
    network.save(file, [Panel(NAMES, TARGETS, (trained, trained)), Panel(NAMES[::-1], TARGETS[::-1], (trained,))])
    file.seek(0)
    whole, other = network.load(file)
    assert (whole.features, whole.targets, len(whole.networks)) == (NAMES, TARGETS, 2)
    assert (other.features, other.targets, len(other.networks)) == (NAMES[::-1], TARGETS[::-1], 1)
    assert np.array_equal(whole.networks[1](FEATURES), trained(FEATURES))


def test_a_readout_of_another_version_is_refused():
    """What cannot be understood is not guessed at."""
    file = io.BytesIO()
    np.savez(file, names=np.array(NAMES))
    file.seek(0)
    with pytest.raises(ValueError, match="another version"):
        network.load(file)


def test_the_report_counts_clear_cases_only():
    """False alarms are told of good images, misses of bad ones, and what is close to a limit is neither."""
    truths = np.zeros((4, len(TARGETS), 2), np.float32)
    truths[:2] = 1.0
    truths[2, :] = 0.45
    found = np.array([[1.0], [0.0], [0.0], [1.0]], np.float32).repeat(len(TARGETS), axis=1)
    blur = next(line for line in lines(found, truths) if line.startswith("blur_sigma_px")).split()
    assert blur == ["blur_sigma_px", "50.00%", "2", "100.00%", "1"]
