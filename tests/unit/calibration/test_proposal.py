"""Proposed thresholds: what they reject, how sure that is, and how far they hold for images nobody has seen."""

import random
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from imageguard_daemon.calibration.proposal import (
    Limit,
    Proposal,
    images_needed,
    make_held_proposal,
    make_proposal,
    most_rejected,
)
from imageguard_daemon.calibration.rendering import as_dict, as_yaml, changed, next_commands, warnings
from imageguard_daemon.calibration.samples import Collection, Sample, collect, logged_images
from imageguard_daemon.calibration.thresholds import Scores, proposals, propose, rejects
from imageguard_daemon.cli.calibrate import calibrate
from imageguard_daemon.config_file import parse
from imageguard_daemon.core.errors import NoInputError, UsageError
from imageguard_daemon.core.model import Measurement, Measures
from imageguard_daemon.quality.scoring import LIMITS

FINE = Measures(640, 480, 1.0, 1.0, 95.0, 1.0, 0.0, 0.0, 3.0, 120.0, 240.0, 0.0, 0.0)
app = Typer()
app.command()(calibrate)


def measures(blur: float = 1.0, over: float = 0.0, under: float = 0.0) -> Measures:
    """Give measures that are good but for what is named."""
    return Measures(1600, 1200, blur, 1.0, 95.0, 1.0, 0.0, 0.0, 3.0, 120.0, 240.0, over, under)


def proposal(*kinds: tuple[int, Measures], max_reject: float = 0.02) -> Proposal:
    """Give the proposal from so many images of each kind, named by kind and number."""
    good = [
        (f"{kind}-{number}.jpg", Measurement(f"{kind}-{number}", one))
        for kind, (images, one) in enumerate(kinds)
        for number in range(images)
    ]
    return make_proposal(collect(good), collect([]), "general", max_reject)


def off_warnings(made: Proposal) -> list[str]:
    """Give the warnings about checks that are switched off."""
    return [line for line in warnings(made) if "switches this check off" in line]


def test_a_check_that_is_switched_off_is_told_with_the_images_that_force_it() -> None:
    """Receipts are white: the threshold falls to 0, and a person sees because of which images."""
    made = proposal((40, measures()), (8, measures(over=1.0)))
    [told] = off_warnings(made)
    assert told.startswith("overexposure_score 0 switches this check off; 8 good images force it")
    assert told.count("1-") == 5
    assert "1-4.jpg (0.0) and 3 more. If they are not good, take them out" in told
    comments = [line.removeprefix("# ") for line in as_yaml(made).splitlines() if line.startswith("#")]
    assert told in " ".join(comments)
    assert max(map(len, comments)) <= 78
    [off] = as_dict(made)["switched_off"]
    assert (off["threshold"], off["images"], len(off["lowest"])) == ("overexposure_score", 8, 5)


def test_white_pages_do_not_let_black_images_pass() -> None:
    """Of the two ends of exposure only the one that the images need is given up."""
    made = parse(as_yaml(proposal((40, measures()), (8, measures(over=1.0))))).sources[0].thresholds
    assert (made["overexposure_score"], made["underexposure_score"]) == (0, 40)


def test_few_outliers_switch_nothing_off() -> None:
    """The share that may be rejected is spent on them: one black image among a hundred changes no threshold."""
    made = proposal((99, measures()), (1, measures(under=1.0)))
    assert off_warnings(made) == []
    assert changed(made) == {}
    assert [sample.name for sample, _ in made.rejected_good] == ["1-0.jpg"]


def test_a_soft_source_keeps_its_check() -> None:
    """A threshold that is lowered but still rejects is no check switched off."""
    made = proposal((60, measures(blur=3.0)))
    assert 0 < changed(made)["blur_score"] < 40
    assert off_warnings(made) == []


