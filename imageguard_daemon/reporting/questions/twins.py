"""Do two classes have names that a person takes for one?

Model: names are the same when neither the case of letters nor the way accents are written (Unicode's NFC and NFD)
counts; to Windows, macOS and Samba they are one folder, to Linux and a training two. No null: it is so, or it is not.
"""

import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

from imageguard_daemon.reporting.finding import Finding, Shows, evidence_of
from imageguard_daemon.reporting.patterns import Patterns
from imageguard_daemon.reporting.tallies import Tally
from imageguard_daemon.reporting.text import shown

if TYPE_CHECKING:
    from imageguard_daemon.config import Reporting


def class_twins(seen: Patterns, settings: "Reporting") -> list[Finding]:
    """Tell which classes differ only in how their name is written."""
    families: defaultdict[str, list[tuple[str, Tally]]] = defaultdict(list)
    for name, one in seen.panel.tallies("class").items():
        families[_without_case_and_form(name)].append((name, one))
    return [
        _told(sorted(family, key=lambda member: (-member[1].total, member[0])))
        for _, family in sorted(families.items())
        if len(family) > 1 and sum(one.total for _, one in family) >= settings.min_sample
    ]


def _without_case_and_form(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _told(family: list[tuple[str, Tally]]) -> Finding:
    names = ", ".join(f"'{shown(name)}'{_form(name)} with {one.total:,} images" for name, one in family)
    sentence = f"Classes that differ only in case or in how accents are written: {names}."
    look_at = "Look at which sender writes it otherwise: a training takes them for different classes."
    rarest, images = family[-1]
    return Finding(
        "class_twins", rarest, sentence, look_at, evidence_of(images, 0.0, 0.0), {"class": rarest}, shows=Shows.days
    )


def _form(name: str) -> str:
    """Say what cannot be seen."""
    return "" if unicodedata.is_normalized("NFC", name) else " (accents apart, NFD)"
