"""How often findings are wrong, and how often patterns are missed: `python -m bench.findings`.

    python -m bench.findings --reports 500 --trials 50 --steps 20 --alarms 20

A stream without a pattern comes in bursts and has days that differ for all; a finding about anything but limits that
its rate is above is false. So is one in a year with patterns whose verdicts were dealt out anew, in blocks of images
that came one after the other. Patterns are planted one at a time. `--steps` counts the days until a step is told,
`--alarms` the hours, and false alarms in a year.
"""

import argparse
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from bench.streams import REASONS, Bursts, Floats, Planted, Stream, panel_of_bursts, planted, raised
from bench.year import Year, patterns_of_a_bad_year
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.findings import Patterns, find_patterns
from imageguard_daemon.reporting.panel import Panel
from imageguard_daemon.reporting.questions.now import BASELINE_SLOTS, alarms, by_day, daily_effects, limit_for
from imageguard_daemon.reporting.scatter import scatter_of

SETTINGS = Reporting()
_STEPS = ((0.01, 0.05, 2_000), (0.05, 0.1, 500), (0.05, 0.15, 250), (0.05, 0.15, 50), (0.1, 0.2, 100))
_GROUPS = 20
_BY_HOUR = np.array([2, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 11, 10, 10, 11, 11, 10, 9, 8, 7, 6, 5, 4, 3], float)
LEVELS = ("high_rejection_rate", "mostly_", "source_mostly_rejected")
"""What is true of a stream above the limits."""


def found(panel: Panel) -> tuple[Finding, ...]:
    """Give the findings in a panel."""
    return find_patterns(Patterns(panel), SETTINGS)


def false_kinds(panels: Iterable[Panel], rate: float) -> Counter[str]:
    """Count the reports in which each kind is false; under "" those with any, under `reports` all of them."""
    kinds = Counter[str]()
    for panel in panels:
        wrong = {one.kind for one in found(panel) if rate <= SETTINGS.rejection_rate_limit or not is_level(one)}
        wrong = {kind for kind in wrong if not kind.startswith("mostly_")}
        kinds.update([*wrong, *([""] if wrong else []), "reports"])
    return kinds


def is_level(one: Finding) -> bool:
    """Tell whether a finding is about a limit."""
    return one.kind.startswith(LEVELS)


def quiet_streams() -> Iterator[tuple[str, Stream]]:
    """Give the streams without a pattern, by name."""
    for rate, burst, day, classes in itertools.product(
        (0.05, 0.12, 0.18, 0.35), (1, 3, 10), (0.0, 0.3), (1, 20, 5_000)
    ):
        name = f"{rate:.0%} rejected, bursts of {burst}, days {day:g}, {classes:,} classes"
        yield name, Stream(rate=rate, burst=burst, day=day, classes=classes)


def dealt_anew(seed: int, block: int, images: int = 20_000, days: int = 90) -> Panel:
    """Give a year with patterns whose verdicts were dealt out anew, in blocks of images in the order they came."""
    parts = list(Year(images, days, seed=seed % 3, planted=patterns_of_a_bad_year(days)).batches())
    columns = [np.concatenate([getattr(day, name) for day in parts]) for name in ("classes", "sources", "cameras")]
    of_day = np.concatenate([np.full(len(day.sources), at) for at, day in enumerate(parts)])
    reasons = np.concatenate([day.reasons for day in parts])
    rng = np.random.default_rng(seed)
    order = rng.permutation(-(-len(reasons) // block))
    places = (order[:, None] * block + np.arange(block)).ravel()
    reasons = reasons[places[places < len(reasons)]]
    nothing = np.zeros(len(reasons), np.int64)
    bursts = Bursts(
        columns[0], columns[1], columns[2] + 100 * columns[1], of_day, nothing * 1.0, nothing * 1.0, nothing
    )
    return panel_of_bursts(bursts, np.where(reasons < 0, -1, reasons % len(REASONS)), nothing > 0)


def recall(pattern: Planted, trials: int) -> int:
    """Count in how many streams a pattern is told by its finding."""
    return sum(is_told(pattern, found(pattern.stream.panel(1_000 + seed))) for seed in range(trials))


def is_told(pattern: Planted, findings: Iterable[Finding]) -> bool:
    """Tell whether all findings are there that name the pattern."""
    named = [set(re.findall(r"\w+", one.subject)) for one in findings if one.kind in pattern.kinds]
    return all(any(name in words for words in named) for name in pattern.names) if pattern.names else bool(named)


def days_until_told(before: float, after: float, a_day: int, seed: int, most: int = 28) -> int | None:
    """Give how many days after a step of all images it is told; None if not within `most`."""
    whole = Stream(
        images=a_day * (28 + most), days=28 + most, rate=before, change=raised(lambda b: b.days >= 28, after)
    )
    panel = whole.panel(seed)
    for days in range(1, most + 1):
        end = 28 + days
        kept = panel.rejections.slots < end
        part = replace(
            panel,
            slots=panel.slots._replace(number=end),
            images=panel.images[:, :end],
            rejected=panel.rejected[:, :end],
            borderline=panel.borderline[:, :end],
            rejections=panel.rejections._make(column[kept] for column in panel.rejections),
            _groups={},
        )
        if any(one.kind == "all_got_worse" for one in found(part)):
            return days
    return None


def _print_false(reports: int) -> None:
    print(f"False findings in {reports} reports each (6,000 images of 18 cameras and 3 sources in 60 days)\n")
    total, worst = Counter[str](), 0.0
    for at, (name, stream) in enumerate(quiet_streams()):
        kinds = false_kinds((stream.panel(at * 10_000 + seed) for seed in range(reports)), stream.rate)
        _print_kinds(name, kinds)
        total.update(kinds)
        worst = max(worst, kinds[""] / kinds["reports"])
    for block in (1, 5, 20):
        kinds = false_kinds((dealt_anew(seed, block) for seed in range(reports)), 1.0)
        _print_kinds(f"a bad quarter dealt anew in blocks of {block}", kinds)
        total.update(kinds)
    _print_kinds("all", total)
    print(f"worst stream: {worst:.1%}\n")


def _print_kinds(name: str, kinds: Counter[str]) -> None:
    each = ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items()) if kind not in {"", "reports"})
    print(f"{name:60} {kinds['']:4} of {kinds['reports']:5} ({kinds[''] / kinds['reports']:.1%})  {each}", flush=True)


