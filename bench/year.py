"""A believable year of decisions: sources, classes, cameras, seasons, noise, and patterns planted on purpose.

Every rate that follows from no pattern is ordinary: it differs a little from camera to camera and from day to day, and
winter is darker than summer. A planted pattern is named by the finding that should tell it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

from imageguard_daemon.audit.columns import DAY_MS, Batch
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.audit.rollups import FLAG_DARK, FLAG_DUPLICATE
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.quality.version import SCORER_VERSION

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
FIRST_DAY = BEGIN.toordinal() - datetime(1970, 1, 1, tzinfo=UTC).toordinal()
REASONS = ("blurry", "low_resolution", "noisy", "underexposed", "compressed", "pixelated")
"""What is low when the score at this place of SCORE_NAMES is."""
SOURCES = ("scraper", "studio", "drone", "phones", "vendor_a", "vendor_b", "archive", "trapcams")
_SHARES = np.array([0.2, 0.14, 0.1, 0.2, 0.12, 0.1, 0.06, 0.08])
_PRESETS = ("general", "detection", "general", "general", "general", "fine_grained", "general", "general")
_MAKERS = (
    "Canon EOS R6",
    "Nikon Z 6",
    "Sony ILCE-7M4",
    "Fujifilm X-T5",
    "Apple iPhone 15",
    "Google Pixel 8",
)
_ANIMALS = (
    *("cat", "dog", "lynx", "wolf", "bear", "deer", "hare", "mole", "mouse", "otter", "seal", "boar", "bison", "elk"),
    *("fox", "badger", "marten", "stoat", "shrew", "bat", "owl", "kite", "crane", "heron", "stork", "swan", "goose"),
    *("duck", "finch", "wren", "robin", "crow", "magpie", "jay", "toad", "newt", "adder", "viper", "trout", "perch"),
)
_BASE_RATES = np.array([0.012, 0.010, 0.006, 0.005, 0.006, 0.004])
_CORRUPT = 0.003
_DUPLICATES = 0.01
_BY_HOUR = np.array([2, 1, 1, 1, 1, 2, 3, 5, 8, 10, 11, 11, 10, 10, 11, 11, 10, 9, 8, 7, 6, 5, 4, 3], float)
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Planted:
    """One pattern: `kind` and `subject` as the finding should have them, `strength` the share of images it spoils.

    `days` are the first day and the first after, counted from the first of the year; `reason` is a place of REASONS.
    """

    kind: str
    subject: str
    strength: float = 0.0
    reason: int = 0
    days: tuple[int, int] = (0, 1_000_000)


@dataclass(frozen=True)
class Year:
    """So many images over so many days; the same seed gives the same ones."""

    images: int
    days: int = 365
    seed: int = 1
    planted: Sequence[Planted] = ()
    shuffled: bool = False
    """Deals what was judged out anew among the images: whatever a finding sees in that is chance."""
    _rng: np.random.Generator = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_rng", np.random.default_rng(self.seed))

    @cached_property
    def camera_names(self) -> list[list[str]]:
        """The cameras of each source; what a scraper finds has mostly none."""
        names = [f"{maker} ({source})" for source in SOURCES for maker in _MAKERS]
        each = [names[len(_MAKERS) * at : len(_MAKERS) * at + 3 + at % 4] for at in range(len(SOURCES))]
        each[0] = ["", *each[0][:1]]
        return each

    def batches(self) -> Iterator["DecidedDay"]:
        """Yield the year day by day."""
        for day, images in enumerate(self._images_a_day()):
            if images:
                yield self._day(day, int(images))

    @cached_property
    def _of_camera(self) -> Floats:
        """How much each camera of each source adds to the base rates; ordinary differences."""
        return self._rng.lognormal(0, 0.15, (len(SOURCES), 16, len(REASONS)))

    def _images_a_day(self) -> Ints:
        day = np.arange(self.days)
        weekly = np.where((day + 2) % 7 >= 5, 0.55, 1.0)  # 2025 began on a Wednesday
        weights = weekly * (1 + 0.4 * day / max(self.days, 1)) * self._rng.gamma(12, 1 / 12, self.days)
        return self._rng.multinomial(self.images, weights / weights.sum())

    def _day(self, day: int, images: int) -> "DecidedDay":
        rng = self._rng
        sources = rng.choice(len(SOURCES), images, p=_SHARES)
        popular = 1 / np.arange(2, len(_ANIMALS) + 2)
        classes = (rng.choice(len(_ANIMALS), images, p=popular / popular.sum()) + 3 * sources) % len(_ANIMALS)
        cameras = rng.integers(0, [len(names) for names in self.camera_names], (images, len(SOURCES)))
        cameras = cameras[np.arange(images), sources]
        moments = self._moments(day, images)
        low, corrupt = self._faults(day, sources, classes, cameras)
        duplicates = rng.random(images) < self._duplicate_share(sources)
        scores = self._scores(low, sources)
        scores[corrupt] = np.nan
        if self.shuffled:
            # Among images of one preset: under another one a score means another verdict.
            preset = np.array([sorted(set(_PRESETS)).index(one) for one in _PRESETS])[sources]
            to, order = np.argsort(preset, kind="stable"), np.lexsort((rng.random(images), preset))
            scores[to], duplicates[to] = scores[order], duplicates[order]
        return DecidedDay(FIRST_DAY + day, moments, sources, classes, cameras, scores, duplicates, self.camera_names)

    def _moments(self, day: int, images: int) -> Ints:
        hours = self._rng.choice(24, images, p=_BY_HOUR / _BY_HOUR.sum())
        within = self._rng.integers(0, DAY_MS // 24, images)
        return np.sort((FIRST_DAY + day) * DAY_MS + hours * (DAY_MS // 24) + within)

    def _faults(self, day: int, sources: Ints, classes: Ints, cameras: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
        rng, images = self._rng, len(sources)
        season = np.ones(len(REASONS))
        season[3] += 0.8 * np.cos(2 * np.pi * day / 365)  # January is dark
        rates = _BASE_RATES * season * rng.lognormal(0, 0.1, len(REASONS)) * self._of_camera[sources, cameras]
        for pattern in self.planted:
            if pattern.days[0] <= day < pattern.days[1]:
                hit = self._hit(pattern, sources, classes, cameras)
                rates[hit, pattern.reason] = np.maximum(rates[hit, pattern.reason], pattern.strength)
        return rng.random((images, len(REASONS))) < rates, np.flatnonzero(rng.random(images) < _CORRUPT)

    def _hit(self, pattern: Planted, sources: Ints, classes: Ints, cameras: Ints) -> npt.NDArray[np.bool_]:
        if pattern.kind == "class_consistently_rejected":
            return classes == _ANIMALS.index(pattern.subject)
        if "camera" in pattern.kind or pattern.subject.startswith("camera "):
            [(source, camera)] = [
                (at, names.index(pattern.subject.removeprefix("camera ")))
                for at, names in enumerate(self.camera_names)
                if pattern.subject.removeprefix("camera ") in names
            ]
            return (sources == source) & (cameras == camera)
        if "source" in pattern.kind:
            return sources == SOURCES.index(pattern.subject)
        return np.full(len(sources), pattern.kind in {"high_rejection_rate", f"mostly_{pattern.subject}"})

    def _duplicate_share(self, sources: Ints) -> Floats:
        shares = np.full(len(SOURCES), _DUPLICATES)
        for pattern in self.planted:
            if pattern.kind == "duplicates_arriving_again":
                shares[SOURCES.index(pattern.subject)] = pattern.strength
        return shares[sources]

    def _scores(self, low: npt.NDArray[np.bool_], sources: Ints) -> Floats:
        """Give scores above or below each image's thresholds, as `low` says; exactly half-way points never come."""
        limits = np.array([[thresholds_for(preset)[name] for name in SCORE_NAMES] for preset in _PRESETS])[sources]
        room = 100 - limits
        good = limits + room * (1 - self._rng.beta(1.2, 4, low.shape)) * 0.999 + 1e-6
        depth = self._rng.beta(1.6, 2.2, low.shape)
        for pattern in self.planted:
            if pattern.kind.startswith("many_just_below_"):
                at = SCORE_NAMES.index(pattern.subject)
                depth[:, at] = np.where(
                    self._rng.random(len(depth)) < pattern.strength, 0.08 * depth[:, at], depth[:, at]
                )
        return np.where(low, limits * (1 - np.maximum(depth, 1e-6)), good)


