"""Invented streams of decisions for `bench.findings`: bursts that share a verdict, days that differ for all, patterns.

They are made as panels, the form in which findings are asked of a log.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from imageguard_daemon.reporting.panel import Panel, Rejections, Slots

REASONS = ("blurry", "low_resolution", "noisy", "overexposed")
_SHARES = (0.4, 0.3, 0.2, 0.1)
_NEAR = 0.05
MONDAY = 20_150 * 86_400 - (20_150 + 3) % 7 * 86_400
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Bursts:
    """One value for each burst: its class, source, camera and day, and its rate, to be changed by patterns."""

    classes: Ints
    sources: Ints
    cameras: Ints
    days: Ints
    rates: Floats
    near: Floats
    mix: Ints
    """1 where the reasons are in reverse."""


@dataclass(frozen=True)
class Stream:
    """So many images over so many days at one rate; `burst` of them share a verdict, days vary by `day` (lognormal)."""

    images: int = 6_000
    days: int = 60
    rate: float = 0.08
    burst: int = 1
    day: float = 0.0
    classes: int = 20
    sources: int = 3
    cameras: int = 18
    change: Callable[[Bursts], Bursts] = field(default=lambda bursts: bursts)

    def panel(self, seed: int) -> Panel:
        """Draw one; the same seed gives the same."""
        rng = np.random.default_rng(seed)
        number = self.images // self.burst
        cameras = rng.integers(self.cameras, size=number)
        of_day = np.exp(rng.normal(0, self.day, self.days) - self.day**2 / 2)
        days = rng.integers(self.days, size=number)
        bursts = self.change(
            Bursts(
                rng.integers(self.classes, size=number),
                cameras % self.sources,
                cameras,
                days,
                np.full(number, self.rate),
                np.full(number, _NEAR),
                np.zeros(number, np.int64),
            )
        )
        kept = bursts.rates >= 0
        bursts = Bursts(*(getattr(bursts, name)[kept] for name in Bursts.__dataclass_fields__))
        rejected = rng.random(len(bursts.days)) < np.minimum(bursts.rates * of_day[bursts.days], 0.97)
        reasons = rng.choice(len(REASONS), len(rejected), p=_SHARES)
        reasons = np.where(bursts.mix > 0, len(REASONS) - 1 - reasons, reasons)
        near = rng.random(len(rejected)) < bursts.near
        return panel_of_bursts(bursts, np.where(rejected, reasons, -1), near, self.burst)


def panel_of_bursts(bursts: Bursts, reasons: Ints, near: npt.NDArray[np.bool_], size: int = 1) -> Panel:
    """Give the panel of bursts; a reason of -1 is an accepted one."""
    codes = (bursts.classes * 1_000 + bursts.sources) * 1_000 + bursts.cameras
    distinct, streams = np.unique(codes, return_inverse=True)
    names = [
        (f"class{code // 1_000_000}", f"source{code // 1_000 % 1_000}", f"camera{code % 1_000}", "host", "general")
        for code in distinct.tolist()
    ]
    return panel_of_verdicts(Verdicts(names, streams, bursts.days, REASONS, reasons, near), size)


@dataclass(frozen=True)
class Verdicts:
    """One value for each burst of images: its stream, the day it came, its reason (-1: accepted), if it is near."""

    names: Sequence[tuple[str, ...]]
    """Of the streams."""
    streams: Ints
    days: Ints
    reason_names: Sequence[str]
    reasons: Ints
    near: npt.NDArray[np.bool_]

    def dealt_anew(self, seed: int, block: int) -> "Verdicts":
        """Give the same verdicts to other images, in blocks of such as came one after the other."""
        order = np.random.default_rng(seed).permutation(-(-len(self.reasons) // block))
        places = (order[:, None] * block + np.arange(block)).ravel()
        places = places[places < len(self.reasons)]
        return replace(self, reasons=self.reasons[places], near=self.near[places])


def panel_of_verdicts(verdicts: Verdicts, size: int = 1, first_second: int = MONDAY) -> Panel:
    """Give the panel of bursts of so many images."""
    streams, days, reasons = verdicts.streams, verdicts.days, verdicts.reasons
    slots = int(days.max()) + 1
    shape = (len(verdicts.names), slots)

    def counted(chosen: npt.NDArray[np.bool_]) -> Floats:
        places = streams[chosen] * slots + days[chosen]
        made: Floats = (np.bincount(places, minlength=shape[0] * slots) * float(size)).reshape(shape)
        return made

    bad = reasons >= 0
    return Panel(
        verdicts.names,
        Slots(first_second, 86_400, slots),
        counted(np.ones(len(bad), bool)),
        counted(bad),
        counted(verdicts.near),
        np.zeros(len(verdicts.names), np.int64),
        verdicts.reason_names,
        Rejections(streams[bad], days[bad], reasons[bad], np.full(int(bad.sum()), size)),
        np.empty(0, np.int64),
    )


def raised(chosen: Callable[[Bursts], npt.NDArray[np.bool_]], rate: float) -> Callable[[Bursts], Bursts]:
    """Give a change: these bursts have another rate."""
    return lambda bursts: replace(bursts, rates=np.where(chosen(bursts), rate, bursts.rates))


def gone(chosen: Callable[[Bursts], npt.NDArray[np.bool_]]) -> Callable[[Bursts], Bursts]:
    """Give a change: these bursts never came."""
    return raised(chosen, -1.0)


@dataclass(frozen=True)
class Planted:
    """A pattern: the stream that has it, and the findings that tell it (their kinds, and the names they must have)."""

    stream: Stream
    kinds: tuple[str, ...]
    names: tuple[str, ...] = ()


def _drift(bursts: Bursts) -> Bursts:
    return replace(bursts, rates=0.05 + 0.1 * np.clip(bursts.days - 20, 0, None) / 40)


def _near(bursts: Bursts) -> Bursts:
    return replace(bursts, near=np.where(bursts.days >= 40, 0.12, _NEAR))


def _mix(bursts: Bursts) -> Bursts:
    return replace(bursts, mix=(bursts.days >= 40).astype(np.int64))


def _tiny(bursts: Bursts) -> Bursts:
    return replace(bursts, rates=np.where(bursts.classes >= 1_800, 0.9, bursts.rates))


def _tenfold(bursts: Bursts) -> Bursts:
    """A source that is rare until the last three days."""
    early = (bursts.sources == 1) & (bursts.days < 57)
    spread = np.arange(len(bursts.days)) % 10 > 0
    return replace(bursts, rates=np.where(early & spread, -1.0, bursts.rates))


def planted(burst: int = 1) -> Mapping[str, Planted]:
    """Give the patterns of realistic size, by name."""
    base = Stream(burst=burst)
    more = replace(base, images=20_000)
    differs = ("differs_from_others", "class_consistently_rejected", "source_high_rejection_rate")
    return {
        "a class at 45 % of a thousand, others 8 %": Planted(
            replace(more, change=raised(lambda b: b.classes == 3, 0.45)), differs, ("class3",)
        ),
        "a class at three times the base": Planted(
            replace(more, change=raised(lambda b: b.classes == 3, 0.24)), differs, ("class3",)
        ),
        "a source at twice the base": Planted(
            replace(base, change=raised(lambda b: b.sources == 1, 0.16)), differs, ("source1",)
        ),
        "a camera at three times the base": Planted(
            replace(base, change=raised(lambda b: b.cameras == 5, 0.24)), differs, ("camera5",)
        ),
        "one class in one source at 90 %": Planted(
            replace(base, change=raised(lambda b: (b.classes == 3) & (b.sources == 1), 0.9)), differs, ("class3",)
        ),
        "two classes at 60 %": Planted(
            replace(base, change=raised(lambda b: b.classes < 2, 0.6)), differs, ("class0", "class1")
        ),
        "a class 30 points worse since 20 days": Planted(
            replace(more, change=raised(lambda b: (b.classes == 3) & (b.days >= 40), 0.38)),
            ("class_got_worse",),
            ("class3",),
        ),
        "a source at twice the base since 20 days": Planted(
            replace(more, change=raised(lambda b: (b.sources == 1) & (b.days >= 40), 0.16)),
            ("source_got_worse",),
            ("source1",),
        ),
        "a camera out of focus for a week": Planted(
            replace(more, change=raised(lambda b: (b.cameras == 5) & (b.days >= 30) & (b.days < 37), 0.6)),
            ("camera_got_worse",),
            ("camera5",),
        ),
        "1 to 5 % at 2,000 a day since 4 days": Planted(
            replace(base, images=120_000, rate=0.01, change=raised(lambda b: b.days >= 56, 0.05)), ("all_got_worse",)
        ),
        "5 to 10 % at 500 a day since a week": Planted(
            replace(base, images=30_000, rate=0.05, change=raised(lambda b: b.days >= 53, 0.1)), ("all_got_worse",)
        ),
        "5 to 15 % at 250 a day since a week": Planted(
            replace(base, images=15_000, rate=0.05, change=raised(lambda b: b.days >= 53, 0.15)), ("all_got_worse",)
        ),
        "5 to 15 % slowly, common to all": Planted(replace(more, change=_drift), ("all_got_worse",)),
        "every Tuesday at 25 %": Planted(
            replace(more, change=raised(lambda b: b.days % 7 == 1, 0.25)), ("recurs",), ("all",)
        ),
        "week-ends at 20 %": Planted(
            replace(more, change=raised(lambda b: b.days % 7 >= 5, 0.2)), ("recurs",), ("all",)
        ),
        "the reasons flip at the same rate": Planted(replace(more, change=_mix), ("reasons_changed",)),
        "a source stopped 4 days ago": Planted(
            replace(base, change=gone(lambda b: (b.sources == 1) & (b.days >= 56))), ("source_stopped",), ("source1",)
        ),
        "a source delivers ten times as much": Planted(
            replace(more, change=_tenfold), ("source_delivers_more",), ("source1",)
        ),
        "200 tiny classes of 2,000 at 90 %": Planted(
            replace(base, images=10_000 * burst, classes=2_000, change=_tiny), ("small_classes_rejected",)
        ),
        "more than twice as many near a threshold": Planted(replace(more, change=_near), ("more_near_threshold",)),
    }
