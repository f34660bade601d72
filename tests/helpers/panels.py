"""Counts by stream and day that a test writes down, as findings are asked of them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np

from imageguard_daemon.audit.aggregation import Cells
from imageguard_daemon.audit.keys import Key, Keys
from imageguard_daemon.reporting.panel import MAX_SLOTS, Panel, panel_of, panel_of_tallies
from imageguard_daemon.reporting.tallies import Tally

MONDAY = datetime(2025, 3, 3, tzinfo=UTC)
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
FIRST_DAY = int(MONDAY.timestamp() * 1000) // DAY_MS
Series = Sequence[tuple[int, int | Mapping[str, int]]]
"""Images and rejections, or those for each reason, of one slot after the other."""


def series(*parts: tuple[int, float], images: int = 50) -> list[tuple[int, int]]:
    """Give so many slots at this rate, then so many at that one."""
    return [(images, round(images * rate)) for number, rate in parts for _ in range(number)]


def panel_in_time(
    streams: Mapping[tuple[str, str, str], Series],
    *,
    reason: str = "blurry",
    slot_ms: int = DAY_MS,
    most_slots: int = MAX_SLOTS,
) -> Panel:
    """Give the panel of streams named by class, source and camera, from a Monday on."""
    return panel_of(cells_in_time(streams, reason=reason, slot_ms=slot_ms), most_slots)


def cells_in_time(
    streams: Mapping[tuple[str, str, str], Series], *, reason: str = "blurry", slot_ms: int = DAY_MS
) -> Cells:
    """Give the counts of such streams."""
    first = int(MONDAY.timestamp() * 1000) // slot_ms
    keys: list[Key | None] = []
    rows: list[tuple[int, int, int]] = []
    for (class_name, source, camera), counts in streams.items():
        rejected = [bad if isinstance(bad, Mapping) else {reason: bad} for _, bad in counts]
        for why in dict.fromkeys(["", *(name for bad in rejected for name in bad)]):
            verdict = "quarantined" if why else "accepted"
            keys.append(Key("host", source, class_name, camera, "general", "{}", verdict, why, "1"))
            numbers_of = [
                bad.get(why, 0) if why else images - sum(bad.values())
                for (images, _), bad in zip(counts, rejected, strict=True)
            ]
            rows += [(first + at, len(keys) - 1, number) for at, number in enumerate(numbers_of) if number]
    slots, numbers, images = (np.array([row[at] for row in rows], np.int64) for at in range(3))
    nothing = np.zeros(len(rows), np.int64)
    return Cells(Keys.numbered(keys), slots, numbers, images, nothing, nothing, slot_ms)


def panel_at_once(groups: Mapping[tuple[str, str], Tally], camera: str = "") -> Panel:
    """Give the panel of classes and their sources without any times."""
    return panel_of_tallies(
        ({"class": class_name, "source": source, "camera": camera}, one) for (class_name, source), one in groups.items()
    )