@dataclass(frozen=True)
class DecidedDay:
    """The images of one day in columns; `sources`, `classes` and `cameras` are places in the lists of names."""

    day: int
    moments: Ints
    sources: Ints
    classes: Ints
    cameras: Ints
    scores: Floats
    duplicates: npt.NDArray[np.bool_]
    camera_names: Sequence[Sequence[str]]

    @cached_property
    def reasons(self) -> Ints:
        """What each image is rejected for: a place in REASONS, -1 if accepted, -2 if corrupt; by the daemon's rule."""
        limits = np.array([[thresholds_for(preset)[name] for name in SCORE_NAMES] for preset in _PRESETS])[self.sources]
        severity = (limits - self.scores) / limits
        worst = np.where(np.isnan(severity), -np.inf, severity).argmax(axis=1)
        rejected = np.take_along_axis(severity, worst[:, None], axis=1)[:, 0] > 0
        return np.where(np.isnan(self.scores[:, 0]), -2, np.where(rejected, worst, -1))

    def key(self, source: int, class_: int, camera: int, reason: int) -> Key:
        """Give the key of such images."""
        name = {-1: "", -2: "corrupt"}.get(reason) or (REASONS[reason] if reason >= 0 else "")
        profile = json.dumps(thresholds_for(_PRESETS[source]))
        where = (f"ingest{1 + source % 2}", SOURCES[source], _ANIMALS[class_], self.camera_names[source][camera])
        verdict = "quarantined" if name else "accepted"
        return Key(*where, _PRESETS[source], profile, verdict, name, SCORER_VERSION)


