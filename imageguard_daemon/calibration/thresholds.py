"""Thresholds from scores: a maximum of good images rejected, as near to the preset as that allows.

What counts is the number of good images rejected by any of the signals together. The search gives up good
images one after the other, in an order that does not depend on the limit, and stops at the limit. A larger limit
therefore gives up the same images and more: no threshold gets looser by it, and no bad image escapes by it.

1. With bad images: images are given up where that lets the thresholds catch the largest share of the bad ones for
   the share of good ones it costs, as long as the first is the larger one.
2. What is left of the limit brings loosened thresholds back towards the preset, again where it costs least.

A threshold rises above the preset only for bad images that it takes to catch, and only if, in that signal, so
many more of the bad than of the good images lie there that chance does not explain it.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from imageguard_daemon.reporting.statistics import chance_of_difference

Scores = tuple[float, ...]
"""One number for each threshold that decides, 0 to 100, in the order of `LIMITS`: exposure has one for each end."""

CHANCE = 0.05
"""How probable by chance the evidence for thresholds above the preset may be, all signals together."""
_MIN_LOOKAHEAD, _MAX_LOOKAHEAD = 50, 500
STEPS_A_POINT = 10
"""Thresholds have one digit: tenths."""


def rejects(thresholds: Scores, scores: Scores) -> bool:
    """Check whether an image with these scores would be rejected: a score is below its threshold."""
    return any(score < threshold for score, threshold in zip(scores, thresholds, strict=True))


def propose(good: Sequence[Scores], bad: Sequence[Scores], preset: Scores, max_rejected: int) -> Scores:
    """Give thresholds that reject at most `max_rejected` of the good images, `max_rejected` below their number.

    Without bad images none is above the preset's. A signal in which no good image is below the preset and no bad
    one needs more keeps the preset's threshold.
    """
    search = _Search(good, bad, preset)
    for index in islice(search.order(), max_rejected):
        search.give_up(index)
    return _nearest_to_preset(search.ceilings(), preset, bad)


def proposals(good: Sequence[Scores], bad: Sequence[Scores], preset: Scores, most_rejected: int) -> Iterator[Scores]:
    """Yield what `propose` gives for none, one, two and so many rejected good images, as far as there are any."""
    search = _Search(good, bad, preset)
    yield _nearest_to_preset(search.ceilings(), preset, bad)
    for index in islice(search.order(), most_rejected):
        search.give_up(index)
        yield _nearest_to_preset(search.ceilings(), preset, bad)


def decisive(good: Sequence[Scores], thresholds: Scores, preset: Scores) -> int:
    """Count the accepted good images that alone hold a threshold away from where it would be without them.

    Left out of the calibration, each of them would be rejected by its result. With the rejected images they
    therefore make the leave-one-out estimate of how many new good images will be rejected.
    """
    accepted = [scores for scores in good if not rejects(thresholds, scores)]
    columns = zip(*accepted, strict=True) if accepted else ()
    deciding: set[Scores] = set()
    for signal, column in enumerate(columns):
        lowest, second = (sorted(column)[:2] * 2)[:2]
        if second > lowest and _moves_past(lowest, second, thresholds[signal], preset[signal]):
            deciding.add(accepted[column.index(lowest)])
    return len(deciding)


def _moves_past(lowest: float, second: float, threshold: float, preset: float) -> bool:
    """Check whether the threshold would rise above the lowest image if that one were not there."""
    if threshold <= preset:
        return lowest < preset
    return threshold + (second - lowest) / 2 > lowest  # it stands in the middle between bad and good images


class _Search:
    """Good images kept so far, and how far up each threshold may go without rejecting one of them."""

    def __init__(self, good: Sequence[Scores], bad: Sequence[Scores], preset: Scores) -> None:
        self._good, self._bad, self._preset = good, bad, preset
        self._signals = range(len(preset))
        self._caps = tuple(_highest_proven(good, bad, preset, signal) for signal in self._signals)
        columns = [[scores[s] for scores in good] for s in self._signals]
        self._ascending = [sorted(range(len(good)), key=column.__getitem__) for column in columns]
        self._first = [0] * len(preset)
        self._kept = [True] * len(good)
        self._lookahead = min(max(_MIN_LOOKAHEAD, len(good) // 50), _MAX_LOOKAHEAD)

    def give_up(self, index: int) -> None:
        """Let this image be rejected."""
        self._kept[index] = False

    def ceilings(self) -> Scores:
        """Give the highest thresholds that reject none of the images kept."""
        return tuple(min(self._caps[s], self._lowest_kept(s)) for s in self._signals)

    def order(self) -> Iterator[int]:
        """Yield images to give up, the most useful first; who asks for the next has given up those before."""
        yield from self._steps(self._catching_gain, least_ratio=1.0)
        yield from self._steps(self._restoring_gain, least_ratio=0.0)

    def _steps(self, gains: "Callable[[], list[_Gain]]", least_ratio: float) -> Iterator[int]:
        while True:
            options = [(*self._best_prefix(s, gain), s) for s, gain in enumerate(gains())]
            # Of equal gains the one that costs fewer images, of these the first signal: the order is always the same.
            ratio, images, signal = max(options, key=lambda option: (option[0], -option[1], -option[2]))
            if ratio <= 0 or ratio < least_ratio:
                return
            yield from list(islice(self._front(signal), images))

    def _best_prefix(self, signal: int, gain: "_Gain") -> tuple[float, int]:
        """Find how many of the lowest images of a signal to give up for the most gain for each."""
        best, images = 0.0, 0
        last = -math.inf
        for cost, index in enumerate(islice(self._front(signal), self._lookahead + 1)):
            level = self._good[index][signal]
            if cost and level > last:  # of images with one score none can be given up without the others
                ratio = gain(min(level, self._caps[signal])) * len(self._good) / cost
                best, images = (ratio, cost) if ratio > best else (best, images)
            if level >= self._caps[signal]:
                break
            last = level
        return best, images

    def _catching_gain(self) -> "list[_Gain]":
        """Make, for each signal, the function from a threshold to the share of bad images it newly catches."""
        ceilings = self.ceilings()
        missed = [scores for scores in self._bad if not rejects(ceilings, scores)]
        columns = [sorted(scores[s] for scores in missed) for s in self._signals]
        return [_share_below(column, len(self._bad)) for column in columns]

    def _restoring_gain(self) -> "list[_Gain]":
        """Make, for each signal, the function from a threshold to the share of the preset's it brings back."""
        return [_share_restored(*pair) for pair in zip(self.ceilings(), self._preset, strict=True)]

    def _front(self, signal: int) -> Iterator[int]:
        """Yield the images kept, the lowest in this signal first."""
        order = self._ascending[signal]
        while self._first[signal] < len(order) and not self._kept[order[self._first[signal]]]:
            self._first[signal] += 1
        return (i for i in islice(order, self._first[signal], None) if self._kept[i])

    def _lowest_kept(self, signal: int) -> float:
        return next((self._good[index][signal] for index in self._front(signal)), 100.0)


