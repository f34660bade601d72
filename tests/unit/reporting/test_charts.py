"""Charts over time: hours, days and weeks without gaps, what bars stand for, and how axes are labelled."""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from imageguard_daemon.audit.aggregation import Cells
from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.charts import rate_over_time, rejections_over_time, score_distribution
from imageguard_daemon.reporting.panel import panel_of
from imageguard_daemon.reporting.report import EVERYTHING, Facts, buckets_of, make_report
from imageguard_daemon.reporting.score_stats import BINS


def _buckets(counts, since="", until="", period=Dimension.day):
    made = [
        Count((when,), "quarantined" if reason else "accepted", reason, images)
        for when, reasons in counts.items()
        for reason, images in reasons.items()
    ]
    scope = Scope(*(datetime.fromisoformat(end).replace(tzinfo=UTC) if end else None for end in (since, until)))
    return buckets_of(make_report((), scope, Facts({EVERYTHING: [], (period,): made}), Reporting()))


def test_a_short_report_has_buckets_of_minutes():
    """A log of its first hour is no single bar: the counts that findings look at are drawn."""
    keys = [
        Key("", "", "cat", "", "general", "", *verdict, "") for verdict in (("accepted", ""), ("quarantined", "noisy"))
    ]
    begin = int(datetime(2025, 3, 1, 7, 35, tzinfo=UTC).timestamp()) // 300
    numbers = [np.array(row, np.int64) for row in ([0, 0, 2], [0, 1, 1], [9, 4, 2], [0, 0, 0], [0, 0, 0])]
    panel = panel_of(Cells(Keys.numbered(keys), numbers[0] + begin, *numbers[1:], slot_ms=300_000))
    found = buckets_of(make_report((), Scope(), Facts({EVERYTHING: []}, panel=panel), Reporting()))
    assert [(one.name, one.tally.total, dict(one.tally.reasons)) for one in found] == [
        ("2025-03-01 07:35 to 07:40", 13, {"noisy": 4}),
        ("2025-03-01 07:40 to 07:45", 0, {}),
        ("2025-03-01 07:45 to 07:50", 2, {"noisy": 2}),
    ]
    chart = rejections_over_time(found, _linked)
    assert chart.y_title == "rejected images per 5 minutes"
    assert [tick.label for tick in chart.x_ticks] == ["07:35", "07:40", "07:45"]


def test_the_few_images_with_low_scores_can_be_seen_beside_the_many_good_ones():
    """One image in ten thousand has a bar of a hundredth of the height; round numbers stand at the axis."""
    histogram = np.zeros(BINS, np.int64)
    histogram[[100, -1]] = 1, 10_000
    chart = score_distribution("blur", histogram, 40.0)
    assert [bar.height for bar in chart.bars] == pytest.approx([1, 100])
    assert [tick.label for tick in chart.y_ticks] == ["10k", "5,000", "2,000", "500", "0"]
    assert "1 below the line" in chart.summary


def _days(number):
    return [f"{datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=at):%Y-%m-%d}" for at in range(number)]


def _linked(reason, bucket):
    return f"{reason} in {bucket.name}" if bucket else reason


def test_days_without_images_are_gaps():
    """The axis of time is even: an empty day has its place."""
    days = _buckets({"2025-03-01": {"": 5}, "2025-03-04": {"": 6, "blurry": 1}})
    assert [one.tally.total for one in days] == [5, 0, 0, 7]
    assert [one.name for one in days] == ["2025-03-01", "2025-03-02", "2025-03-03", "2025-03-04"]


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8, 40])
def test_few_bars_are_spread_over_the_whole_chart(number):
    """Two days have a half of it each; their bars stand in the middle of theirs, and none is a wall."""
    days = _buckets({day: {"blurry": 1, "": 3} for day in _days(number)})
    bars, rate = rejections_over_time(days, _linked), rate_over_time(days, 0.2, _linked)
    middles = [100 * (at + 0.5) / number for at in range(number)]
    assert [bar.x + bar.width / 2 for bar in bars.bars] == pytest.approx(middles)
    assert [x for x, _ in rate.dots] == pytest.approx(middles)
    assert all(pytest.approx(tick.at) in middles for tick in bars.x_ticks)
    assert max(bar.width for bar in bars.bars) <= 20
    assert min(bar.width for bar in bars.bars) > min(0.8 * 100 / number, 19)
    columns = [(column.x, column.x + column.width) for column in rate.columns]
    assert columns == [pytest.approx((100 * at / number, 100 * (at + 1) / number)) for at in range(number)]


