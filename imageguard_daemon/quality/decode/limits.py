"""What one image may cost; apart, for those who only pass it on and load no image library. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one image may cost."""

    max_pixels: int = 150_000_000
    max_bytes: int = 512 * 1024 * 1024
    working_long_side: int = 1024
    cpu_seconds: int = 60
