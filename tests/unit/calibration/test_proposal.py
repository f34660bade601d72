"""What a proposal says of itself: the checks it switches off, and its YAML."""

from imageguard_daemon.calibration.collection import collect
from imageguard_daemon.calibration.logged import changed, logged_images, next_commands
from imageguard_daemon.calibration.proposal import Proposal, make_proposal
from imageguard_daemon.calibration.rendering import as_dict, as_yaml, warnings
from imageguard_daemon.config_file import parse
from imageguard_daemon.core.model import Measurement, Measures


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
