"""The report itself: what was asked, the numbers, and the findings, ready to be shown in any form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imageguard_daemon.audit.counts import Count, Dimension, Scope
from imageguard_daemon.reporting.findings import Finding, find_patterns
from imageguard_daemon.reporting.statistics import wilson_interval
from imageguard_daemon.reporting.tallies import Tally, tallies_by, tally

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

FINDINGS_GROUPING = (Dimension.class_, Dimension.source)
"""What findings look at, whatever a report is grouped by."""


@dataclass(frozen=True, slots=True)
class Report:
    """All numbers of one report.

    `groups` are in the order to show: days as they went by, reasons by frequency, all others worst first. In
    a report by reason a group's `total` is that of all images: its rate is the share of all that this reason
    cost.
    """

    by: Dimension
    scope: Scope
    overall: Tally
    groups: Mapping[str, Tally]
    findings: tuple[Finding, ...]
    rejection_rate_limit: float
    reviewed: "Reviewed | None" = None
    """What people said of rejections; None when it was not asked for."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """Of the rejections that people reviewed, how many were right and how many wrong."""

    right: int = 0
    wrong: int = 0

    @property
    def precision(self) -> float:
        """The share that was right; 0 of nothing is 0."""
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the share."""
        return wilson_interval(self.right, self.right + self.wrong)


def groupings_for(by: Dimension) -> tuple[tuple[Dimension, ...], ...]:
    """Give what must be counted for a report: one question to the log, or two."""
    return (FINDINGS_GROUPING,) if by in {*FINDINGS_GROUPING, Dimension.reason} else (FINDINGS_GROUPING, (by,))


def make_report(by: Dimension, scope: Scope, counts: Sequence[Sequence[Count]], settings: "Reporting") -> Report:
    """Turn the counts of `groupings_for(by)`, in that order, into a report."""
    overall = tally(counts[0])
    classes, sources = (tallies_by(position, counts[0]) for position in range(len(FINDINGS_GROUPING)))
    groups = _groups(by, overall, counts)
    findings = find_patterns(overall, classes, sources, settings)
    return Report(by, scope, overall, groups, findings, settings.rejection_rate_limit)


def _groups(by: Dimension, overall: Tally, counts: Sequence[Sequence[Count]]) -> dict[str, Tally]:
    if by is Dimension.reason:
        return {reason: Tally(overall.total, {reason: n}) for reason, n in overall.ranked_reasons().items()}
    groups = tallies_by(FINDINGS_GROUPING.index(by) if by in FINDINGS_GROUPING else 0, counts[-1])
    if by is Dimension.day:
        return dict(sorted(groups.items()))
    return dict(sorted(groups.items(), key=_worst_first))


def _worst_first(group: tuple[str, Tally]) -> tuple[float, int, str]:
    """Rank by the low end of the interval: 1 of 1 rejected says less than 90 of 100."""
    key, tally = group
    return -tally.interval[0], -tally.total, key