def _print_recall(trials: int) -> None:
    for burst in (1, 3):
        print(f"Planted patterns told, in {trials} streams each, bursts of {burst}\n")
        told = 0
        patterns = planted(burst)
        for name, pattern in patterns.items():
            number = recall(pattern, trials)
            told += number
            print(f"{name:60} {number:4} of {trials}", flush=True)
        print(f"{'all':60} {told:4} of {trials * len(patterns)} ({told / trials / len(patterns):.1%})\n")


def _print_steps(trials: int) -> None:
    print(f"Days until a step of all images is told (median of {trials}; most 28)\n")
    for before, after, a_day in _STEPS:
        days = sorted(days_until_told(before, after, a_day, seed) or 99 for seed in range(trials))
        print(
            f"{before:.0%} to {after:.0%} at {a_day:,} a day: {days[len(days) // 2]} (slowest {days[-1]})", flush=True
        )


def hours_of(seed: int, rates: Floats, a_day: float, burst: int, rows: int) -> tuple[Floats, Floats, Floats]:
    """Give images and rejections of every hour, more by day than by night, and the effects of four weeks."""
    rng = np.random.default_rng(seed)
    by_hour = np.resize(_BY_HOUR / _BY_HOUR.sum(), len(rates))
    number = rng.poisson(a_day / burst * by_hour, (rows, len(rates)))
    images, rejected = number * float(burst), rng.binomial(number, rates) * float(burst)
    known = [part[:, :BASELINE_SLOTS] for part in (images, rejected)]
    return images, rejected, daily_effects(*known, scatter_of(*map(by_day, known)))


def _print_alarms(trials: int) -> None:
    print(f"False alarms by the hour, in one year of {_GROUPS} groups\n")
    for a_day, rate, burst in itertools.product((50, 500), (0.05, 0.18), (1, 3)):
        images, rejected, effects = hours_of(1, np.full(366 * 24, rate), a_day, burst, _GROUPS)
        number = sum(map(len, alarms(images, rejected, effects, limit_for(_GROUPS))))
        print(f"{rate:.0%} at {a_day} a day, bursts of {burst}: {number}", flush=True)
    print(f"\nHours until an alarm (median of {trials}; 672 is none within four weeks)\n")
    for before, after, a_day in _STEPS:
        for burst in (1, 3):
            rates = np.concatenate((np.full(BASELINE_SLOTS, before), np.full(BASELINE_SLOTS, after)))
            told = sorted(_delay(hours_of(seed, rates, a_day, burst, 1)) for seed in range(trials))
            what = f"{before:.0%} to {after:.0%} at {a_day:,} a day, bursts of {burst}"
            print(f"{what}: {told[len(told) // 2]} (slowest {told[-1]})", flush=True)
    print()


def _delay(made: tuple[Floats, Floats, Floats]) -> int:
    [found_in] = alarms(*made, limit_for(_GROUPS))
    return next((one.told - BASELINE_SLOTS for one in found_in if one.told >= BASELINE_SLOTS), BASELINE_SLOTS)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=20)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--alarms", type=int, default=5)
    asked = parser.parse_args()
    if asked.alarms:
        _print_alarms(asked.alarms)
    if asked.reports:
        _print_false(asked.reports)
    if asked.trials:
        _print_recall(asked.trials)
    if asked.steps:
        _print_steps(asked.steps)


if __name__ == "__main__":
    main()
