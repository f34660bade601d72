"""Which groups are rejected more often than the others, and which only seem to be."""

import numpy as np
import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.findings import find_patterns
from imageguard_daemon.reporting.panel import Panel, Patterns
from imageguard_daemon.reporting.questions.difference import differing, small_classes
from imageguard_daemon.reporting.tallies import Tally
from tests.helpers.panels import Series, panel_at_once, panel_in_time

SETTINGS = Reporting()


def blurry(rejected: int, total: int) -> Tally:
    """Give a tally whose rejections all are blurry."""
    return Tally(total, {"blurry": rejected} if rejected else {})


def found(panel: Panel, **more: object) -> list[Finding]:
    """Give what differs."""
    return [finding for _, finding in differing(Patterns(panel, **more), SETTINGS)]


def bursts(rng: np.random.Generator, days: int, a_day: int, rate: float, size: int) -> Series:
    """Give days of images that come in bursts which share a verdict."""
    number = rng.poisson(a_day / size, days)
    return [(int(n) * size, int(bad) * size) for n, bad in zip(number, rng.binomial(number, rate), strict=True)]


def test_a_class_below_every_limit_is_told_beside_better_ones() -> None:
    """45 % of a thousand where others have 7 % is below the limit of 50 % and a finding; the effect is in images."""
    classes = {(f"class{number}", "web"): blurry(70, 1_000) for number in range(9)}
    [finding] = found(panel_at_once(classes | {("lynx", "web"): blurry(457, 1_004)}))
    assert (finding.kind, finding.subject, dict(finding.where)) == (
        "differs_from_others",
        "class lynx",
        {"class": "lynx"},
    )
    assert "387 more than expected" in finding.sentence
    assert finding.excess == pytest.approx(457 - 1_004 * 0.07)
    assert finding.command == "imageguard-daemon quarantine list ROOT --state all --class lynx"


def test_one_class_of_one_source_is_told_as_that_pair() -> None:
    """Neither the class nor the source has the fault elsewhere: one finding, about both."""
    groups = {(f"class{c}", f"source{s}"): blurry(10, 150) for c in range(6) for s in range(4)}
    [finding] = found(panel_at_once(groups | {("class3", "source2"): blurry(135, 150)}))
    assert finding.subject == "class class3, source source2"
    assert finding.sentence.startswith("Class 'class3' of source 'source2': 135 of 150")


def test_a_bad_source_is_not_told_for_each_of_its_classes() -> None:
    """What explains most is told, and the rest only for what it has beyond that."""
    groups = {(f"class{c}", f"source{s}"): blurry(60 if s == 2 else 10, 150) for c in range(6) for s in range(4)}
    assert [one.subject for one in found(panel_at_once(groups))] == ["source2"]
    groups["class3", "source0"] = groups["class3", "source1"] = groups["class3", "source3"] = blurry(90, 150)
    assert {one.subject for one in found(panel_at_once(groups))} == {"class3", "source2"}


def test_what_is_left_of_a_group_is_not_told_as_the_whole() -> None:
    """A class that is bad beside the bad source, too: its number is of the rest, and the finding says so."""
    groups = {(f"class{c}", f"source{s}"): blurry(80 if s == 2 else 10, 150) for c in range(6) for s in range(4)}
    groups["class3", "source0"] = groups["class3", "source1"] = groups["class3", "source3"] = blurry(60, 150)
    source, rest = found(panel_at_once(groups))
    assert source.sentence.startswith("Source 'source2': 480 of 900 images")
    assert rest.sentence.startswith("Class 'class3', apart from source 'source2': 180 of 450 images")


def test_a_class_of_two_sources_comes_from_neither_alone() -> None:
    """Where one of its two sources was told, what is left is of the other: that is not where the class comes from."""
    groups = {(f"class{c}", source): blurry(bad, 150) for c in range(6) for source, bad in (("web", 90), ("good", 8))}
    groups["class3", "good"] = blurry(60, 150)
    told = find_patterns(Patterns(panel_at_once(groups)), SETTINGS)
    [of_class] = [one for one in told if "class3" in one.subject]
    assert "alone" not in of_class.message


