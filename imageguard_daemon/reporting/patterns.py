"""What findings are looked for in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.reporting.panel import Counts, Groups, Panel
from imageguard_daemon.reporting.questions.boundary import Missed
from imageguard_daemon.reporting.scatter import Scatter, own_factors, scatter_of
from imageguard_daemon.reporting.sizes import Bands


class Series(NamedTuple):
    """Groups with their counts by slot; `effects` says how many images count as one, and `factors` how many more."""

    groups: Groups
    images: Counts
    rejected: Counts
    effects: Counts
    factors: Counts


@dataclass(frozen=True)
class Patterns:
    """The counts of a report with what its pass over the scores saw; all but `panel` may be missing."""

    panel: Panel
    missed: Sequence[Missed] = ()
    """Thresholds that many images miss by little."""
    bands: Mapping[str, Bands] = field(default_factory=dict)
    """Small images of one size, for `source` and `class`."""
    by_one_rule: Counts | None = None
    """Rejections of each stream by the thresholds of most images, where not all were judged by the same."""
    newest: npt.NDArray[np.int64] | None = None
    """The newest rejected decision of each stream, 0 of none."""
    end_second: float | None = None
    """When the report ends, if it does so after its last image, in seconds since 1970."""
    of_a_log: bool = True
    """Whether they are of a log, not of a folder judged in place."""
    scope: Scope = field(default_factory=Scope)
    """Which decisions the report is on, for commands that are to be about the same."""
    _series: dict[tuple[str, ...], Series] = field(default_factory=dict, repr=False)

    @cached_property
    def scatter(self) -> Scatter:
        """How far rejections scatter beyond chance."""
        return scatter_of(self.panel.images, self.panel.rejected)

    def scatter_of_shares(self, images: Counts, hits: Counts) -> Scatter:
        """Estimate the scatter of other shares; a burst shares its reasons as it shares its verdict."""
        own = scatter_of(images, hits)
        return replace(own, burst=max(own.burst, self.scatter.burst))

    def series(self, *fields: str) -> Series:
        """Take streams together by some of FIELDS, with how far they scatter."""
        if fields not in self._series:
            groups = self.panel.groups(*fields)
            images, rejected = groups.sums(self.panel.images), groups.sums(self.panel.rejected)
            effects = self.scatter.effects(images, rejected.sum(axis=1) / np.maximum(images.sum(axis=1), 1))
            self._series[fields] = Series(groups, images, rejected, effects, own_factors(images, rejected, effects))
        return self._series[fields]

    def effects_at(self, limit: float, *fields: str) -> dict[tuple[str, ...], float]:
        """Give for each group how many of its images count as one where its rate is checked against a limit."""
        series = self.series(*fields)
        effects = self.scatter.effects_at(series.images, limit) * series.factors
        return dict(zip(series.groups.names, effects.tolist(), strict=True))

    @cached_property
    def effect(self) -> float:
        """How many images count as one where all are taken together."""
        whole = self.panel.images.sum(axis=0, keepdims=True)
        rate = self.panel.rejected.sum() / max(whole.sum(), 1)
        return float(self.scatter.effects(whole, np.array([rate]))[0])

    def example_of(self, chosen: npt.NDArray[np.bool_]) -> int:
        """Give the newest rejected decision of some streams; 0 if none is known."""
        return int(self.newest[chosen].max(initial=0)) if self.newest is not None else 0
