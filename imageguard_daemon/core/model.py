"""The frozen values that travel from stage to stage. No behaviour beyond reading themselves."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Self, TypedDict

Signal = Literal["blur", "resolution", "noise", "exposure", "compression", "pixelation"]
Verdict = Literal["accepted", "quarantined"]
Role = Literal["image", "sidecar"]
PresetName = Literal["general", "fine_grained", "detection", "segmentation", "small_images", "documents"]
OutcomeKind = Literal["moved", "abandoned", "lost", "disputed", "purged"]
ReviewAction = Literal["release", "rejudge", "confirm", "reject", "approve", "purge", "undo", "return"]

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1
"""The whole numbers that a column of SQLite or PostgreSQL can hold."""
VERDICTS: tuple[Verdict, ...] = ("accepted", "quarantined")
SIGNALS: tuple[Signal, ...] = ("blur", "resolution", "noise", "exposure", "compression", "pixelation")
SCORE_NAMES: tuple[str, ...] = tuple(f"{signal}_score" for signal in SIGNALS)
EXPOSURE_LIMITS: tuple[str, ...] = ("overexposure_score", "underexposure_score")
THRESHOLD_NAMES: tuple[str, ...] = (*SCORE_NAMES, *EXPOSURE_LIMITS)
"""What may be set: `exposure_score` sets both ends of exposure that are not set by themselves."""


class Thresholds(TypedDict, total=False):
    """Scores below which an image is rejected, from 0 to 100; what is not named is the preset's."""

    blur_score: float
    resolution_score: float
    noise_score: float
    exposure_score: float
    compression_score: float
    pixelation_score: float
    overexposure_score: float
    underexposure_score: float


ISSUES: tuple[str, ...] = (
    "blurry",
    "low_resolution",
    "noisy",
    "overexposed",
    "underexposed",
    "compressed",
    "pixelated",
    "blank",
    "corrupt",
    "unsupported",
    "too_large",
    "duplicate",
)

PROVABLE_ENLARGEMENT = 1.15
"""Factors below it cannot be told from a picture that was never enlarged."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Which file this is and in which state: unchanged as long as no byte and no name of it changed."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def from_stat(cls, stat: os.stat_result) -> Self:
        """Take what matters from a stat result."""
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def same_content_as(self, other: Self) -> bool:
        """Tell whether both are one file with the same bytes; a rename changes only ctime."""
        return self.inode == other.inode and self.looks_like(other)

    def looks_like(self, other: Self) -> bool:
        """Tell whether both may have the same bytes; some file systems number a file again with each of its names."""
        return (self.device, self.size_bytes, self.mtime_ns) == (other.device, other.size_bytes, other.mtime_ns)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A quiet, complete file ready to be judged; paths are relative to the inbox of its source.

    `settled` is the state in which it lay still; only that state is judged. `still_since` is when that began, on the
    monotonic clock, where the kernel does not say who writes to it, else None. Neither plays a part in equality.
    """

    source: str
    relative_path: str
    role: Role = "image"
    settled: FileIdentity | None = field(default=None, compare=False)
    still_since: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost."""

    max_pixels: int = 150_000_000
    max_bytes: int = 512 * 1024 * 1024
    working_long_side: int = 1024
    cpu_seconds: int = 60


@dataclass(frozen=True, slots=True)
class Measures:
    """Physical quantities of one image; units and ranges are those of docs/measures.md.

    An `enlargement` that cannot be proved counts as 1, in records of earlier scorers, too.
    """

    width: int
    height: int
    blur_sigma_px: float
    noise_sigma: float
    jpeg_quality: float
    enlargement: float
    clipped_low: float
    clipped_high: float
    tone_low: float
    tone_median: float
    tone_high: float
    overexposure: float = 0.0
    underexposure: float = 0.0

    def __post_init__(self) -> None:
        if self.enlargement < PROVABLE_ENLARGEMENT:
            object.__setattr__(self, "enlargement", 1.0)

    @property
    def effective_pixels(self) -> float:
        """Pixels that carry information: what is left when the enlargement found is taken back."""
        return self.width * self.height / self.enlargement**2

    def as_dict(self) -> dict[str, float]:
        """Give the measures by name, for records and reports."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one worker found out about one file: facts and measures, no verdict.

    Exactly one of `measures` and `issue` is set: an image that cannot be measured has an issue. `readout` is the hash
    of the readout that took the measures, empty for the package's own. `code` is what took the features, as
    `loops_here` names it; empty where that is not known any more.
    """

    sha256: str
    measures: Measures | None = None
    issue: str = ""
    detail: str = ""
    camera: str = ""
    image_format: str = ""
    duration_ms: float = 0.0
    identity: FileIdentity | None = None
    readout: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on one image with everything it rests on.

    `score` is in [0, 1] and at least 0.5 exactly when `ok`; `scores` are 0-100, 100 is best, all six always
    present (0 where nothing could be measured); `measures` is empty when nothing could be measured; `detail`
    says the reason in words and physical units. `thresholds` has all THRESHOLD_NAMES, `exposure_score` being the
    stricter end. `borderline` marks what a person should look at first: the deciding signal lies where good and bad
    images mix.
    """

    score: float
    issues: tuple[str, ...]
    scores: Mapping[str, float]
    measures: Mapping[str, float]
    preset: str
    thresholds: Mapping[str, float]
    scorer_version: str
    detail: str = ""
    borderline: bool = False

    @property
    def ok(self) -> bool:
        """Whether the image is accepted."""
        return not self.issues

    @property
    def reason(self) -> str:
        """The issue that counts most, or an empty string."""
        return self.issues[0] if self.issues else ""

    @property
    def verdict(self) -> Verdict:
        """The outcome as one word."""
        return "accepted" if self.ok else "quarantined"


@dataclass(frozen=True, slots=True)
class Intent:
    """About to move one file, of known content, from `source_path` to `destination_path` (both absolute).

    Without a destination the file is about to be deleted, which only a purge asks for.
    """

    role: Role
    source_path: str
    destination_path: str
    sha256: str
    identity: FileIdentity

    @property
    def deletes(self) -> bool:
        """Whether the file is to be deleted, not moved."""
        return not self.destination_path


@dataclass(frozen=True, slots=True)
class RecordedIntent:
    """An intent that is durably in the audit log."""

    intent_id: int
    intent: Intent


@dataclass(frozen=True, slots=True)
class Origin:
    """Which judgement, or review of it, an intent comes from; `depth` counts the parts of the path in the inbox."""

    source: str
    depth: int
    verdict: Verdict
    action: ReviewAction | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What really became of an intent."""

    intent_id: int
    outcome: OutcomeKind
    detail: str = ""


@dataclass(frozen=True, slots=True)
class JudgedFile:
    """All that is recorded about one file before it moves; the image's intent comes first."""

    candidate: Candidate
    class_name: str
    measurement: Measurement
    decision: Decision
    intents: tuple[Intent, ...]
