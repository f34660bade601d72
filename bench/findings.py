"""How often findings are wrong, and how often patterns are missed: `python -m bench.findings`.

    python -m bench.findings --reports 500 --trials 50 --steps 20 --alarms 20 --years 10
    python -m bench.findings --log LOG/audit.db --shuffles 500

A stream without a pattern comes in bursts and has days that differ for all; a finding about anything but limits that
its rate is above is false. So is one in a year with patterns whose verdicts were dealt out anew, in blocks of images
that came one after the other, or in a log of real images (`bench.real_log`). Patterns are planted one at a time.
`--steps` counts the days until a step is told, `--alarms` the hours, and false alarms in a year.
"""

import argparse
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.streams import (
    REASONS,
    Bursts,
    Floats,
    Planted,
    Stream,
    Verdicts,
    panel_of_bursts,
    panel_of_verdicts,
    planted,
    raised,
)
from bench.year import Year, patterns_of_a_bad_year
from imageguard_daemon.audit.columns import DAY_MS, open_columns
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.rollups import FLAG_BORDERLINE
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.findings import find_patterns
from imageguard_daemon.reporting.panel import Panel, Patterns
from imageguard_daemon.reporting.questions.now import (
    BASELINE_SLOTS,
    DAY_SLOTS,
    MAX_HOURS,
    Spread,
    alarms,
    by_day,
    limit_for,
    spread_of,
)
from imageguard_daemon.reporting.scatter import scatter_of

SETTINGS = Reporting()
_STEPS = ((0.01, 0.05, 2_000), (0.05, 0.1, 500), (0.05, 0.15, 250), (0.05, 0.15, 50), (0.1, 0.2, 100))
_GROUPS = 20
_BY_HOUR = np.array([2, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 11, 10, 10, 11, 11, 10, 9, 8, 7, 6, 5, 4, 3], float)
LEVELS = ("high_rejection_rate", "mostly_", "source_mostly_rejected")
"""What is true of a stream above the limits."""


NOT_OF_VERDICTS = frozenset({"source_stopped", "source_delivers_more", "class_twins"})
"""What is as true after verdicts were dealt out anew."""


def found(panel: Panel) -> tuple[Finding, ...]:
    """Give the findings in a panel."""
    return find_patterns(Patterns(panel), SETTINGS)


def false_kinds(panels: Iterable[Panel], rate: float) -> Counter[str]:
    """Count the reports in which each kind is false; under "" those with any, under `reports` all of them."""
    kinds = Counter[str]()
    for panel in panels:
        wrong = {one.kind for one in found(panel) if rate <= SETTINGS.rejection_rate_limit or not is_level(one)}
        wrong = {kind for kind in wrong if not kind.startswith("mostly_") and kind not in NOT_OF_VERDICTS}
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
    nothing = np.zeros(len(reasons), np.int64)
    reasons = np.where(reasons < 0, -1, reasons % len(REASONS))
    reasons = Verdicts((), nothing, nothing, REASONS, reasons, nothing > 0).dealt_anew(seed, block).reasons
    bursts = Bursts(
        columns[0], columns[1], columns[2] + 100 * columns[1], of_day, nothing * 1.0, nothing * 1.0, nothing
    )
    return panel_of_bursts(bursts, reasons, nothing > 0)


def verdicts_in(log: Path) -> Verdicts:
    """Give the verdicts of a log in the order in which the images came."""
    with open_log(log) as opened, open_columns(opened) as columns:
        keys, parts = columns.keys, list(columns.batches(Scope()))
    ids, of_image, moments, flags = (
        np.concatenate([getattr(one, name) for one in parts]) for name in ("ids", "keys", "moments", "flags")
    )
    order = np.argsort(ids)
    names, reasons = dict[tuple[str, ...], int](), {"": -1}
    streams, why = np.zeros(len(keys), np.int64), np.full(len(keys), -1)
    for number, key in enumerate(keys):
        if key:
            stream = (key.class_name, key.source, key.camera, key.host, key.preset)
            streams[number] = names.setdefault(stream, len(names))
            why[number] = reasons.setdefault(key.reason if key.verdict != "accepted" else "", len(reasons) - 1)
    days = moments[order] // DAY_MS
    near = flags[order] & FLAG_BORDERLINE > 0
    of_image = of_image[order]
    return Verdicts(list(names), streams[of_image], days - days.min(), list(reasons)[1:], why[of_image], near)


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


def _print_logs(logs: Iterable[Path], shuffles: int) -> None:
    print(f"False findings in {shuffles} reports each, of logs whose verdicts were dealt out anew in blocks\n")
    total = Counter[str]()
    for log in logs:
        verdicts = verdicts_in(log)
        rate = float((verdicts.reasons >= 0).mean())
        sets, sources = (len({name[at] for name in verdicts.names}) for at in (0, 1))
        of = f"{len(verdicts.reasons):,} images of {sets} classes and {sources} sources, {rate:.0%} rejected"
        print(f"{log.parent.name}: {of}")
        for block in (1, 5, 20):
            panels = (panel_of_verdicts(verdicts.dealt_anew(seed, block)) for seed in range(shuffles))
            kinds = false_kinds(panels, rate)
            _print_kinds(f"in blocks of {block}", kinds)
            total.update(kinds)
    _print_kinds("all", total)
    print()


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