def test_the_commands_that_follow_have_the_preset_and_what_differs_from_it() -> None:
    """What is told can be run as it is, and asks the same thresholds as the YAML has."""
    made = proposal((60, measures(blur=3.0)))
    value = f"{changed(made)['blur_score']:g}"
    assert next_commands(made, "/srv/ingest", "--config a.yaml", "--source smears") == (
        f"imageguard-daemon simulate /srv/ingest --source smears --preset general --set blur_score={value}",
        f"imageguard-daemon rejudge --config a.yaml --source smears --preset general --set blur_score={value}",
    )
    [simulate] = next_commands(made, "--db copy.db", "", "--source smears")
    assert simulate.startswith("imageguard-daemon simulate --db copy.db --source smears")


def test_the_yaml_names_the_source() -> None:
    """What is proposed for one source is no proposal for another."""
    for name in ("smears", "2024", "cam-7"):
        assert parse(as_yaml(proposal((60, measures())), name)).sources[0].name == name


def test_images_of_a_log_are_good_unless_people_said_otherwise() -> None:
    """Confirmed rejections are bad, released and unreviewed images good, records without measures nothing."""
    text = '{"width": 640, "height": 480, ' + ", ".join(
        f'"{name}": 1.0'
        for name in (
            *("blur_sigma_px", "noise_sigma", "jpeg_quality", "enlargement", "clipped_low", "clipped_high"),
            *("tone_low", "tone_median", "tone_high", "of_a_later_version"),
        )
    )
    text += "}"
    made = logged_images(
        [("a", "1", text, None), ("b", "2", text, False), ("c", "3", text, True), ("d", "4", "{}", None)]
    )
    assert [name for name, _ in made.good] == ["a", "b"]
    assert [name for name, _ in made.bad] == ["c"]
    assert made.released == 1


@pytest.mark.parametrize(
    ("share", "confidence", "images"),
    [(0.01, 0.95, 299), (0.05, 0.95, 59), (0.1, 0.95, 29), (0.01, 0.99, 459), (0.001, 0.95, 2995), (0.5, 0.5, 1)],
)
def test_so_many_images_are_needed_as_the_tables_say(share: float, confidence: float, images: int) -> None:
    """The first order statistic is a tolerance limit from this many on, and not from one less."""
    limit = Limit(share, confidence)
    assert images_needed(limit) == images
    assert (most_rejected(images, limit), most_rejected(images - 1, limit)) == (0, -1)


@pytest.mark.parametrize(("images", "rejected"), [(473, 1), (472, 0), (628, 2), (627, 1), (1_000, 4)])
def test_more_images_may_have_some_rejected(images: int, rejected: int) -> None:
    """The second and third order statistics come in at 473 and 628 images, as published for 1 % at 95 %."""
    assert most_rejected(images, Limit(0.01, 0.95)) == rejected


def seeded(seed: int) -> random.Random:
    """Give random numbers that are the same each time."""
    return random.Random(seed)  # noqa: S311 - no secret is made of them


def drawn(rng: random.Random, images: int) -> list[Scores]:
    """Draw scores of a source that is soft and noisy, with a heavy tail in blur; all signals lean on one another."""
    found = []
    for _ in range(images):
        common = rng.gauss(0, 1)
        blur = 45 + 8 * common - 6 * rng.expovariate(1)
        noise = 50 + 10 * common + rng.gauss(0, 8)
        rest = [rng.uniform(60, 100) for _ in LIMITS[2:]]
        found.append(tuple(min(100.0, max(0.0, one)) for one in (blur, 70 + rng.gauss(0, 5), noise, *rest[1:])))
    return found


def collected(scores: list[Scores], rng: random.Random) -> Collection:
    """Give them as a folder of images."""
    samples = [Sample(f"{n}.jpg", FINE, one, f"{rng.getrandbits(256):064x}") for n, one in enumerate(scores)]
    return Collection(samples)


def held(rng: random.Random, images: int, share: float, confidence: float = 0.95) -> Proposal:
    """Propose thresholds for such images."""
    return make_held_proposal(collected(drawn(rng, images), rng), Collection(), "general", share, confidence)


