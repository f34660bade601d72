"""Change points: a source or camera that was good until some day, and perhaps is again."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from imageguard_daemon.reporting.finding import ALPHA, CLEARLY_HIGHER, Finding, evidence_of, reason_in_words
from imageguard_daemon.reporting.statistics import chance_of_difference, holm_adjusted
from imageguard_daemon.reporting.tallies import Tally, together
from imageguard_daemon.reporting.wording import percent, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting

POINTS = 0.05
"""A rate that rose by less is no news, however certain it is."""
MOST_PERIODS = 400
"""Longer series are looked at in coarser steps: the windows in a series grow with its square."""
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LOOK_AT = {
    "source": "Look at what changed there then: software, settings, what is sent, who sends it.",
    "camera": "Look at what changed there then: focus, lens, light, settings, firmware.",
}
_Counts = npt.NDArray[np.float64]
_Series = Sequence[tuple[str, Tally]]


@dataclass(frozen=True, slots=True)
class Rise:
    """The rate was higher in the periods from `begin` on and before `end`.

    `chance` is corrected for all the times that might have been it.
    """

    begin: int
    end: int
    chance: float


def find_rise(rejected: Sequence[int], totals: Sequence[int], min_sample: int) -> Rise | None:
    """Find the time in a series of counts in which clearly more was rejected than at all others, if there is one.

    Looks at every time that lasts to the end of the series, and at every one that ends before; of each kind it takes
    the one with the largest likelihood ratio. Its probability by chance is that of Fisher's exact test, times the
    number of times looked at (Bonferroni: never too small, whatever the dependence). Days are not as even as coins:
    where counts scatter more than chance both in it and outside, the normal approximation with that scatter (Pearson's)
    must agree. None when nothing is clearly higher, or rests on fewer than `min_sample` images within or before it.
    """
    bad, images = np.asarray(rejected, float), np.asarray(totals, float)
    likelihood = _likelihood(bad, images, min_sample)
    lasting = np.full_like(likelihood, -np.inf)
    lasting[:, -1] = likelihood[:, -1]
    likelihood[:, -1] = -np.inf
    rises = (_best(bad, images, kind, tries) for kind, tries in ((lasting, len(bad)), (likelihood, len(bad) ** 2 // 2)))
    return min(filter(None, rises), key=lambda rise: rise.chance, default=None)


def got_worse(what: str, series: Mapping[tuple[str, ...], Tally], settings: "Reporting") -> list[Finding]:
    """Tell which sources or cameras were rejected clearly more often from some period on."""
    parts: defaultdict[str, list[tuple[str, Tally]]] = defaultdict(list)
    for (name, period), one in sorted(series.items()):
        if name or what != "camera":  # images without a camera have nothing in common
            parts[name].append((period, one))
    coarse = {name: _coarser(periods) for name, periods in parts.items() if _is_long_enough(periods, settings)}
    rises = {name: _rise(periods, settings.min_sample) for name, periods in coarse.items()}
    chances = holm_adjusted([rise.chance if rise else 1.0 for rise in rises.values()])
    return [
        _finding(what, name, coarse[name], Rise(rise.begin, rise.end, chance))
        for (name, rise), chance in zip(rises.items(), chances, strict=True)
        if rise and chance < ALPHA
    ]


def _is_long_enough(periods: _Series, settings: "Reporting") -> bool:
    return len(periods) > 1 and sum(one.total for _, one in periods) >= 2 * settings.min_sample


def _coarser(periods: _Series) -> _Series:
    step = -(-len(periods) // MOST_PERIODS)
    return [
        (periods[at][0], together(one for _, one in periods[at : at + step])) for at in range(0, len(periods), step)
    ]


def _rise(periods: _Series, min_sample: int) -> Rise | None:
    return find_rise([one.rejected for _, one in periods], [one.total for _, one in periods], min_sample)


def _likelihood(bad: _Counts, images: _Counts, min_sample: int) -> _Counts:
    """Give the likelihood of each time: row `a`, column `b` is from period `a` on and before `b`; -inf if none."""
    summed, summed_bad = (np.concatenate(([0.0], part.cumsum())) for part in (images, bad))
    within, bad_within = summed - summed[:, None], summed_bad - summed_bad[:, None]
    outside, bad_outside = summed[-1] - within, summed_bad[-1] - bad_within
    with np.errstate(invalid="ignore", divide="ignore"):
        rate, other_rate = bad_within / within, bad_outside / outside
        likelihood = _entropy(bad_within, within) + _entropy(bad_outside, outside)
        rate_before = (summed_bad / summed)[:, None]
        clear = _is_clear(rate, other_rate) & _is_clear(rate, rate_before)  # or the end of a bad time would be news
    enough = (within >= min_sample) & (summed[:, None] >= min_sample)
    return np.where(clear & enough, likelihood, -np.inf)


def _is_clear(rate: _Counts, other: _Counts) -> npt.NDArray[np.bool_]:
    return (rate >= CLEARLY_HIGHER * other) & (rate - other >= POINTS)


def _entropy(bad: _Counts, images: _Counts) -> _Counts:
    """Give the logarithm of the likelihood of so many of so many at their own rate."""
    good = images - bad
    return bad * np.log(np.maximum(bad, 1) / images) + good * np.log(np.maximum(good, 1) / images)


def _best(bad: _Counts, images: _Counts, likelihood: _Counts, tries: int) -> Rise | None:
    begin, end = divmod(int(likelihood.argmax()), likelihood.shape[1])
    if not np.isfinite(likelihood[begin, end]):
        return None
    inside = np.zeros(len(bad), bool)
    inside[begin:end] = True
    (ours, others) = ((int(bad[part].sum()), int(images[part].sum())) for part in (inside, ~inside))
    chance = max(chance_of_difference(ours, others), _chance_with_scatter(bad, images, inside))
    return Rise(begin, end, min(1.0, 2 * tries * chance))  # two kinds of times are looked at


def _chance_with_scatter(bad: _Counts, images: _Counts, inside: npt.NDArray[np.bool_]) -> float:
    parts = [(bad[part], images[part]) for part in (inside, ~inside)]
    rates = [part.sum() / total.sum() for part, total in parts]
    squares = [
        float(((part - total * rate) ** 2 / (total * rate * (1 - rate))).sum())
        for (part, total), rate in zip(parts, rates, strict=True)
        if 0 < rate < 1
    ]
    scatter = max(1.0, sum(squares) / max(len(images) - 2, 1))
    overall = bad.sum() / images.sum()
    error = math.sqrt(scatter * overall * (1 - overall) * sum(1 / total.sum() for _, total in parts))
    return 0.5 * math.erfc((rates[0] - rates[1]) / error / math.sqrt(2)) if error else 0.0


def _finding(what: str, name: str, periods: _Series, rise: Rise) -> Finding:
    begin, end = rise.begin, rise.end
    within = together(one for _, one in periods[begin:end])
    outside = together(one for _, one in (*periods[:begin], *periods[end:]))
    lasts = end == len(periods)
    when = f"since {_spoken(periods[begin][0])}"
    if not lasts:
        when = f"from {_spoken(periods[begin][0])} until before {_spoken(periods[end][0])}"
    sentence = (
        f"{what.capitalize()} '{shown(name)}': {when}, {percent(within.rate)} of {within.total:,} images were "
        f"rejected, {reason_in_words(within)}; {'before' if lasts else 'at other times'}, {percent(outside.rate)} of "
        f"{outside.total:,}."
    )
    compared = {"others_total": outside.total, "others_rejected": outside.rejected, "others_rate": outside.rate}
    moments = {"since": _number(periods[begin][0])} | ({} if lasts else {"until": _number(periods[end][0])})
    evidence = evidence_of(within, outside.rate, rise.chance) | compared | moments
    return Finding(f"{what}_got_worse", name, sentence, _LOOK_AT[what], evidence)


def _number(period: str) -> int:
    """Give a period as its first second since 1970, as evidence is numbers."""
    day, _, hour = period.partition("T")
    return (date.fromisoformat(day) - date(1970, 1, 1)).days * 86_400 + int(hour or 0) * 3_600


def _spoken(period: str) -> str:
    day, _, hour = period.partition("T")
    weekday = _WEEKDAYS[date.fromisoformat(day).weekday()]
    return f"{weekday} {day}" + (f" {hour}:00 UTC" if hour else "")