def on_days(seed: int, rate: float, day: float, days: int = 366, most: float = 0.95) -> Floats:
    """Give the rate of every hour, where days differ (lognormal) for all alike."""
    of_day = np.exp(np.random.default_rng(seed).normal(0, day, days) - day**2 / 2)
    return np.minimum(rate * np.repeat(of_day, DAY_SLOTS), most)


def hours_of(seed: int, rates: Floats, a_day: float, burst: int, rows: int) -> tuple[Floats, Floats]:
    """Give images and rejections of every hour, more by day than by night."""
    rng = np.random.default_rng(seed)
    by_hour = np.resize(_BY_HOUR / _BY_HOUR.sum(), len(rates))
    number = rng.poisson(a_day / burst * by_hour, (rows, len(rates)))
    return number * float(burst), rng.binomial(number, rates) * float(burst)


def spread_known(images: Floats, rejected: Floats) -> Spread:
    """Give how counts scatter, as a look at the last weeks has it."""
    known = [part[:, :MAX_HOURS] for part in (images, rejected)]
    return spread_of(*known, scatter_of(*map(by_day, known)))


def _print_alarms(trials: int, years: int) -> None:
    print(f"False alarms by the hour, in {years} years of {_GROUPS} groups; causes, and groups that have it\n")
    total, of_cases = Counter[str](), Counter[float]()
    cases = list(itertools.product((50, 500, 3_000), (0.05, 0.18, 0.35), (1, 3), (0.0, 0.3, 0.5)))
    for at, (a_day, rate, burst, day) in enumerate(cases):
        made = [false_alarms(at * 1_000 + seed, a_day, rate, burst, day) for seed in range(years)]
        causes, groups = (sum(column) for column in zip(*made, strict=True))
        total.update(causes=causes, groups=groups)
        of_cases[day] += causes
        print(f"{rate:.0%} at {a_day:,} a day, bursts of {burst}, days {day:g}: {causes}, {groups}", flush=True)
    of_day = years * len(cases) // len(of_cases)
    for day, causes in of_cases.items():
        print(f"days {day:g}: {causes} in {of_day:,} years, {causes / of_day:.2f} a year")
    print(f"all: {total['causes']} in {years * len(cases):,} years, in {total['groups']} groups")
    print(f"\nHours until an alarm for one of {_GROUPS} groups (median of {trials}; 672 is none within four weeks)\n")
    for day, burst in itertools.product((0.0, 0.3), (1, 3)):
        for before, after, a_day in _STEPS:
            step = Step(before, after, a_day, burst, day)
            told = sorted(hours_until_told(seed, step) for seed in range(trials))
            what = f"{before:.0%} to {after:.0%} at {a_day:,} a day, bursts of {burst}, days {day:g}"
            print(f"{what}: {told[len(told) // 2]} (slowest {told[-1]})", flush=True)
    print()


def false_alarms(seed: int, a_day: float, rate: float, burst: int, day: float) -> tuple[int, int]:
    """Give how many causes raise an alarm in a year without any, and how many groups: one bad day is bad for all."""
    made = hours_of(seed, on_days(seed, rate, day), a_day, burst, _GROUPS)
    raised = [one.raised for row in alarms(*made, spread_known(*made), limit_for(_GROUPS)) for one in row]
    return len({hour // (2 * DAY_SLOTS) for hour in raised}), len(raised)


class Step(NamedTuple):
    """A rate that rises for one group of many."""

    before: float
    after: float
    a_day: float
    burst: int = 1
    day: float = 0.0


def hours_until_told(seed: int, step: Step) -> int:
    """Give the hours from a step in one of the groups to its alarm."""
    days = on_days(seed, 1.0, step.day, 2 * BASELINE_SLOTS // DAY_SLOTS, most=9.0)
    images, rejected = hours_of(seed, np.minimum(step.before * days, 0.95), step.a_day, step.burst, _GROUPS)
    rates = np.where(np.arange(len(days)) < BASELINE_SLOTS, step.before, step.after) * days
    images[:1], rejected[:1] = hours_of(seed + 1_000, np.minimum(rates, 0.95), step.a_day, step.burst, 1)
    [one, *_] = alarms(images, rejected, spread_known(images, rejected), limit_for(_GROUPS))
    return next((each.raised - BASELINE_SLOTS for each in one if each.raised >= BASELINE_SLOTS), BASELINE_SLOTS)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=20)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--alarms", type=int, default=5)
    parser.add_argument("--years", type=int, default=3, help="of false alarms")
    parser.add_argument("--log", type=Path, action="append", default=[], help="shuffle the verdicts of this log")
    parser.add_argument("--shuffles", type=int, default=500)
    asked = parser.parse_args()
    if asked.log:
        _print_logs(asked.log, asked.shuffles)
        return
    if asked.alarms:
        _print_alarms(asked.alarms, asked.years)
    if asked.reports:
        _print_false(asked.reports)
    if asked.trials:
        _print_recall(asked.trials)
    if asked.steps:
        _print_steps(asked.steps)


if __name__ == "__main__":
    main()
