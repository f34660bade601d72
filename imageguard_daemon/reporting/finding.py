"""What a finding is, and the words and numbers that all kinds share."""

from collections.abc import Mapping
from dataclasses import dataclass

from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.wording import percent, share, shown

ALPHA = 0.002
"""A difference that is more probable than this by chance alone is none; each kind corrects for how many it looks at.
With five such kinds, fewer than one report in a hundred on data without a pattern has a false finding."""
DOUBT = 0.2
"""A rate counts as above a limit when, were it at the limit, so many would come less often than this. A limit is a line
drawn by people, and being told of it a little early costs a look."""
CLEARLY_HIGHER = 1.5
"""A group stands out at so many times the others' rate: among a million images a hair is no chance."""

ADVICE: dict[str, str] = {
    "blurry": "Look at focus, shutter speed and lens of the cameras, and at frames taken from video.",
    "low_resolution": "Look at whether thumbnails or previews are collected in place of the originals.",
    "noisy": "Look at the light and the ISO setting where these images are taken.",
    "overexposed": "Look at the exposure setting of the cameras and at flash or sun in the scene.",
    "underexposed": "Look at the exposure setting of the cameras and at images taken at night.",
    "compressed": "Look at which step saves these images at a low JPEG quality.",
    "pixelated": "Look at which step enlarges these images; collect them before it.",
    "blank": "Look at what delivers these files: they show nothing, or only the beginning of a picture.",
    "corrupt": "Look at how these files are transferred: they arrive damaged or cut off.",
    "unsupported": "Look at what is delivered: these files are no images in a known format.",
    "too_large": "Look at the limits scoring.max_pixels and scoring.max_megabytes.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One pattern: `kind` for programs, `subject` its topic, a sentence and what to look at for people, `evidence`.

    The evidence has numbers only, among them `total`, the images it rests on, and `p_value`.
    """

    kind: str
    subject: str
    sentence: str
    look_at: str
    evidence: Mapping[str, float]

    @property
    def message(self) -> str:
        """All that a person needs."""
        return f"{self.sentence} {self.look_at}"

    @property
    def sample_size(self) -> int:
        """How many images it rests on."""
        return int(self.evidence["total"])


def rejected_in_words(one: Tally) -> str:
    """Say how many were rejected and which reason leads."""
    return f"{share(one.rejected, one.total)} images were rejected ({percent(one.rate)}), {reason_in_words(one)}"


def reason_in_words(one: Tally) -> str:
    """Say which reason leads, of a tally with rejections."""
    images = one.reasons[one.top_reason]
    if images == one.rejected:
        return f"all for {shown(one.top_reason)}"
    word = "mostly" if images * 2 > one.rejected else "most often"
    return f"{word} {shown(one.top_reason)} ({images:,})"


def evidence_of(one: Tally, limit: float, chance: float) -> dict[str, float]:
    """Give the numbers that every finding has."""
    low, high = one.interval
    return {
        "total": one.total,
        "rejected": one.rejected,
        "rate": one.rate,
        "low": low,
        "high": high,
        "limit": limit,
        "p_value": chance,
    }
