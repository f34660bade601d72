"""How many planted patterns are found, and how many findings come from chance: `python -m bench.patterns`.

    python -m bench.patterns --trials 200 --shuffles 1000

A trial is a season of decisions with one pattern at the strength of its table row. A shuffle deals what was judged out
anew among the images of each day: every finding in it is false. A quiet year has cameras, seasons and noise, and no
pattern.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import numpy as np

from bench.year import REASONS, SOURCES, Keyed, Planted, Year
from imageguard_daemon.audit.aggregation import BatchCounter
from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.panel import panel_of
from imageguard_daemon.reporting.questions.boundary import missed_by_little, tried
from imageguard_daemon.reporting.report import Facts, groupings_for, make_report
from imageguard_daemon.reporting.score_stats import ScoreCounter
from imageguard_daemon.reporting.sizes import SizeCounter

BY = groupings_for((), timedelta(days=30))


def findings_in(year: Year) -> tuple[Finding, ...]:
    """Give what a report on a year finds, by the code that reports use; only the database is left out."""
    keyed = Keyed()
    batches = [keyed.batch(day) for day in year.batches()]
    keys = keyed.keys
    counter, score_counter, sizes = BatchCounter(keys, BY), ScoreCounter(keys), SizeCounter(keys)
    if score_counter.has_several:
        score_counter.suppose(sum(np.bincount(batch.keys, minlength=len(keys)) for batch in batches))
    for batch in batches:
        for one in (counter, score_counter, sizes):
            one.add(batch)
    score_counter.is_right(counter.cells.images_of_keys())
    counts = dict(zip(BY, counter.counts(), strict=True))
    score_stats = score_counter.stats()
    missed = tried(missed_by_little(score_stats.boundaries, Reporting()), keys, batches, lambda _: {})
    facts = Facts(counts, score_stats=score_stats, bands=sizes.bands(), panel=panel_of(counter.cells), missed=missed)
    return make_report((), Scope(), facts, Reporting()).findings


def random_pattern(rng: np.random.Generator, days: int) -> Planted:
    """Draw a pattern that a person would want to know of."""
    cameras = [name for names in Year(1).camera_names for name in names if name]
    begin = int(rng.integers(days // 5, days * 4 // 5))
    reason = int(rng.integers(len(REASONS)))
    return [
        Planted("class_consistently_rejected", str(rng.choice(["lynx", "wolf", "otter", "crane"])), 0.75, reason),
        Planted("source_high_rejection_rate", str(rng.choice(SOURCES)), 0.35, reason),
        Planted("high_rejection_rate", "all images", 0.3, reason),
        Planted(f"mostly_{REASONS[reason]}", REASONS[reason], 0.12, reason),
        Planted("differs_from_others", "camera Canon EOS R6 (scraper)", 0.8, reason),
        Planted("source_got_worse", str(rng.choice(SOURCES)), 0.3, reason, (begin, days)),
        Planted("camera_got_worse", str(rng.choice(cameras)), 0.35, reason, (begin, days)),
        Planted("camera_got_worse", str(rng.choice(cameras)), 0.6, reason, (begin, begin + max(days // 10, 3))),
        Planted("many_just_below_resolution_score", "resolution_score", 0.9),
        Planted("duplicates_arriving_again", str(rng.choice(SOURCES)), 0.25),
    ][int(rng.integers(10))]


def is_found(pattern: Planted, findings: Sequence[Finding]) -> bool:
    """Tell whether the finding is there that names the pattern."""
    return any((each.kind, each.subject) == (pattern.kind, pattern.subject) for each in findings)


def recall(trials: int, images: int, days: int = 90) -> dict[str, tuple[int, int]]:
    """Give for each kind how many of how many planted patterns were found."""
    rng = np.random.default_rng(11)
    tried, found = Counter[str](), Counter[str]()
    for trial in range(trials):
        pattern = random_pattern(rng, days)
        kind = "mostly_..." if pattern.kind.startswith("mostly") else pattern.kind
        tried[kind] += 1
        found[kind] += is_found(pattern, findings_in(Year(images, days, seed=trial, planted=(pattern,))))
    return {kind: (found[kind], number) for kind, number in sorted(tried.items())}


def false_findings(reports: int, images: int, *, shuffled: bool, days: int = 90) -> Counter[str]:
    """Count reports with a finding on years without a pattern; under "" those without."""
    kinds = Counter[str]()
    for number in range(reports):
        findings = findings_in(Year(images, days, seed=10_000 + number, shuffled=shuffled))
        kinds.update({finding.kind for finding in findings} or {""})
    return kinds


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--shuffles", type=int, default=1_000)
    parser.add_argument("--images", type=int, default=20_000)
    asked = parser.parse_args()
    results = recall(asked.trials, asked.images)
    for kind, (found, planted) in results.items():
        print(f"{kind:36} {found:4} of {planted:4} found")
    all_found, all_tried = (sum(numbers) for numbers in zip(*results.values(), strict=True))
    print(f"{'all':36} {all_found:4} of {all_tried:4} found ({all_found / all_tried:.1%})")
    for shuffled, what in ((True, "shuffled"), (False, "quiet")):
        kinds = false_findings(asked.shuffles, asked.images // 2, shuffled=shuffled)
        wrong = asked.shuffles - kinds.pop("", 0)
        print(
            f"{what}: {wrong} of {asked.shuffles} reports with a finding ({wrong / asked.shuffles:.2%}) {dict(kinds)}"
        )


if __name__ == "__main__":
    sys.exit(main())
