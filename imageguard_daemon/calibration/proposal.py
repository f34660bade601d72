"""A proposal with all that a person needs to judge it: what it rejects, what the preset rejects, what is uncertain.

Thresholds that are to hold for images nobody has seen get a distribution-free, one-sided tolerance limit. They are
chosen from one part of the good images. That part also gives the only way in which they may be loosened further, a
line of ever lower thresholds. How far down that line is then read off the other part: as far as it takes for so few of
its images to be rejected that more than the limit of all would seldom show so few. On a line that is fixed beforehand
that is the order statistic of one number, whatever the distribution of the scores: Wilks (1941), Annals of Mathematical
Statistics 12, 91-96. Of images that thresholds were chosen from it would not be true.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from imageguard_daemon.calibration.samples import Collection, Sample
from imageguard_daemon.calibration.thresholds import STEPS_A_POINT, Scores, decisive, proposals, propose, rejects
from imageguard_daemon.core.errors import NoInputError
from imageguard_daemon.core.model import Decision, Measurement
from imageguard_daemon.quality.policy import decide, thresholds_for, with_overrides
from imageguard_daemon.quality.scoring import LIMITS
from imageguard_daemon.quality.version import SCORER_VERSION
from imageguard_daemon.reporting.statistics import chance_of_at_least, wilson_interval
from imageguard_daemon.reporting.text import limit_percent

MIN_IMAGES = 10
"""Fewer good images than this say nothing, and are refused."""
NEARLY_OFF = 2.0
"""A threshold up to here hardly rejects anything: at 2 points blur is 7 px, noise 38 grey levels."""
_RULE_OF_THREE = 3
"""None rejected of 3 / p images shows with 95 % confidence that the rate is below p."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many images."""

    images: int
    total: int

    @property
    def rate(self) -> float:
        """The share as a number of 0 to 1; 0 of nothing is 0."""
        return self.images / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the rate."""
        return wilson_interval(self.images, self.total)


@dataclass(frozen=True, slots=True)
class Missed:
    """Bad images that would be accepted, and that one signal, of exposure one end, is nearest to catching.

    `threshold` would catch the nearest of them, and rejects `cost` further good images.
    """

    signal: str
    images: int
    threshold: float
    cost: int


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """A threshold at or near 0, and the good images accepted that force it there, the lowest score first."""

    name: str
    threshold: float
    images: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Held:
    """That thresholds hold for unseen images: so many were rejected of those that they were not chosen from."""

    confidence: float
    checked: Share
    chosen_from: int


@dataclass(frozen=True)
class Proposal:
    """Thresholds for a preset's place, and the images they were made from."""

    preset_name: str
    max_reject: float
    good: Collection
    bad: Collection
    preset: Scores
    thresholds: Scores
    held: Held | None = None
    """None where the limit is of the images at hand."""
    scorer_version: str = SCORER_VERSION
    """Who gave the scores: to another's, these thresholds mean nothing."""

    @cached_property
    def rejected_good(self) -> list[tuple[Sample, Decision]]:
        """The good images that would be rejected, the worst first."""
        by_name = with_overrides(thresholds_for(self.preset_name), dict(zip(LIMITS, self.thresholds, strict=True)))
        rejected = [sample for sample in self.good.samples if rejects(self.thresholds, sample.scores)]
        decisions = [decide(Measurement("", sample.measures), self.preset_name, by_name) for sample in rejected]
        return sorted(zip(rejected, decisions, strict=True), key=lambda pair: pair[1].score)

    @cached_property
    def missed(self) -> list[Missed]:
        """The bad images that would be accepted, by the signal that would catch them at least cost."""
        accepted = [s.scores for s in self.good.samples if not rejects(self.thresholds, s.scores)]
        columns = [sorted(column) for column in zip(*accepted, strict=True)]
        nearest: dict[str, list[tuple[int, float]]] = {}
        for sample in self.bad.samples:
            if rejects(self.thresholds, sample.scores):
                continue
            for cost, threshold, signal in sorted(_ways_to_catch(sample.scores, columns))[:1]:
                nearest.setdefault(signal, []).append((cost, threshold))
        misses = []
        for signal, ways in nearest.items():
            cost, threshold = min(ways)
            misses.append(Missed(signal, len(ways), threshold, cost))
        return sorted(misses, key=lambda missed: (missed.cost, -missed.images))

    @cached_property
    def switched_off(self) -> list[SwitchedOff]:
        """The checks that the thresholds switch off, which the preset does not."""
        accepted = [sample for sample in self.good.samples if not rejects(self.thresholds, sample.scores)]
        checks = []
        for index, (name, threshold) in enumerate(zip(LIMITS, self.thresholds, strict=True)):
            if threshold <= NEARLY_OFF < self.preset[index]:
                forcing = [(s.scores[index], s.name) for s in accepted if s.scores[index] <= NEARLY_OFF + 1]
                images = tuple((image, score) for score, image in sorted(forcing))
                checks.append(SwitchedOff(name, threshold, images))
        return checks

    def rejected(self, thresholds: Scores, collection: Collection) -> Share:
        """Count the images of a folder that thresholds reject."""
        samples = collection.samples
        return Share(sum(rejects(thresholds, sample.scores) for sample in samples), len(samples))

    def rejected_by(self, index: int, threshold: float, collection: Collection) -> int:
        """Count the images of a folder that one signal alone rejects."""
        return sum(sample.scores[index] < threshold for sample in collection.samples)

    @cached_property
    def expected(self) -> Share:
        """The leave-one-out estimate of how many new good images are rejected; the images at hand flatter."""
        scores = [sample.scores for sample in self.good.samples]
        rejected = self.rejected(self.thresholds, self.good)
        return Share(rejected.images + decisive(scores, self.thresholds, self.preset), rejected.total)

    @property
    def images_for_certainty(self) -> int:
        """How many good images it takes to show a rate below the limit, were none of them rejected."""
        return math.ceil(_RULE_OF_THREE / self.max_reject) if self.max_reject else 0