class Keyed:
    """Gives keys numbers as the log does, and batches as reports read them."""

    def __init__(self) -> None:
        self._keys: list[Key | None] = [None]
        self._numbers: dict[int, int] = {}
        self._next_id = 1

    @property
    def keys(self) -> Keys:
        """The keys of all batches so far."""
        return Keys.numbered(self._keys)

    def batch(self, day: DecidedDay) -> Batch:
        """Give a day in the form of the roll-ups."""
        codes = ((day.sources * 64 + day.classes) * 64 + day.cameras) * 16 + day.reasons + 2
        distinct, places = np.unique(codes, return_inverse=True)
        numbers = np.array([self._number(int(code), day) for code in distinct], np.uint32)
        ids = np.arange(self._next_id, self._next_id + len(codes))
        self._next_id += len(codes)
        dark = (day.reasons == REASONS.index("underexposed")) * FLAG_DARK
        flags = (dark + day.duplicates * FLAG_DUPLICATE).astype(np.uint8)
        return Batch(day.day, day.moments, numbers[places], flags, ids, day.scores)

    def _number(self, code: int, day: DecidedDay) -> int:
        if code not in self._numbers:
            self._numbers[code] = len(self._keys)
            rest, reason = divmod(code, 16)
            rest, camera = divmod(rest, 64)
            self._keys.append(day.key(*divmod(rest, 64), camera, reason - 2))
        return self._numbers[code]


def patterns_of_a_bad_year(days: int = 365) -> tuple[Planted, ...]:
    """Give the patterns of the year that the benchmark and the screenshots show."""

    def at(share: float) -> int:
        return int(days * share)

    return (
        Planted("class_consistently_rejected", "lynx", 0.72, REASONS.index("low_resolution")),
        Planted("camera_got_worse", "Canon EOS R6 (studio)", 0.35, 0, (at(0.9), days)),
        Planted("camera_got_worse", "Google Pixel 8 (trapcams)", 0.5, REASONS.index("noisy"), (at(0.5), at(0.58))),
        Planted("source_got_worse", "vendor_a", 0.3, REASONS.index("compressed"), (at(0.8), days)),
        Planted("source_high_rejection_rate", "scraper", 0.34, REASONS.index("low_resolution")),
        Planted("many_just_below_resolution_score", "resolution_score", 0.9),
        Planted("duplicates_arriving_again", "phones", 0.2),
    )