_Gain = Callable[[float], float]


def _share_below(ascending: Sequence[float], total: int) -> _Gain:
    return lambda level: bisect_left(ascending, level) / total if total else 0.0


def _share_restored(ceiling: float, preset: float) -> _Gain:
    return lambda level: (min(level, preset) - ceiling) / preset if ceiling < preset else 0.0


def _highest_proven(good: Sequence[Scores], bad: Sequence[Scores], preset: Scores, signal: int) -> float:
    """Give the highest threshold that the bad images justify, at least the preset's.

    From the preset up to it, the share of bad images is larger than that of good ones beyond chance (Fisher's
    exact test, one-sided, corrected for the number of signals).
    """
    start = preset[signal]
    bads = sorted(scores[signal] for scores in bad if scores[signal] >= start)
    goods = sorted(scores[signal] for scores in good if scores[signal] >= start)
    for last in sorted(set(bads), reverse=True):
        ours = (bisect_right(bads, last), len(bad))
        others = (bisect_right(goods, last), len(good))
        # Times the signals that are tried (Bonferroni): the evidence has to hold for all of them together.
        if chance_of_difference(ours, others) * len(preset) < CHANCE:
            above = [score for score in (*bads, *goods) if score > last]
            return min(above, default=min(100.0, last + 1))
    return start


def _nearest_to_preset(ceilings: Scores, preset: Scores, bad: Sequence[Scores]) -> Scores:
    """Choose thresholds below the ceilings: the preset's where possible, higher only where it catches bad images."""
    chosen = [_rounded_down(min(pair)) for pair in zip(ceilings, preset, strict=True)]
    missed = [scores for scores in bad if rejects(ceilings, scores) and not rejects(tuple(chosen), scores)]
    while missed:
        counts = [sum(scores[s] < ceilings[s] for scores in missed) for s in range(len(preset))]
        signal = counts.index(max(counts))
        highest = max(scores[signal] for scores in missed if scores[signal] < ceilings[signal])
        chosen[signal] = _between(highest, ceilings[signal])
        missed = [scores for scores in missed if scores[signal] >= ceilings[signal]]
    return tuple(chosen)


def _between(bad_score: float, ceiling: float) -> float:
    """Give a threshold above the one and not above the other, in the middle and short if there is room."""
    middle = _rounded_down((bad_score + ceiling) / 2)
    if middle > bad_score:
        return middle
    return rounded if (rounded := _rounded_down(ceiling)) > bad_score else ceiling


def _rounded_down(score: float) -> float:
    tenths = math.floor(score * STEPS_A_POINT)
    return tenths / STEPS_A_POINT if tenths / STEPS_A_POINT <= score else (tenths - 1) / STEPS_A_POINT
