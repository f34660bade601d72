"""Classes that a person takes for one."""

import unicodedata

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.findings import Patterns, find_patterns
from imageguard_daemon.reporting.questions.twins import class_twins
from imageguard_daemon.reporting.tallies import Tally
from tests.helpers.panels import panel_at_once

COMPOSED, APART = (unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD"))
SETTINGS = Reporting(min_sample=10)


def twins(totals: dict[str, int]) -> list[Finding]:
    """Give what is found of classes with so many good images."""
    panel = panel_at_once({(name, "default"): Tally(total, {}) for name, total in totals.items()})
    found = class_twins(Patterns(panel), SETTINGS)
    told = [one for one in find_patterns(Patterns(panel), SETTINGS) if one.kind == "class_twins"]
    assert [one.subject for one in told] == [one.subject for one in found]
    return found


def test_case_and_accents_alone_make_no_class() -> None:
    """The rarest spelling is the topic, all are named, and what cannot be seen of one is said."""
    (finding,) = twins({"Cat": 40, "cat": 1, "CAT": 3, "dog": 5})
    assert finding.subject == "cat"
    assert "'Cat' with 40 images, 'CAT' with 3 images, 'cat' with 1 images" in finding.sentence
    (finding,) = twins({COMPOSED: 40, APART: 2})
    assert finding.subject == APART
    assert f"'{APART}' (accents apart, NFD) with 2 images" in finding.sentence
    assert len(twins({COMPOSED: 20, APART.upper(): 20, "Dog": 20, "dog": 1})) == 2


def test_different_names_are_different_classes() -> None:
    """Nothing is told of other letters, nor of fewer images than a finding needs."""
    assert twins({"cat": 40, "cats": 40, "cafe": 40, COMPOSED: 40}) == []
    assert twins({"Cat": 5, "cat": 1}) == []
