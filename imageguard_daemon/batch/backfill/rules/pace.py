"""How fast it goes and how long it will take. Pure: time is passed in."""

from collections import deque

_WINDOW_SECONDS = 300.0
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


class Pace:
    """The rate of the last minutes; what an earlier run had done is not a part of it."""

    def __init__(self, now: float) -> None:
        self._notes: deque[tuple[float, int]] = deque([(now, 0)])

    def note(self, now: float, images: int) -> None:
        """Note that so many images in all have been measured by now."""
        self._notes.append((now, images))
        while len(self._notes) > 2 and now - self._notes[1][0] > _WINDOW_SECONDS:
            self._notes.popleft()

    @property
    def rate(self) -> float:
        """Images a second, 0 while nothing is known."""
        (begin, before), (end, after) = self._notes[0], self._notes[-1]
        return (after - before) / (end - begin) if end > begin else 0.0

    def left(self, images: int) -> float | None:
        """Give the seconds that so many images more will take, None while nothing is known."""
        return images / self.rate if self.rate > 0 else None


def duration_in_words(seconds: float) -> str:
    """Say how long that is, in the two units that matter."""
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    for unit, name, smaller, smaller_name in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min")):
        if whole >= unit:
            return f"{whole // unit:,} {name} {whole % unit // smaller} {smaller_name}"
    return f"{whole // _MINUTE} min {whole % _MINUTE} s"
