"""What a campaign counts, and how it is told."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.oracle import Offered, assert_nothing_lost
from tests.faults.site import Site


@dataclass
class Figures:
    """Rounds tried, files offered in them, and every violation found."""

    title: str
    rounds: int = 0
    files: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)

    def judge(self, name: str, site: Site, offered: Iterable[Offered], *, settled: bool = True) -> bool:
        """Ask the oracle after a round; give whether all was well."""
        try:
            assert_nothing_lost(site, offered, settled=settled)
        except AssertionError as error:
            self.note(f"{name}: {error}")
            return False
        return True

    def note(self, violation: str) -> None:
        """Keep a violation."""
        self.violations.append(violation)

    def __str__(self) -> str:
        extra = "".join(f", {count} {what}" for what, count in sorted(self.counts.items()))
        seconds = time.monotonic() - self.began_at
        return (
            f"{self.title}: {self.rounds} rounds, {self.files} files{extra}, "
            f"{len(self.violations)} violations ({seconds:.0f} s)"
        )


def all_at_once(home: Path, campaigns: Iterable[Callable[[Path], Figures]]) -> list[str]:
    """Run campaigns that mostly wait side by side, each in a folder of its own, and give all violations."""
    with ThreadPoolExecutor(16) as pool:
        running = [pool.submit(campaign, home / str(number)) for number, campaign in enumerate(campaigns)]
        return [f"{one.result().title}: {violation}" for one in running for violation in one.result().violations]
