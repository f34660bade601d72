"""Recorded decisions judged again say what other thresholds would have decided."""

import io
import json
import random
from pathlib import Path

from rich.console import Console

from imageguard_daemon.audit.counts import RecordedScores, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.core.model import SCORE_NAMES, Measurement, Measures
from imageguard_daemon.quality.policy import decide, thresholds_for, with_overrides
from imageguard_daemon.quality.version import SCORER_VERSION
from imageguard_daemon.reporting.query import simulation_of
from imageguard_daemon.reporting.simulation import EXAMPLES_KEPT, Rules, Simulation
from imageguard_daemon.reporting.simulation_rendering import simulation_as_table
from tests.helpers.audit_logs import Judged, write_log
from tests.helpers.simulations import simulated

GENERAL = thresholds_for("general")


def measures(rng: random.Random) -> Measures:
    """Give measures of an image that may have any fault."""
    return Measures(
        *(640, 480, rng.uniform(0.5, 4), rng.uniform(0, 30), rng.uniform(5, 100), rng.uniform(1, 4)),
        *(0.0, 0.0, 0.0, 100.0, 200.0, rng.uniform(0, 0.8), rng.uniform(0, 0.8)),
    )


def row(number: int = 1, found: Measures | None = None, **changed: object) -> RecordedScores:
    """Give a decision by the general preset as the log has it; without measures, a corrupt image."""
    measurement = Measurement("", found, issue="" if found else "corrupt")
    decision = decide(measurement, "general", GENERAL)
    made = RecordedScores(
        *(number, "default", "cat", f"cat/{number}.jpg", decision.verdict, decision.reason, "general"),
        *(json.dumps(GENERAL), SCORER_VERSION, json.dumps(dict(decision.measures))),
        scores=tuple(decision.scores[name] if found else None for name in SCORE_NAMES),
    )
    return made._replace(**changed)


GOOD = Measures(640, 480, 1.0, 1.0, 95.0, 1.0, 0.0, 0.0, 3.0, 120.0, 240.0)
SOFT = Measures(640, 480, 1.6, 1.0, 95.0, 1.0, 0.0, 0.0, 3.0, 120.0, 240.0)


_APART = (
    {"overexposure_score": 5.0},
    {"underexposure_score": 0.0, "overexposure_score": 90.0},
    {"exposure_score": 70.0, "underexposure_score": 10.0},
)


def test_a_simulation_decides_as_the_daemon_would_have() -> None:
    """Verdict and reason of every image are those of `decide` under the new thresholds."""
    rng = random.Random(3)  # noqa: S311 - invented images
    for changed in ({}, {"blur_score": 70.0}, {"noise_score": 0.0, "exposure_score": 90.0}, *_APART, dict(GENERAL)):
        for number in range(300):
            found = measures(rng)
            expected = decide(Measurement("", found), "general", with_overrides(GENERAL, changed))
            made = simulated([row(number, found)], Rules(changed))
            assert dict(made.reasons_after) == ({expected.reason: 1} if expected.reason else {})


def test_nothing_changes_under_the_thresholds_of_the_time() -> None:
    """Without another threshold the simulation repeats the log."""
    rng = random.Random(4)  # noqa: S311 - invented images
    made = simulated([row(number, measures(rng)) for number in range(300)], Rules({}))
    assert made.overall.newly_rejected == made.overall.newly_accepted == 0
    assert made.reasons_before == made.reasons_after


def test_both_directions_are_counted_by_class() -> None:
    """Images newly rejected and newly accepted are told apart, in all and for each class."""
    rows = [row(1, GOOD), row(2, SOFT), row(3, SOFT, class_name="dog"), row(4, SOFT, verdict="quarantined", reason="x")]
    made = simulated(rows, Rules({"blur_score": 60}))
    assert (made.overall.total, made.overall.newly_rejected, made.overall.newly_accepted) == (4, 2, 0)
    assert made.classes["dog"].newly_rejected == 1
    back = simulated(rows, Rules({}))
    assert (back.overall.newly_rejected, back.overall.newly_accepted) == (0, 1)
    assert back.newly_accepted[0].reason_before == "x"


def test_what_could_not_be_measured_keeps_its_verdict() -> None:
    """A corrupt image stays in quarantine whatever the thresholds are, and is counted as such."""
    made = simulated([row(1)], Rules(dict.fromkeys(SCORE_NAMES, 0.0)))
    assert (made.overall.before, made.overall.after, made.kept["corrupt"]) == (1, 1, 1)


