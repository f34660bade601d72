"""How long to wait after failures in a row. Pure: whoever counts them has the clock, too."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that grow by a factor with each failure, up to a ceiling; a success begins them again."""

    first_seconds: float
    longest_seconds: float = math.inf
    factor: float = 2.0

    def after(self, failures: int) -> float:
        """Give the seconds to wait after so many failures in a row; none after none."""
        if failures < 1:
            return 0.0
        try:
            return min(self.first_seconds * self.factor ** (failures - 1), self.longest_seconds)
        except OverflowError:  # what fails for weeks is counted on
            return self.longest_seconds
