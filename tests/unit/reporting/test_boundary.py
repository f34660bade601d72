"""Thresholds that many images miss by little, and advice that does what it says."""

import itertools
import json
import re
import shlex
import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer import Typer
from typer.testing import CliRunner

from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.cli.simulate import simulate
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.model import (
    SCORE_NAMES,
    Candidate,
    Decision,
    FileIdentity,
    Intent,
    JudgedFile,
    Measurement,
    Measures,
    Outcome,
)
from imageguard_daemon.quality.policy import decide, thresholds_for
from imageguard_daemon.quality.scoring import SCALES
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.query import report_on
from imageguard_daemon.reporting.questions import boundary
from imageguard_daemon.reporting.questions.boundary import missed_by_little
from imageguard_daemon.reporting.score_stats import Boundary

ROOT = Path("/srv/ingest")
SETTINGS = Reporting()
ENDS = [scale for scale in SCALES if scale.clipped]
app = Typer()
app.command()(simulate)
_numbers = itertools.count()


def judged(
    source: str, blur: Iterable[float], threshold: float = 40.0, class_name: str = "cat"
) -> list[tuple[str, str, float, float]]:
    """Give images of a source with these scores of blur, judged by this threshold; all else is fine."""
    return [(source, class_name, score, threshold) for score in blur]


def log_of(folder: Path, images: Iterable[tuple[str, str, float, float]]) -> Path:
    """Record them as the daemon does."""
    writer = AuditWriter(folder / "audit.db", ROOT)
    recorded = writer.record_intents([_judged_file(*one) for one in images])
    writer.record_outcomes([Outcome(one.intent_id, "moved") for (one, *_) in recorded])
    writer.close()
    return folder / "audit.db"


def _judged_file(source: str, class_name: str, blur: float, threshold: float) -> JudgedFile:
    number = next(_numbers)
    name, sha256 = f"{class_name}/{number}.jpg", f"{number:064x}"
    measures = Measures(640, 480, 1.0, 1.0, 95.0, 1.0, 0.0, 0.0, 3.0, 120.0, 240.0, 0.0, 0.0)
    scores = {**dict.fromkeys(SCORE_NAMES, 99.0), "blur_score": blur}
    limits = thresholds_for("general", {"blur_score": threshold})
    issues = () if blur >= threshold else (next(one.issue for one in SCALES if one.signal == "blur"),)
    decision = Decision(blur / 100, issues, scores, measures.as_dict(), "general", limits, "test", "", False)
    folder = "quarantine" if issues else "accepted"
    target = str(ROOT / folder / source / name)
    intent = Intent("image", str(ROOT / "in" / name), target, sha256, FileIdentity(1, number, 1, 1, 1))
    return JudgedFile(Candidate(source, name), class_name, Measurement(sha256, measures), decision, (intent,))


def told(database: Path, scope: Scope | None = None) -> list[Finding]:
    """Give the findings of this kind."""
    with open_log(database) as log:
        made = report_on(log, (Dimension.class_,), scope or Scope(), SETTINGS)
    return [one for one in made.findings if one.kind.startswith("many_just_below")]


SOFT = judged("microscope", [*np.linspace(35.2, 39.8, 61), *np.linspace(0, 30, 20), *[80.0] * 300])


def test_many_that_miss_a_threshold_by_little_are_told_with_what_a_lower_one_accepts(tmp_path: Path) -> None:
    """The finding names source and threshold; its command, run as it stands, accepts as many as it says."""
    other = judged("studio", [*np.linspace(0, 34, 50), *[90.0] * 300])
    database = log_of(tmp_path, SOFT + other)
    [one] = told(database)
    assert (one.kind, one.subject) == ("many_just_below_blur_score", "blur_score")
    assert "'microscope': 61 of 81 images rejected for blur alone (75.3 %) score 35 or more, where 40 is needed" in (
        one.sentence
    )
    assert "`imageguard-daemon simulate ROOT --source microscope --set blur_score=35`" in one.look_at
    assert "would accept 61 of 81 of these more." in one.look_at
    assert run(one, database) == (61, 0)
    assert (one.evidence["would_accept"], one.evidence["would_reject"]) == (61, 0)


@pytest.mark.parametrize("reason", ["", "duplicate"])
def test_what_the_scores_of_a_report_do_not_tell_is_looked_at_again(tmp_path: Path, reason: str) -> None:
    """One pass knows what a lower threshold accepts, unless something else than the scores decided for an image."""
    database = log_of(tmp_path, SOFT)
    writer = AuditWriter(database, ROOT)
    one = _judged_file("microscope", "cat", 95.0, 40.0)
    one = replace(one, decision=replace(one.decision, issues=(reason,) if reason else ()))
    [(image,)] = writer.record_intents([one])
    writer.record_outcomes([Outcome(image.intent_id, "moved")])
    writer.close()
    looks = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundary.Simulator, "add", lambda _, batch: looks.append(len(batch)))
        told(database)
    assert bool(looks) is bool(reason)
    [finding] = told(database)
    assert run(finding, database) == (finding.evidence["would_accept"], finding.evidence["would_reject"])


