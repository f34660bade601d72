"""The kinds of damage that verdicts are tried with: how strong, harmless or fatal from where on, and what to say."""

import math
from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

from bench import faults
from bench.faults import Apply, Rgb
from imageguard_daemon.core.model import Signal

Zone = Literal["pass", "grey", "reject"]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of damage. Strengths run from `mild` to `severe`, whichever of both is the larger number.

    Up to `harmless` no issue may be raised (None: any strength does harm); from `fatal` on one of `issues` must
    be. Between them people disagree, and nothing is counted. `wording` says a strength in its unit.
    """

    apply: Apply
    wording: str
    mild: float
    severe: float
    harmless: float | None
    fatal: float
    issues: frozenset[str]
    signal: Signal

    def badness(self, strength: float) -> float:
        """Give a number that rises with the damage."""
        return strength if self.severe > self.mild else -strength

    def spoken(self, strength: float) -> str:
        """Give a strength as it is spoken of: `4 px radius`."""
        return self.wording.format(strength)

    def zone(self, strength: float) -> Zone:
        """Tell what the verdict has to be."""
        if self.badness(strength) >= self.badness(self.fatal):
            return "reject"
        if self.harmless is not None and self.badness(strength) <= self.badness(self.harmless):
            return "pass"
        return "grey"

    def strengths(self, count: int, rng: Generator) -> list[float]:
        """Draw strengths over the whole range: one in each of `count` parts of equal ratio, mildest first."""
        return [self._between(self.mild, self.severe, (part + rng.random()) / count) for part in range(count)]

    def fatal_strength(self, rng: Generator) -> float:
        """Draw a strength from the milder half of the fatal ones, which leaves a second fault room to be seen."""
        return self._between(self.fatal, self.severe, rng.uniform(0, 0.5))

    @staticmethod
    def _between(start: float, end: float, share: float) -> float:
        return start * math.pow(end / start, share)

    def damaged(self, rgb: Rgb, strength: float, rng: Generator) -> Rgb:
        """Give the damaged pixels."""
        return self.apply(rgb, strength, rng)


_BLURRY, _NOISY, _COMPRESSED = frozenset({"blurry"}), frozenset({"noisy"}), frozenset({"compressed"})
# An enlarged picture has too few real pixels; enlarged smoothly it is soft as well.
_BLOCKS, _FEW = frozenset({"pixelated", "low_resolution"}), frozenset({"low_resolution"})

KINDS: dict[str, Kind] = {
    "gaussian": Kind(faults.gaussian, "{:g} px sigma", 0.4, 6, 0.8, 2.6, _BLURRY, "blur"),
    "defocus": Kind(faults.defocus, "{:g} px radius", 0.6, 11, 1.2, 4.8, _BLURRY, "blur"),
    "motion": Kind(faults.motion, "{:g} px path", 1, 36, 2.5, 14, _BLURRY, "blur"),
    "grain": Kind(faults.grain, "{:g} levels", 1, 45, 5, 20, _NOISY, "noise"),
    "high ISO": Kind(faults.high_iso, "{:g} levels", 1, 45, 5, 22, _NOISY, "noise"),
    "JPEG": Kind(faults.jpeg, "quality {:g}", 90, 3, 45, 14, _COMPRESSED, "compression"),
    "pixelation": Kind(faults.pixelation, "{:g} times", 1.1, 9, None, 2.6, _BLOCKS, "pixelation"),
    "enlargement": Kind(faults.enlargement, "{:g} times", 1.1, 7, 1.3, 3, _BLOCKS | _BLURRY, "pixelation"),
    "over": Kind(faults.over, "{:g} stops", 0.25, 5.5, 0.4, 3.3, frozenset({"overexposed"}), "exposure"),
    "under": Kind(faults.under, "{:g} stops", 0.35, 8, 0.7, 5, frozenset({"underexposed"}), "exposure"),
    "thumbnail": Kind(faults.thumbnail, "{:g} kilopixels", 150, 1.5, 75, 30, _FEW, "resolution"),
}

# Applied in this order. Left out are pairs of which the second wipes out the first: noise before strong compression
# or reduction, blur before exposure that leaves nothing to see.
PAIRS: tuple[tuple[str, str], ...] = (
    ("defocus", "high ISO"),
    ("gaussian", "grain"),
    ("motion", "high ISO"),
    ("motion", "JPEG"),
    ("over", "JPEG"),
    ("under", "JPEG"),
    ("over", "pixelation"),
    ("thumbnail", "grain"),
    ("thumbnail", "gaussian"),
)
