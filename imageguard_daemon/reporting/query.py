"""Asks the log for all that a report is made from, at one moment of it; memory does not grow with the log."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from imageguard_daemon.audit.aggregation import BatchCounter, CellCounter, Cells
from imageguard_daemon.audit.columns import EPOCH, Columns, open_columns
from imageguard_daemon.audit.counts import Count, Scope
from imageguard_daemon.audit.queries import images_by_id
from imageguard_daemon.audit.reviewed_images import count_reviews
from imageguard_daemon.audit.rollups import HOUR_MS
from imageguard_daemon.audit.store import Store
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.panel import Panel, Patterns, panel_of
from imageguard_daemon.reporting.period import end_of
from imageguard_daemon.reporting.questions.boundary import Missed, missed_by_little, tried
from imageguard_daemon.reporting.questions.now import MAX_HOURS, hourly_panel, risen_now
from imageguard_daemon.reporting.questions.oddities import CLOCKS_DIFFER, Later
from imageguard_daemon.reporting.report import (
    Facts,
    Grouping,
    Report,
    groupings_before,
    groupings_for,
    make_report,
    period_before,
    slot_ms,
)
from imageguard_daemon.reporting.scatter import scatter_of
from imageguard_daemon.reporting.score_stats import ScoreCounter, ScoreStats
from imageguard_daemon.reporting.simulation import Rules, Simulation, simulate
from imageguard_daemon.reporting.sizes import Band, Bands, SizeCounter

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

_MAX_SIZES = 1_000
"""A log of ten thousand classes must not have all their examples read."""


def report_on(
    log: Store,
    by: Grouping,
    scope: Scope,
    settings: "Reporting",
    now: datetime | None = None,
) -> Report:
    """Make a report from a log opened for reading; a daemon may be writing to it.

    `now` is the end of a scope that has a beginning and no end, and what later decisions are told by.

    Raises:
        UsageError: the scope names a source, class, camera, host or preset that the log has never seen.
        RetryableError: the database is locked.
        UnavailableError: it is damaged, is not an audit log, or was made by an older or a newer version.
    """
    if now is not None:
        scope = replace(scope, until=end_of(scope.since, scope.until, now))
    report = make_report(by, scope, gather(log, by, scope, settings, now), settings)
    images = images_by_id(log, [finding.example_id for finding in report.findings if finding.example_id])
    findings = (replace(finding, example=images.get(finding.example_id)) for finding in report.findings)
    return replace(report, findings=tuple(findings))


def gather(log: Store, by: Grouping, scope: Scope, settings: "Reporting", now: datetime | None = None) -> Facts:
    """Give the facts for `make_report`; the errors are those of `report_on`."""
    with columns_for(log, scope) as columns:
        first, last = columns.span_ms(scope)
        groupings = groupings_for(by, timedelta(milliseconds=last - first))
        counts, panel, score_stats, bands = _pass(columns, groupings, scope, slot_ms(last - first))
        bands = _with_sizes(columns, bands)
        before = period_before(scope, now)
        earlier = _counted(columns, groupings_before(by), before) if before else None
        missed = _missed(columns, scope, score_stats, panel, settings)
        later = _later(columns, scope, now) if now else None
    nearest = (*score_stats.accepted_nearest, *score_stats.rejected_nearest)
    ids = [image.id for image in nearest]
    for examples in score_stats.examples.values():
        ids += examples
    images = images_by_id(log, ids)
    facts = Facts(counts, earlier, score_stats, images, bands, later=later, panel=panel, missed=missed)
    return replace(facts, reviews=count_reviews(log, scope), end=_end(scope, now))


def _end(scope: Scope, now: datetime | None) -> datetime | None:
    """Give the end of a report; what is yet to come is not silence."""
    return min(filter(None, (scope.until, now)), default=None)


def risen_in(log: Store, scope: Scope, settings: "Reporting") -> list[Finding]:
    """Give what rose in the last hours of a scope and is not over; the errors are those of `report_on`.

    What is usual is known from the weeks before, whether they are in scope or not.
    """
    if scope.until is not None:
        scope = replace(scope, since=scope.until - timedelta(hours=MAX_HOURS))
    with columns_for(log, scope) as columns:
        counter = CellCounter(columns.keys, HOUR_MS)
        for batch in columns.batches(scope):
            counter.add(batch)
    return risen_now(Patterns(hourly_panel(counter.cells()), scope=scope), settings)


@contextmanager
def columns_for(log: Store, scope: Scope) -> Iterator[Columns]:
    """Read the roll-ups as of one moment; the errors are those of `report_on`."""
    with open_columns(log) as columns:
        columns.require_known(scope)
        yield columns


def simulation_of(log: Store, scope: Scope, rules: Rules) -> Simulation:
    """Judge the decisions in scope again, archived ones too; the errors are those of `report_on`."""
    with columns_for(log, scope) as columns:
        simulation = simulate(columns.keys, columns.batches(scope, scores=True), rules, columns.measures)
    examples = (*simulation.newly_rejected, *simulation.newly_accepted)
    return simulation.with_paths(images_by_id(log, [example.id for example in examples]))


def _pass(
    columns: Columns, groupings: Sequence[Grouping], scope: Scope, slot: int
) -> tuple[dict[Grouping, list[Count]], Panel, ScoreStats, dict[str, Bands]]:
    counter = BatchCounter(columns.keys, groupings, slot)
    scores = ScoreCounter(columns.keys)
    sizes = SizeCounter(columns.keys)
    if scores.has_several:
        # By which thresholds most images were judged is known only after the pass: a sample guesses it, so that one
        # pass is enough in nearly every log.
        scores.suppose(columns.some_images_of_keys(scope))
    for batch in columns.batches(scope, scores=True):
        for counting in (counter, scores, sizes):
            counting.add(batch)
    if scores.has_several and not scores.is_right(counter.cells.images_of_keys()):
        scores = _counted_again(columns, scope, counter.cells)
    counts = dict(zip(groupings, counter.counts(), strict=True))
    return counts, panel_of(counter.cells), scores.stats(), sizes.bands()


def _counted_again(columns: Columns, scope: Scope, cells: Cells) -> ScoreCounter:
    """Look at the scores once more, now that it is known by which thresholds most images were judged."""
    scores = ScoreCounter(columns.keys)
    scores.suppose(cells.images_of_keys())
    for batch in columns.batches(scope, scores=True):
        scores.add(batch)
    return scores


def _with_sizes(columns: Columns, bands: dict[str, Bands]) -> dict[str, Bands]:
    """Add the width and height of some images of each band: roll-ups have only how many pixels."""
    found = [band for of_field in bands.values() for band in of_field.found.values()]
    ids = [number for band in found for number in band.ids]
    measures = columns.measures(ids[:_MAX_SIZES])
    sizes = {number: (round(of["width"]), round(of["height"])) for number, of in measures.items() if of}

    def with_sizes(band: Band) -> Band:
        known = (sizes[number] for number in band.ids if number in sizes)
        return replace(band, sizes=tuple(dict.fromkeys(known)))

    def all_with_sizes(of_field: Bands) -> Bands:
        return replace(of_field, found={name: with_sizes(band) for name, band in of_field.found.items()})

    return {field: all_with_sizes(of_field) for field, of_field in bands.items()}


def _missed(
    columns: Columns, scope: Scope, score_stats: ScoreStats, panel: Panel, settings: "Reporting"
) -> Sequence[Missed]:
    """Find thresholds that many miss by little; what lower ones would decide takes a second look, if there are any."""
    missed = missed_by_little(score_stats.boundaries, settings)
    if missed:  # what independent images would not prove is not a pattern in bursts either
        missed = missed_by_little(score_stats.boundaries, settings, scatter_of(panel.images, panel.rejected).burst)
    return tried(missed, columns.keys, columns.batches(scope, scores=True), columns.measures)


def _later(columns: Columns, scope: Scope, now: datetime) -> Later:
    """Count what is stamped later than now; a period that is over has nothing to do with it."""
    if scope.until is not None and scope.until < now:
        return Later()
    hosts, latest, since = Counter[str](), None, now + CLOCKS_DIFFER
    for batch in columns.batches(replace(scope, since=since, until=None)):
        numbers, counts = np.unique(batch.keys, return_counts=True)
        for number, images in zip(numbers.tolist(), counts.tolist(), strict=True):
            if key := columns.keys[number]:
                hosts[key.host] += images
        latest = max(latest or 0, int(batch.moments.max()))
    if latest is None:
        return Later()
    return Later(hosts, since, EPOCH + timedelta(milliseconds=latest))


def _counted(columns: Columns, groupings: Sequence[Grouping], scope: Scope) -> dict[Grouping, list[Count]]:
    counter = BatchCounter(columns.keys, groupings)
    for batch in columns.batches(scope):
        counter.add(batch)
    return dict(zip(groupings, counter.counts(), strict=True))