def test_two_bad_groups_do_not_hide_one_another() -> None:
    """The second is compared with those that are left when the first is set aside."""
    groups = {("a", "web"): blurry(60, 100), ("b", "web"): blurry(50, 100), ("c", "web"): blurry(10, 200)}
    assert [one.subject for one in found(panel_at_once(groups))] == ["a", "class b"]


def test_small_classes_that_came_in_one_delivery_each_are_one_bad_delivery_each() -> None:
    """Of 120 classes that came at once a fifth is lost whole: so are deliveries. Those of many days are told."""
    told = np.zeros(120, bool)
    for days, number in ((1, 0), (10, 1)):
        streams = {
            (f"class{n}", "web", ""): [(0, 0)] * (n % 20)
            + [(10 // days, 10 // days if n % 5 == 0 else 0)] * days
            + [(0, 0)] * (30 - days - n % 20)
            for n in range(120)
        }
        found_small = small_classes(Patterns(panel_in_time(streams)), SETTINGS, told)
        assert len(found_small) == number


def test_a_camera_without_a_name_is_none() -> None:
    """Images without a camera have nothing in common."""
    assert found(panel_at_once({("", "a"): blurry(40, 80)})) == []


@pytest.mark.parametrize("size", [1, 3, 10])
def test_bursts_are_not_taken_for_many_images(size: int) -> None:
    """Eighteen cameras without a pattern whose frames share their verdicts: 40 reports, no finding."""
    rng = np.random.default_rng(size)
    wrong = 0
    for _ in range(40):
        streams = {("", "gate", f"camera{n}"): bursts(rng, 60, 6, 0.12, size) for n in range(18)}
        wrong += bool(found(panel_in_time(streams)))
    assert wrong <= 1


def test_a_bad_camera_is_found_in_spite_of_bursts() -> None:
    """Three times the rate of the others over two months is no matter of a few scenes."""
    rng = np.random.default_rng(4)
    streams = {("", "gate", f"camera{n}"): bursts(rng, 60, 12, 0.36 if n == 5 else 0.12, 3) for n in range(18)}
    assert [one.subject for one in found(panel_in_time(streams))] == ["camera camera5"]


def test_sources_of_other_thresholds_are_compared_by_one_rule() -> None:
    """A source that is judged more strictly and is no worse by the thresholds of the others is no finding."""
    panel = panel_at_once({("", "strict"): blurry(112, 500), ("", "others"): blurry(20, 2_000)})
    at = [name[1] for name in panel.streams].index("strict")
    fair = np.array([5.0, 5.0])
    fair[1 - at] = 20.0
    assert [one.subject for one in found(panel)] == ["strict"]
    assert found(panel, by_one_rule=fair) == []
    worse = fair.copy()
    worse[at] = 60.0
    [finding] = found(panel, by_one_rule=worse)
    assert "by the thresholds of most images 60 of 500 would be" in finding.sentence


def test_what_is_told_of_all_is_not_told_of_each_source() -> None:
    """Sources above the limit that are all alike are one finding about all images."""
    panel = panel_at_once({("", f"source{n}"): blurry(150, 500) for n in range(6)})
    assert [one.kind for one in find_patterns(Patterns(panel), SETTINGS)] == ["high_rejection_rate", "mostly_blurry"]


def test_a_class_that_came_in_one_day_is_no_bad_day() -> None:
    """Twenty classes, each delivered on a day of its own: the one of which most is rejected is found."""
    streams = {
        (f"class{n}", "upload", ""): [(0, 0)] * n + [(500, 450 if n == 7 else 40)] + [(0, 0)] * (19 - n)
        for n in range(20)
    }
    assert [one.subject for one in found(panel_in_time(streams))] == ["class7"]