def make_proposal(good: Collection, bad: Collection, preset_name: str, max_reject: float) -> Proposal:
    """Propose thresholds by which at most the share `max_reject` of the good images is rejected."""
    by_name = thresholds_for(preset_name)
    preset = tuple(by_name[name] for name in LIMITS)
    # 1 % of 300 images are 3, though 0.01 * 300 need not be.
    allowed = math.floor(max_reject * len(good.samples) + 1e-9)
    thresholds = propose(_scores(good), _scores(bad), preset, allowed)
    return Proposal(preset_name, max_reject, good, bad, preset, thresholds)


def make_held_proposal(
    good: Collection, bad: Collection, preset_name: str, max_reject: float, confidence: float
) -> Proposal:
    """Propose thresholds by which at most the share `max_reject` of unseen good images is rejected.

    The images are divided by their content: the same ones in each run, and no order or name has a part in it.

    Raises:
        NoInputError: there are too few; the message says how many it takes.
    """
    limit, by_name = Limit(max_reject, confidence), thresholds_for(preset_name)
    preset = tuple(by_name[name] for name in LIMITS)
    needed, images = images_needed(limit), len(good.samples)
    if images < needed + MIN_IMAGES:
        raise NoInputError(
            f"{images:,} different good images are too few to hold {limit_percent(max_reject)} for unseen ones with "
            f"{limit_percent(confidence)} confidence; it takes {needed + MIN_IMAGES:,}: {needed:,} to hold the "
            f"thresholds against, and {MIN_IMAGES} others to choose them from"
        )
    # By their hashes: an order that has nothing to do with how good they are, and is the same in each run.
    in_order = sorted(good.samples, key=lambda sample: (sample.sha256, sample.name))
    mixed = [sample.scores for sample in in_order]
    chosen_from = min(images // 2, images - needed)
    checked = mixed[chosen_from:]
    line = Line(mixed[:chosen_from], _scores(bad), preset)
    allowed = math.floor(max_reject * chosen_from + 1e-9)
    thresholds = line.thresholds(allowed, checked, most_rejected(len(checked), limit))
    rejected = sum(rejects(thresholds, scores) for scores in checked)
    held = Held(confidence, Share(rejected, len(checked)), chosen_from)
    return Proposal(preset_name, max_reject, good, bad, preset, thresholds, held)


def _scores(collection: Collection) -> list[Scores]:
    return [sample.scores for sample in collection.samples]


def _ways_to_catch(scores: Scores, columns: Sequence[Sequence[float]]) -> Iterator[tuple[int, float, str]]:
    """Give for each signal what it costs in good images to catch a bad one, and the threshold it takes."""
    for name, score, column in zip(LIMITS, scores, columns, strict=True):
        if score < 100:  # no threshold is above a full score
            threshold = min(100.0, (math.floor(score * 10) + 1) / 10)
            yield bisect_left(column, threshold), threshold, name.removesuffix("_score")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most this share of all good images is to be rejected, with this confidence; both in (0, 1)."""

    share: float
    confidence: float


def images_needed(limit: Limit) -> int:
    """Give how many images of which none is rejected show that the limit holds: 299 for 1 % at 95 %."""
    return math.ceil(math.log(1 - limit.confidence) / math.log1p(-limit.share))


def most_rejected(images: int, limit: Limit) -> int:
    """Give how many of so many images may be rejected for the limit to be shown; -1 if not even none shows it."""
    low, high = -1, images  # every number up to `low` shows it, `high` does not
    while high - low > 1:
        middle = (low + high) // 2
        if chance_of_at_least(middle + 1, images, limit.share) >= limit.confidence:
            low = middle
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class Line:
    """Thresholds made from good images, and ever lower ones: the further down, the fewer images are rejected.

    First fewer and fewer of the images that they were made from are given up; then each threshold goes down in the
    measure in which these images scatter in its signal. One that none of them comes near to stays long.
    """

    good: Sequence[Scores]
    bad: Sequence[Scores]
    preset: Scores

    def thresholds(self, allowed: int, checked: Sequence[Scores], rejected: int) -> Scores:
        """Give the last thresholds on the line, from its lower end, before more of these images are rejected than may.

        The line ends where `allowed` of the images that thresholds are made from are rejected. Whoever goes along a
        line that is fixed, and stops at the first that cannot be shown, is wrong as often as one test is.
        """
        best: Scores | None = None
        for thresholds in proposals(self.good, self.bad, self.preset, allowed):
            # The first that cannot be shown ends the search: to try further ones would be several tests, not one.
            if sum(rejects(thresholds, scores) for scores in checked) > rejected:
                break
            best = thresholds
        return best or self._further_down(checked, rejected)

    def _further_down(self, checked: Sequence[Scores], rejected: int) -> Scores:
        begin = propose(self.good, self.bad, self.preset, 0)
        columns = list(zip(*self.good, strict=True))
        lowest = [min(column) for column in columns]
        scatter = [median(column) - least or 1.0 for column, least in zip(columns, lowest, strict=True)]

        def place(scores: Scores) -> float:
            """Say how far down the line an image is accepted."""
            signals = zip(scores, begin, lowest, scatter, strict=True)
            return max((least - score) / unit if score < limit else 0.0 for score, limit, least, unit in signals)

        places = sorted(map(place, checked), reverse=True)
        at = places[rejected]
        lines = zip(begin, lowest, scatter, strict=True)
        lowered = (min(limit, least - at * unit) for limit, least, unit in lines)
        # Rounded down to tenths, from a hair above: a whole number of them may have come out just below it.
        return tuple(max(0.0, math.floor(value * STEPS_A_POINT + 1e-9) / STEPS_A_POINT) for value in lowered)
