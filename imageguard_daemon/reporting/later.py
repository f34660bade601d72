"""The finding about decisions that are stamped later than now: no pattern in the images, but a clock that was wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.reporting.finding import Finding, Shows
from imageguard_daemon.reporting.text import moment_in_words, shown

CLOCKS_DIFFER = timedelta(minutes=5)
"""Clocks of hosts differ by less than this; what is stamped later than now by more was stamped by a wrong one."""
_HOSTS_NAMED = 3


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