def run(one: Finding, database: Path) -> tuple[int, int]:
    """Run the command of a finding, and give how many images it accepts and rejects more."""
    [command] = re.findall(r"`imageguard-daemon simulate ROOT (.*?)`", one.look_at)
    arguments = ["--db", str(database), "--format", "json", *shlex.split(command)]
    made = json.loads(CliRunner().invoke(app, arguments).stdout)
    return made["newly_accepted"], made["newly_rejected"]


def test_a_source_with_a_threshold_of_its_own_is_not_advised_another_ones(tmp_path: Path) -> None:
    """Where one source needs 40 and another 10, what is advised for the one changes no verdict of the other."""
    strict = judged("fabric", [*np.linspace(11, 39, 200), *[95.0] * 100], threshold=10.0)
    database = log_of(tmp_path, SOFT + strict)
    [one] = told(database)
    assert "fabric" not in one.message
    assert run(one, database) == (61, 0)


def test_a_low_threshold_does_not_make_everything_near(tmp_path: Path) -> None:
    """Below a threshold of 5 all scores are within five points; evenly spread, an eighth of them is near."""
    assert told(log_of(tmp_path, judged("default", [*np.linspace(0, 4.99, 200), *[80.0] * 300], threshold=5.0))) == []


def test_a_threshold_that_was_changed_meanwhile_is_not_advised_against(tmp_path: Path) -> None:
    """Where a lower threshold of its time accepted more than the advice would, the finding says so and no command."""
    before = judged("microscope", [*np.linspace(20, 34, 150), *[80.0] * 20], threshold=20.0)
    [one] = told(log_of(tmp_path, SOFT + before))
    assert "simulate" not in one.look_at
    assert "35 would accept 61 of them and reject 1" in one.look_at
    assert one.evidence["would_reject"] > one.evidence["would_accept"]


def test_names_of_sources_are_quoted(tmp_path: Path) -> None:
    """A source with a space and a quote stands in the command as a shell reads it."""
    database = log_of(tmp_path, [("it's one", *rest) for _, *rest in SOFT])
    [one] = told(database)
    assert run(one, database) == (61, 0)


def test_the_command_is_about_the_images_of_the_report(tmp_path: Path) -> None:
    """A report on one class advises by that class alone."""
    other = [(source, "dog", blur, threshold) for source, _, blur, threshold in SOFT]
    database = log_of(tmp_path, SOFT + other)
    [one] = told(database, Scope(class_name="dog"))
    assert "--class dog" in one.look_at
    assert run(one, database) == (61, 0)


def test_a_period_that_simulate_cannot_be_asked_about_has_no_command(tmp_path: Path) -> None:
    """A report on one host says what the lower threshold does, and gives no command that would count other images."""
    [one] = told(log_of(tmp_path, SOFT), Scope(host=socket.gethostname()))
    assert "simulate" not in one.look_at
    assert "For source 'microscope' blur_score=35 would accept 61 of 81 of these more." in one.look_at


def test_those_that_are_near_are_shown(tmp_path: Path) -> None:
    """The list has the images just below the threshold, not all that were rejected for blur."""
    database = log_of(tmp_path, SOFT)
    [one] = told(database)
    assert one.command.endswith("--source microscope --reason blurry --score blur_score=35..40")
    assert one.query.endswith("score=blur_score&low=35.0&high=40.0")


def test_what_a_lower_threshold_accepts_beyond_those_that_were_counted_is_no_share_of_them(tmp_path: Path) -> None:
    """Of a page with too much light and too little, the log has the worse score; the other one may have decided."""
    dark = [_page(under=under, over=100.0) for under in np.linspace(35.5, 39.5, 60)]
    harsh = [_page(under=37.0, over=20.0) for _ in range(249)]
    good = [_page(under=90.0, over=90.0) for _ in range(100)]
    writer = AuditWriter(tmp_path / "audit.db", ROOT)
    recorded = writer.record_intents([*dark, *harsh, *good])
    writer.record_outcomes([Outcome(image.intent_id, "moved") for (image, *_) in recorded])
    writer.close()
    [one] = told(tmp_path / "audit.db")
    assert (one.subject, one.sample_size) == ("underexposure_score", 60)
    assert run(one, tmp_path / "audit.db") == (309, 0)
    assert one.look_at.endswith("would accept 309 images more.")


def _page(*, under: float, over: float) -> JudgedFile:
    """Judge a document whose ends of exposure have these scores; of too much light, the preset asks for less."""
    file = _judged_file("scanner", "page", 99.0, 40.0)
    ends = {scale.measure: scale.limit(score) for scale, score in zip(ENDS, (over, under), strict=True)}
    assert file.measurement.measures is not None
    measures = replace(file.measurement.measures, width=2_000, height=2_000, **ends)
    measurement = replace(file.measurement, measures=measures)
    decision = decide(measurement, "documents", thresholds_for("documents"))
    assert decision.issues in {(), ("underexposed",)}
    return replace(file, measurement=measurement, decision=decision)


@pytest.mark.parametrize("boundary", [(200, 104, 40.0), (9, 9, 40.0), (200, 0, 40.0), (200, 200, 0.0)])
def test_what_is_no_pattern_is_not_told(boundary: tuple[int, int, float]) -> None:
    """About half is none, nine images are none, and below 0 there is nothing."""
    assert missed_by_little([Boundary("default", "blur_score", *boundary)], SETTINGS) == ()
