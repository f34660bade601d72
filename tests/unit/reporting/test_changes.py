"""When something got worse, and when it only looks like it."""

from datetime import UTC, datetime

import numpy as np
import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.questions.change import changes
from tests.helpers.panels import HOUR_MS, Series, panel_in_time, series

SETTINGS = Reporting()


def found(streams: dict[tuple[str, str, str], Series], **more: object) -> list[Finding]:
    """Give what got worse."""
    return [finding for _, finding in changes(Patterns(panel_in_time(streams, **more)), SETTINGS)]


def alone(*parts: tuple[int, float], images: int = 50) -> list[Finding]:
    """Give what got worse in one stream."""
    return found({("cat", "scraper", ""): series(*parts, images=images)})


def beside(bad: Series, others: int = 4) -> dict[tuple[str, str, str], Series]:
    """Put a series beside ordinary ones of other sources."""
    quiet = series((len(bad), 0.04))
    return {("cat", "scraper", ""): bad} | {("cat", f"source{n}", ""): quiet for n in range(others)}


def test_a_source_that_was_good_until_tuesday() -> None:
    """The finding names the day, both rates, the reason, the effect and what to look at; the images can be listed."""
    [finding] = found(beside(series((8, 0.04), (8, 0.4))))
    assert (finding.kind, finding.subject) == ("source_got_worse", "scraper")
    assert finding.sentence == (
        "Source 'scraper': since Tue 2025-03-11, 40.0 % of 400 images were rejected, all for blurry; before, "
        "4.0 % of 400. That is 144 more than expected."
    )
    assert finding.look_at.startswith("Look at what changed there then")
    assert finding.evidence["since"] == datetime(2025, 3, 11, tzinfo=UTC).timestamp()
    assert "until" not in finding.evidence
    assert finding.command.endswith("--source scraper --since 2025-03-11T00:00")


def test_a_bad_time_that_ended_has_an_end() -> None:
    """A source that was out of focus for a week in a long year is found with both days."""
    [finding] = found(beside(series((100, 0.02), (7, 0.5), (150, 0.02))))
    assert finding.evidence["since"] == datetime(2025, 6, 11, tzinfo=UTC).timestamp()
    assert finding.evidence["until"] == datetime(2025, 6, 18, tzinfo=UTC).timestamp()
    assert "until before Wed 2025-06-18" in finding.sentence


@pytest.mark.parametrize(
    "parts",
    [
        ((16, 0.3),),
        ((8, 0.4), (8, 0.04)),
        ((8, 0.5), (8, 0.6)),
    ],
    ids=["always bad", "got better", "not clearly worse"],
)
def test_what_is_no_news_is_not_told(parts: tuple[tuple[int, float], ...]) -> None:
    """Evenly bad, better, or worse by a little is no change for the worse."""
    assert alone(*parts) == []


def test_few_images_are_no_change() -> None:
    """A first bad day of three images proves nothing."""
    assert alone((8, 0.0), (1, 1.0), images=3) == []
    assert alone((1, 0.5)) == []


def test_a_small_step_of_many_images_is_a_change() -> None:
    """From 1 to 5 % at 2,000 a day: eighty images a day more."""
    [finding] = alone((20, 0.01), (4, 0.05), images=2_000)
    assert (finding.kind, finding.subject) == ("all_got_worse", "all images")
    assert finding.excess == pytest.approx(320)


def test_what_changed_for_all_is_told_once() -> None:
    """A lens of every camera fogs in the same night: one finding, and none for each camera."""
    [finding] = found({("cat", "gate", f"camera{n}"): series((12, 0.04), (6, 0.3)) for n in range(8)})
    assert finding.kind == "all_got_worse"


def test_a_slow_rise_has_its_start_and_is_not_called_over() -> None:
    """From 5 to 25 % in thirty days: told as rising, since about the day when it began."""
    rising = [(200, round(200 * (0.05 + 0.2 * max(0, day - 30) / 30))) for day in range(60)]
    [finding] = found({("cat", "scraper", ""): rising})
    assert "more and more are rejected since" in finding.sentence
    begin = datetime.fromtimestamp(finding.evidence["since"], UTC)
    assert abs((begin - datetime(2025, 4, 2, tzinfo=UTC)).days) <= 5
    assert "until" not in finding.evidence


