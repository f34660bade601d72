"""Do two classes have names that a person takes for one? Is a decision stamped later than now?

Neither has a null: it is so, or it is not. Names are the same when neither the case of letters nor the way accents
are written (Unicode's NFC and NFD) counts; to Windows, macOS and Samba they are one folder, to Linux and a training
two. Of decisions that are later than now only a clock was wrong, never the images.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.reporting.finding import Finding, Shows, evidence_of
from imageguard_daemon.reporting.panel import Patterns
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import moment_in_words, shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting


CLOCKS_DIFFER = timedelta(minutes=5)
"""Clocks of hosts differ by less than this; what is stamped later than now by more was stamped by a wrong one."""
_HOSTS_NAMED = 3


def class_twins(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Tell which classes differ only in how their name is written."""
    families: defaultdict[str, list[tuple[str, Tally]]] = defaultdict(list)
    for name, tally in seen.panel.tallies("class").items():
        families[_without_case_and_form(name)].append((name, tally))
    return [
        _twins(sorted(family, key=lambda member: (-member[1].total, member[0])))
        for _, family in sorted(families.items())
        if len(family) > 1 and sum(tally.total for _, tally in family) >= settings.min_sample
    ]


def _without_case_and_form(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _twins(family: list[tuple[str, Tally]]) -> Finding:
    names = ", ".join(f"'{shown(name)}'{_form(name)} with {tally.total:,} images" for name, tally in family)
    sentence = f"Classes that differ only in case or in how accents are written: {names}."
    look_at = "Look at which sender writes it otherwise: a training takes them for different classes."
    rarest, images = family[-1]
    return Finding(
        "class_twins", rarest, sentence, look_at, evidence_of(images, 0.0, 0.0), {"class": rarest}, shows=Shows.days
    )


def _form(name: str) -> str:
    """Say what cannot be seen."""
    return "" if unicodedata.is_normalized("NFC", name) else " (accents apart, NFD)"


@dataclass(frozen=True, slots=True)
class Later:
    """Decisions in scope that are stamped later than now, of any period: how many on which host, from when to when."""

    hosts: Mapping[str, int] = field(default_factory=dict)
    since: datetime | None = None
    latest: datetime | None = None

    @property
    def images(self) -> int:
        """How many there are."""
        return sum(self.hosts.values())


def stamped_later(later: Later | None, scope: Scope) -> list[Finding]:
    """Tell of those in scope, whatever its period; they count in none that ends now."""
    if later is None or later.latest is None or later.since is None:
        return []
    hosts = sorted(later.hosts, key=lambda host: (-later.hosts[host], host))
    named = ", ".join(f"'{shown(host)}'" for host in hosts[:_HOSTS_NAMED])
    others = f" and {len(hosts) - _HOSTS_NAMED:,} others" if len(hosts) > _HOSTS_NAMED else ""
    decisions = "1 decision is" if later.images == 1 else f"{later.images:,} decisions are"
    sentence = (
        f"{decisions} stamped later than now, the latest {moment_in_words(later.latest)}, on "
        f"{'host' if len(hosts) == 1 else 'hosts'} {named}{others}."
    )
    look_at = "Look at the clock there. They count in no period that ends now, only in the whole log."
    evidence = {"total": later.images, "hosts": len(hosts), "latest": later.latest.timestamp(), "p_value": 0.0}
    theirs = replace(scope, since=later.since, until=later.latest + timedelta(minutes=1))
    where = {"host": hosts[0]} if len(hosts) == 1 else {}
    return [
        Finding("stamped_later_than_now", "clock", sentence, look_at, evidence, where, shows=Shows.days, scope=theirs)
    ]