def test_long_times_are_weeks_and_a_part_of_one_is_marked():
    """A year is shown by weeks that begin on Monday; the first and the last, of which it has some days, say so."""
    year = _buckets({"2025-01-01": {"blurry": 5}, "2025-12-31": {"": 6, "blurry": 1}})
    assert (len(year), sum(one.tally.total for one in year)) == (53, 12)
    assert [one.name for one in (year[0], year[1], year[-1])] == [
        "2025-01-01 to 2025-01-05 (part)",
        "2025-01-06 to 2025-01-12",
        "2025-12-29 to 2025-12-31 (part)",
    ]
    chart = rejections_over_time(year, _linked)
    assert len(chart.parts) == 2
    assert chart.drawn("one").count(">part</text>") == 2


def test_a_bucket_ends_where_the_report_does():
    """What a bar leads to is what it counts: the first hour begins with the report, the running one ends with it."""
    hours = {"2025-03-01T07": {"noisy": 2}, "2025-03-01T08": {"blurry": 1, "": 8}}
    found = _buckets(hours, "2025-03-01T07:20", "2025-03-01T08:45", Dimension.hour)
    assert [one.name for one in found] == ["2025-03-01 07:20 to 08:00 (part)", "2025-03-01 08:00 to 08:45 (part)"]
    assert [bar.link for bar in rejections_over_time(found, _linked).bars] == [
        "noisy in 2025-03-01 07:20 to 08:00 (part)",
        "blurry in 2025-03-01 08:00 to 08:45 (part)",
    ]


@pytest.mark.parametrize("number", [1, 2, 24, 30, 96])
def test_bars_stand_apart_and_within_the_chart(number):
    """However many there are, no two overlap, stacked ones meet, and the labels of the axis are few."""
    days = _buckets({day: {"blurry": 3, "noisy": 1} for day in _days(number)})
    chart = rejections_over_time(days, _linked)
    columns = sorted({(bar.x, bar.width) for bar in chart.bars})
    assert len(columns) == number
    assert all(x + width < after for (x, width), (after, _) in pairwise(columns))
    assert columns[-1][0] + columns[-1][1] <= 100
    for x, _ in columns:
        lower, upper = (bar for bar in chart.bars if bar.x == x)
        assert lower.y == pytest.approx(upper.y + upper.height)
        assert lower.height == pytest.approx(3 * upper.height)
    assert 1 <= sum(1 for tick in chart.x_ticks if not tick.is_minor) <= 4
    assert len(chart.x_ticks) <= 8


def test_the_line_of_rates_has_gaps_and_a_dot_for_a_lone_day():
    """A day without images breaks the line; between two gaps a day is a dot, also where there are too many for dots."""
    days = {day: {"blurry": 1, "": 3} for day in _days(60)}
    for at in ("2025-01-03", "2025-01-05"):
        del days[at]
    chart = rate_over_time(_buckets(days), 0.5, _linked)
    assert chart.line.count("M") == 3
    assert len(chart.dots) == 1
    assert chart.columns[0].label == "2025-01-01: 25.0 % of 4"
    [single] = rate_over_time(_buckets({"2025-01-01": {"blurry": 1}}), 0.5, _linked).dots
    assert single[1] == 0  # all of them


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ((1, 0), ["0", "1"]),
        ((3, 4), ["0", "2", "4", "6", "8"]),
        ((0, 4_600), ["0", "1,000", "2,000", "3,000", "4,000", "5,000"]),
        ((0, 26_000), ["0", "10k", "20k", "30k"]),
        ((0, 1_200_000), ["0", "500k", "1M", "1.5M"]),
    ],
)
def test_charts_count_whole_images(images, labels):
    """There is no half of an image beside the bars, and large numbers can be read."""
    chart = rejections_over_time(_buckets({"2025-03-01": {"blurry": images[0], "noisy": images[1]}}), _linked)
    assert [tick.label for tick in chart.y_ticks] == labels
    shown = re.findall(r'text-anchor="end">([^<]+)</text>', chart.drawn("one"))
    assert shown == labels
