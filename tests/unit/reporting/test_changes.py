"""When something got worse, and when it only looks like it."""

import random
from datetime import UTC, date, datetime, timedelta

import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.changes import MOST_PERIODS, find_rise, got_worse
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.tallies import Tally

SETTINGS = Reporting()
MONDAY = date(2025, 3, 3)


def days(*rates: tuple[int, float], images: int = 50, name: str = "scraper") -> dict[tuple[str, ...], Tally]:
    """Give a series: so many days at this rate, then so many at that one."""
    each_day = [rate for number, rate in rates for _ in range(number)]
    return {
        (name, (MONDAY + timedelta(days=number)).isoformat()): Tally(images, {"blurry": round(images * rate)})
        for number, rate in enumerate(each_day)
    }


def found(series: dict[tuple[str, ...], Tally], what: str = "source") -> list[Finding]:
    """Give the findings in such a series."""
    return got_worse(what, series, SETTINGS)


def test_a_source_that_was_good_until_tuesday() -> None:
    """The finding names the day, both rates, the reason and what to look at."""
    [finding] = found(days((8, 0.04), (8, 0.4)))
    assert (finding.kind, finding.subject) == ("source_got_worse", "scraper")
    assert finding.sentence == (
        "Source 'scraper': since Tue 2025-03-11, 40.0 % of 400 images were rejected, all for blurry; before, "
        "4.0 % of 400."
    )
    assert finding.look_at.startswith("Look at")
    assert finding.evidence["since"] == datetime(2025, 3, 11, tzinfo=UTC).timestamp()
    assert "until" not in finding.evidence


def test_a_bad_time_that_ended_has_an_end() -> None:
    """A camera that was out of focus for a week in a long year is found with both days."""
    [finding] = found(days((100, 0.02), (7, 0.5), (150, 0.02)), "camera")
    assert finding.kind == "camera_got_worse"
    assert finding.evidence["since"] == datetime(2025, 6, 11, tzinfo=UTC).timestamp()
    assert finding.evidence["until"] == datetime(2025, 6, 18, tzinfo=UTC).timestamp()
    assert "until before Wed 2025-06-18" in finding.sentence


@pytest.mark.parametrize(
    "rates",
    [
        ((16, 0.3),),
        ((8, 0.4), (8, 0.04)),
        ((8, 0.04), (8, 0.08)),
        ((8, 0.5), (8, 0.6)),
    ],
    ids=["always bad", "got better", "a little worse", "not clearly worse"],
)
def test_what_is_no_news_is_not_told(rates: tuple[tuple[int, float], ...]) -> None:
    """Evenly bad, better, or worse by a little is no change for the worse."""
    assert found(days(*rates)) == []


def test_few_images_are_no_change() -> None:
    """A first bad day of three images proves nothing."""
    assert found(days((8, 0.0), (1, 1.0), images=3)) == []
    assert find_rise([0, 3], [3, 3], 10) is None
    assert find_rise([5], [50], 10) is None


def test_images_without_a_camera_have_no_history() -> None:
    """What many cameras have in common is not one that broke."""
    assert found(days((8, 0.04), (8, 0.4), name=""), "camera") == []


def test_days_that_scatter_by_nature_are_no_change() -> None:
    """Where every day is another world, a week of bad ones is none."""
    rng = random.Random(5)  # noqa: S311 - invented days
    series = {
        ("scraper", (MONDAY + timedelta(days=number)).isoformat()): Tally(200, {"blurry": rng.choice([0, 0, 0, 160])})
        for number in range(30)
    }
    assert found(series) == []


def test_hours_are_told_as_hours() -> None:
    """A report on a day says at which hour it began."""
    series = {("scraper", f"2025-03-04T{hour:02}"): Tally(60, {"noisy": 30 if hour >= 13 else 1}) for hour in range(24)}
    [finding] = found(series)
    assert "since Tue 2025-03-04 13:00 UTC" in finding.sentence
    assert finding.evidence["since"] == datetime(2025, 3, 4, 13, tzinfo=UTC).timestamp()


def test_ten_years_are_looked_at_in_coarser_steps() -> None:
    """A long series costs no more than a year, and the change is still found to within those steps."""
    length = 10 * 365
    [finding] = found(days((length // 2, 0.02), (length - length // 2, 0.3), images=5))
    true = MONDAY + timedelta(days=length // 2)
    told = datetime.fromtimestamp(finding.evidence["since"], UTC).date()
    assert abs((told - true).days) <= length / MOST_PERIODS + 1


def test_many_series_are_corrected_for() -> None:
    """What would be a finding of one camera may be chance among a thousand."""
    one = days((5, 0.04), (5, 0.26))
    assert found(one)
    many = {
        (f"camera {number}", period): tally
        for number in range(1_000)
        for (_, period), tally in days((10, 0.04)).items()
    }
    assert [finding.subject for finding in found(one | many)] in ([], ["scraper"])
    assert len(found(days((5, 0.04), (5, 0.17)) | many)) <= len(found(days((5, 0.04), (5, 0.17))))