def test_a_record_that_makes_no_sense_keeps_its_verdict() -> None:
    """Scores that are text and profiles that are no thresholds are counted, not followed and no error."""
    strange = [
        row(1, SOFT, scores=("x",) * 6),
        row(2, SOFT, profile="{"),
        row(3, SOFT, profile="[1]"),
        row(4, SOFT, preset="of the future"),
        row(5, SOFT, profile='{"blur_score": "NaN"}'),
    ]
    made = simulated(strange, Rules({"blur_score": 100}))
    assert (made.unreadable, made.overall.after) == (5, 0)


def test_an_archived_example_is_told_by_its_number() -> None:
    """The verdict and the scores of an archived image are known, its name is not."""
    made = simulated([row(8, SOFT)], Rules({"blur_score": 60}))
    [example] = made.with_paths({}).newly_rejected
    assert (example.relative_path, example.scores["blur_score"] < 60) == ("", True)
    assert "decision 8 (archived)" in printed(made.with_paths({}))


def test_scores_of_another_scorer_are_told() -> None:
    """Decisions of another version are judged again and counted by version."""
    made = simulated([row(1, SOFT, scorer_version="0"), row(2, SOFT)], Rules({"blur_score": 60}))
    assert (dict(made.other_versions), made.overall.after) == ({"0": 1}, 2)


def test_scores_of_another_readout_are_told_with_what_names_it() -> None:
    """Whose scores they are depends on the readout in force; who has not named it hears how."""
    own = f"{SCORER_VERSION}+0123456789ab"
    rows = [row(1, SOFT, scorer_version=own), row(2, SOFT)]
    made = simulated(rows, Rules({"blur_score": 60}))
    told = " ".join(printed(made).split())
    assert f"1 of version {own}" in told
    assert "--config names the one that is in force" in told
    configured = simulated(rows, Rules({"blur_score": 60}, scorer_version=own))
    assert dict(configured.other_versions) == {SCORER_VERSION: 1}
    assert "--config" not in printed(configured)


def test_thresholds_come_from_the_preset_or_the_source_or_the_record() -> None:
    """A preset goes before the rules of a source, and those before the thresholds of the time."""
    rows = [row(1, SOFT), row(2, SOFT, source="scraper")]
    sources = {"scraper": thresholds_for("fine_grained")}
    for rules, rejected in (
        (Rules({}), 0),
        (Rules({}, sources=sources), 1),
        (Rules({}, "fine_grained", sources), 2),
        (Rules({"blur_score": 20}, "fine_grained", {}), 0),
    ):
        assert len(simulated(rows, rules).newly_rejected) == rejected


def test_examples_are_the_newest_in_whatever_order_rows_come() -> None:
    """The few examples kept are those with the highest ids."""
    numbers = list(range(50))
    random.Random(1).shuffle(numbers)  # noqa: S311 - an order
    made = simulated((row(number, SOFT) for number in numbers), Rules({"blur_score": 60}))
    assert [example.id for example in made.newly_rejected] == list(range(49, 49 - EXAMPLES_KEPT, -1))


def test_the_end_of_exposure_that_a_log_has_no_score_of_is_asked_of_its_measures(tmp_path: Path) -> None:
    """Switching off the worse end leaves the other one in force; a record keeps only the worse score of both."""
    images = [Judged(images=4, exposure=(0.9, 0.8)), Judged("dog", "overexposed", images=3, exposure=(0.9, 0.1))]
    with open_log(write_log(tmp_path / "audit.db", images)) as log:
        other = {name: 0.0 for name in SCORE_NAMES if name != "exposure_score"}
        for changed, expected in (
            ({"overexposure_score": 0.0}, {"underexposed": 4}),
            ({"exposure_score": 0.0}, {}),
            ({"overexposure_score": 0.0, "underexposure_score": 10.0}, {}),
        ):
            made = simulation_of(log, Scope(), Rules({**other, **changed}))
            assert (dict(made.reasons_after), made.unreadable) == (expected, 0)


def printed(made: Simulation) -> str:
    """Give what a pipe gets."""
    out = io.StringIO()
    Console(file=out, width=80).print(simulation_as_table(made, "blur_score=60", Scope()))
    return out.getvalue()