def test_the_share_holds_for_unseen_images_as_often_as_is_said() -> None:
    """Of two hundred proposals at 95 % about ten may reject more than the limit of four thousand unseen images."""
    rng = seeded(3)
    unseen = drawn(seeded(4), 4_000)
    limit, held_too_little, at_hand = 0.05, 0, 0
    for _ in range(200):
        good = collected(drawn(rng, 150), rng)
        made = make_held_proposal(good, Collection(), "general", limit, 0.95)
        held_too_little += sum(rejects(made.thresholds, one) for one in unseen) > limit * len(unseen)
        plain = make_proposal(good, Collection(), "general", limit)
        at_hand += sum(rejects(plain.thresholds, one) for one in unseen) > limit * len(unseen)
    assert held_too_little <= 19  # 1 in 200 of the binomial distribution with 10 expected is above
    assert at_hand > 60  # what the option is for: without it the limit is of the images at hand


def test_too_few_images_are_refused_with_the_number_it_takes() -> None:
    """299 to hold thresholds against and ten to choose them from, for 1 % at 95 %."""
    with pytest.raises(NoInputError, match=r"308 different good images are too few .* it takes 309: 299 to hold"):
        held(seeded(1), 308, 0.01)
    with pytest.raises(NoInputError, match="hold 1 % for unseen ones with 95 % confidence"):
        held(seeded(1), 100, 0.01)
    made = held(seeded(1), 309, 0.01)
    assert made.held is not None
    assert (made.held.chosen_from, made.held.checked.total, made.held.checked.images) == (10, 299, 0)


def test_a_signal_that_no_image_comes_near_keeps_its_threshold() -> None:
    """Loosening goes by how the images scatter in each signal: one image out of focus leaves compression alone."""
    rng = seeded(2)
    made = held(rng, 700, 0.01)
    by_name = dict(zip(LIMITS, made.thresholds, strict=True))
    preset = dict(zip(LIMITS, made.preset, strict=True))
    assert by_name["blur_score"] < preset["blur_score"]
    assert by_name["compression_score"] == preset["compression_score"]


def test_images_that_all_pass_the_preset_keep_it() -> None:
    """Nothing is loosened where nothing has to be."""
    rng = seeded(5)
    good = collected([tuple(rng.uniform(80, 100) for _ in LIMITS) for _ in range(400)], rng)
    made = make_held_proposal(good, Collection(), "general", 0.01, 0.95)
    assert made.thresholds == made.preset


def test_the_order_and_names_of_files_have_no_part_in_it() -> None:
    """The same images give the same thresholds, whatever they are called and in whatever order they come."""
    rng = seeded(6)
    good = collected(drawn(rng, 400), rng)
    renamed = [Sample(f"other/{n}", one.measures, one.scores, one.sha256) for n, one in enumerate(good.samples)]
    rng.shuffle(renamed)
    made = [
        make_held_proposal(one, Collection(), "general", 0.02, 0.95).thresholds for one in (good, Collection(renamed))
    ]
    assert made[0] == made[1]


def test_proposals_are_those_of_each_number_of_rejected_images() -> None:
    """One pass gives what a search for each number would."""
    rng = seeded(7)
    good, bad = drawn(rng, 120), drawn(rng, 20)
    preset = (40.0, 60.0, 30.0, 40.0, 40.0, 50.0, 50.0)[: len(LIMITS)]
    each = [propose(good, bad, preset, number) for number in range(8)]
    assert list(proposals(good, bad, preset, 7)) == each


def test_every_form_says_what_was_held_against_what() -> None:
    """JSON has the numbers, the configuration a comment."""
    made = held(seeded(8), 700, 0.01)
    assert as_dict(made)["held"] == {"confidence": 0.95, "checked_rejected": 0, "checked": 350, "chosen_from": 350}
    comments = " ".join(line.removeprefix("# ") for line in as_yaml(made).splitlines())
    assert "of new good images like these at most 1 % are rejected, with 95 % confidence: 0 of 350" in comments


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--confidence", "100%"], "--confidence 100%: expected a share from 50 to 99.99 %"),
        (["--confidence", "sure"], "--confidence sure: expected"),
        (["--confidence", "95%", "--max-reject", "0"], "no number of images can show"),
    ],
)
def test_a_confidence_that_is_none_is_told(tmp_path: Path, arguments: list[str], words: str) -> None:
    """Certainty, words, and a limit of 0 make no sense."""
    result = CliRunner().invoke(app, [str(tmp_path), *arguments])
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)
