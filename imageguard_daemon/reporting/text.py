"""How reports say rates, amounts and names, in the same words everywhere."""

from datetime import UTC, datetime

from imageguard_daemon.core.model import Measures
from imageguard_daemon.core.names import NONE, distinct


def percent(rate: float) -> str:
    """Write a rate as a percentage with one digit; what is not quite 0 or 1 does not become 0 or 100."""
    hundredths = rate * 100
    if 0 < hundredths < 0.1:
        return "<0.1 %"
    if 99.9 < hundredths < 100:
        return ">99.9 %"
    return f"{hundredths:.1f} %"


def limit_percent(limit: float) -> str:
    """Write a limit the way a person would have set it: 20 %, 12.5 %."""
    return f"{limit * 100:.6g} %"


def share(part: int, whole: int) -> str:
    """Write how many of how many."""
    return f"{part:,} of {whole:,}"


def moment_in_words(moment: datetime) -> str:
    """Write a moment to the minute."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def shown(key: str) -> str:
    """Show a key of the log to a person; two keys never look the same, and none is empty."""
    return distinct(key)


def asked_for(name: str) -> str:
    """Give a class of the log as the pages' filter has it: empty means any there, so that none at all is `(none)`."""
    return shown(name) if name in {"", NONE} else name


def joined(keys: tuple[str, ...]) -> str:
    """Write the keys of a group as one; what is crossed has all of them."""
    return keys[0] if len(keys) == 1 else " / ".join(map(shown, keys))


def points(change: float) -> str:
    """Write a difference of two rates."""
    hundredths = change * 100
    if abs(hundredths) < 0.05:
        return "no change"
    word = "point" if f"{abs(hundredths):.1f}" == "1.0" else "points"
    return f"{abs(hundredths):.1f} {word} {'more' if change > 0 else 'less'}"


def measured_in_words(measures: Measures) -> dict[str, str]:
    """Say what was measured of each signal, of both ends of exposure, with its unit."""
    return {
        "blur": f"sigma {measures.blur_sigma_px:.1f} px",
        "resolution": f"{measures.width:.0f} x {measures.height:.0f}, effectively {_size(measures.effective_pixels)}",
        "noise": f"sigma {measures.noise_sigma:.1f} grey levels",
        "overexposure": f"{measures.clipped_high:.1%} white",
        "underexposure": f"{measures.clipped_low:.1%} black",
        "compression": f"like JPEG quality {measures.jpeg_quality:.0f}",
        "pixelation": f"enlarged {measures.enlargement:.1f} times",
    }


def _size(pixels: float) -> str:
    if pixels >= 1e6:
        return f"{pixels / 1e6:.1f} megapixels"
    return f"{pixels / 1e3:.0f} kilopixels" if pixels >= 1e3 else f"{pixels / 1e3:.1f} kilopixels"