def test_a_class_and_a_pair_have_a_history_too() -> None:
    """A class that went bad, and one that did so in one source alone."""
    streams = {(f"class{c}", f"source{s}", ""): series((20, 0.05), images=20) for c in range(5) for s in range(3)}
    bad = series((12, 0.05), (8, 0.5), images=20)
    [of_pair] = found(streams | {("class2", "source1", ""): bad})
    assert of_pair.kind == "class_and_source_got_worse"
    [of_class] = found(streams | {("class2", f"source{s}", ""): bad for s in range(3)})
    assert (of_class.kind, of_class.subject) == ("class_got_worse", "class2")


def test_images_without_a_camera_have_no_history() -> None:
    """What many cameras have in common is not one that broke."""
    streams = {("cat", "a", "X"): series((16, 0.04)), ("cat", "a", ""): series((8, 0.04), (8, 0.4))}
    assert "camera_got_worse" not in [one.kind for one in found(streams)]


def test_days_that_scatter_by_nature_are_no_change() -> None:
    """Where every day is another world, a week of bad ones is none."""
    rng = np.random.default_rng(5)
    assert found({("cat", "scraper", ""): [(200, int(bad)) for bad in rng.choice([0, 0, 0, 160], 30)]}) == []


@pytest.mark.parametrize(("size", "day"), [(1, 0.0), (3, 0.0), (10, 0.0), (1, 0.4), (3, 0.4)])
def test_bursts_and_days_that_differ_for_all_are_no_change(size: int, day: float) -> None:
    """6,000 images of 18 cameras in 60 days without a pattern: of 40 reports one at most says so."""
    rng = np.random.default_rng(size)
    wrong = 0
    for _ in range(40):
        of_day = np.exp(rng.normal(0, day, 60))
        streams = {}
        for camera in range(18):
            number = rng.poisson(100 / 18 / size, 60)
            bad = rng.binomial(number, np.minimum(0.12 * of_day, 0.9))
            streams["", "gate", f"camera{camera}"] = [
                (int(n) * size, int(y) * size) for n, y in zip(number, bad, strict=True)
            ]
        wrong += bool(found(streams))
    assert wrong <= 1


def test_hours_are_told_as_hours() -> None:
    """A report on a day says at which hour it began."""
    hours = [(60, 30 if hour >= 13 else 1) for hour in range(24)]
    [finding] = found({("cat", "scraper", ""): hours}, slot_ms=HOUR_MS)
    assert "since Mon 2025-03-03 13:00 UTC" in finding.sentence
    assert finding.evidence["since"] == datetime(2025, 3, 3, 13, tzinfo=UTC).timestamp()


def test_ten_years_are_looked_at_in_coarser_steps() -> None:
    """A long series costs no more than a year, and the change is still found to within those steps."""
    length = 10 * 365
    [finding] = alone((length // 2, 0.02), (length - length // 2, 0.4), images=5)
    true = datetime(2025, 3, 3, tzinfo=UTC).timestamp() + length // 2 * 86_400
    assert abs(finding.evidence["since"] - true) <= 11 * 86_400


def test_many_series_are_corrected_for() -> None:
    """What would be a finding of one camera may be chance among a thousand."""
    odd = {("", "a", "odd"): series((5, 0.04), (5, 0.18))}
    few, many = ({("", "a", f"camera{n}"): series((10, 0.04)) for n in range(number)} for number in (12, 1_000))
    assert [each.subject for each in found(odd | few)] == ["odd"]
    assert found(odd | many) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_time_of_a_change_is_that_of_ruptures(seed: int) -> None:
    """Where a known library sees the change of a mean (least squares), the finding does, to two days."""
    ruptures = pytest.importorskip("ruptures", reason="ruptures is not installed")
    rng = np.random.default_rng(seed)
    counts = [(200, int(rng.binomial(200, 0.05 if day < 41 else 0.2))) for day in range(60)]
    [finding] = found({("cat", "scraper", ""): counts})
    rates = np.array([bad / images for images, bad in counts])
    begin, _ = ruptures.Binseg(model="l2", min_size=2, jump=1).fit(rates).predict(n_bkps=1)
    told = (finding.evidence["since"] - datetime(2025, 3, 3, tzinfo=UTC).timestamp()) / 86_400
    assert abs(told - begin) <= 2
