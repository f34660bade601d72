"""A source that is soft by nature, from the finding to released images, by the real commands on real files."""

import json
import shlex

import pytest

from imageguard_daemon.config_file import parse
from tests.e2e.daemon_process import Ingest, command
from tests.helpers.images import blurred, jpeg, photo

IMAGES, FEWER = 60, 15


@pytest.fixture(scope="module")
def smears(tmp_path_factory):
    """Fifteen images as a microscope gives them, judged by a daemon at the defaults, and one that is far worse."""
    one = Ingest(tmp_path_factory.mktemp("lab") / "root", sources=[{"name": "smears"}])
    for number in range(FEWER):
        one.put(f"cell/{number}.jpg", jpeg(blurred(photo(320, 240, number), 3.6 + number * 0.02), 95))
    one.put("cell/out of focus.jpg", jpeg(blurred(photo(320, 240, 400), 12), 95))
    assert command("run", "--config", one.config_file, "--once").returncode == 0
    return one


def calibrate(made, *options):
    """Run the command on the log alone."""
    return command("calibrate", "--log", made.root, "--source", "smears", *options)


def run_told(text, *more):
    """Run a command as it was told to a person."""
    program, *arguments = shlex.split(text)
    assert program == "imageguard-daemon"
    return command(*arguments, *more)


def test_from_the_finding_to_released_images(tmp_path):
    """The finding names the command, its proposal fits in the configuration, and what it tells releases the images."""
    made = Ingest(tmp_path / "root", sources=[{"name": "smears"}])
    for number in range(IMAGES):
        made.put(f"cell/{number}.jpg", jpeg(blurred(photo(320, 240, number), 3.6 + number * 0.02), 95))
    assert command("run", "--config", made.config_file, "--once").returncode == 0
    report = json.loads(command("report", made.root, "--format", "json").stdout)
    [finding] = [each for each in report["findings"] if each["kind"] == "source_mostly_rejected"]
    assert finding["subject"] == "smears"
    assert "high_rejection_rate" not in {each["kind"] for each in report["findings"]}
    told = finding["look_at"].split("`")[1]
    assert told == "imageguard-daemon calibrate --log ROOT --source smears"

    proposed = run_told(told.replace("ROOT", str(made.root)), "--max-reject", "2%")
    assert proposed.returncode == 0, proposed.stderr
    settings = parse(proposed.stdout)
    assert [source.name for source in settings.sources] == ["smears"]
    assert settings.sources[0].thresholds["blur_score"] < 40

    assert f"imageguard-daemon rejudge {made.root} --config FILE --source smears" in proposed.stderr

    whole = (told.replace("ROOT", str(made.root)), "--max-reject", "2%", "--config", made.config_file)
    made_json = json.loads(run_told(*whole, "--format", "json").stdout)
    assert made_json["log"]["rejected_before"] == IMAGES
    assert made_json["log"]["rejected_after"] <= IMAGES * 0.02
    simulate, rejudge = made_json["log"]["commands"]
    simulated = json.loads(run_told(simulate, "--format", "json").stdout)
    assert simulated["newly_accepted"] == made_json["log"]["newly_accepted"]
    moved = run_told(rejudge, "--yes")
    assert moved.returncode == 0, moved.stderr
    released = sorted(path.name for path in made.accepted.rglob("*.jpg"))
    assert len(released) == made_json["log"]["newly_accepted"] >= IMAGES * 0.98
    assert command("verify", "--config", made.config_file).returncode == 0


def test_the_preview_says_what_the_log_has_and_what_comes_next(smears):
    """A person reads how many images were taken, what changes by reason, and the two commands."""
    told = calibrate(smears, "--max-reject", "2%").stderr
    assert "16 images of source 'smears' in the log" in told
    assert "16 decisions from source 'smears', judged again by the proposal" in told
    assert "as decided: 0 accepted, 16 quarantined" in told
    assert "blurry" in told
    assert "imageguard-daemon rejudge" in told
    assert "--yes moves" in told


def test_what_people_confirmed_counts_as_bad(smears):
    """An image that people confirmed as rejected is caught by the proposal, not made room for."""
    before = json.loads(calibrate(smears, "--max-reject", "0%", "--format", "json").stdout)
    assert before["bad"]["measured"] == 0
    confirmed = command(
        "quarantine", "confirm", "--config", smears.config_file, "--path", "cell/out of focus.jpg", "--yes"
    )
    assert confirmed.returncode == 0, confirmed.stderr
    after = json.loads(calibrate(smears, "--max-reject", "0%", "--format", "json").stdout)
    assert (after["bad"]["measured"], after["bad"]["rejected"]["images"]) == (1, 1)
    assert after["good"]["measured"] == FEWER
    assert after["thresholds"]["blur_score"] > before["thresholds"]["blur_score"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 64, "name either a folder of good images, or a log with --log"),
        (["{root}/accepted", "--log", "{root}"], 64, "name either"),
        (["{root}/accepted", "--source", "smears"], 64, "choose among the images of a --log"),
        (["--log", "{root}", "--source", "smear"], 64, "did you mean 'smears'?"),
        (["--log", "{root}/nowhere"], 66, "does not exist"),
        (["--log", "{root}", "--until", "2020-01-01"], 66, "the log has no decisions in scope"),
        (["--log", "{root}", "--max-reject", "1"], 64, "expected a share"),
    ],
)
def test_what_makes_no_sense_is_refused(smears, arguments, code, told):
    """A wrong option ends with its exit code, says why, and prints no configuration."""
    result = command("calibrate", *(word.format(root=smears.root) for word in arguments))
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert told in " ".join(result.stderr.split())
