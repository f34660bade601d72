"""`simulate` on a log that the daemon wrote."""

import csv
import io
import json
import os
from operator import lt

import pytest

from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.quality.policy import PRESETS
from tests.e2e.daemon_process import Ingest, command
from tests.helpers.images import blurred, jpeg, photo


@pytest.fixture(scope="module")
def ingest(tmp_path_factory: pytest.TempPathFactory) -> Ingest:
    """Six images judged by the daemon: sharp, soft and very soft ones, and a broken one."""
    made = Ingest(tmp_path_factory.mktemp("simulate") / "ingest")
    for number, (folder, sigma) in enumerate((("cat", 0), ("cat", 0), ("dog", 0.7), ("dog", 0.7), ("dog", 5))):
        pixels = photo(480, 360, number)
        made.put(f"{folder}/{number}.jpg", jpeg(blurred(pixels, sigma) if sigma else pixels))
    made.put("dog/=broken.jpg", jpeg(photo())[:3000])
    result = command("run", "--config", made.config_file, "--once")
    assert result.returncode == 0, result.stderr
    assert {row["verdict"] for row in made.decisions()} == {"accepted", "quarantined"}
    return made


@pytest.fixture(scope="module")
def strict(ingest: Ingest) -> float:
    """Give a blur threshold between the scores of the soft images and of the sharp ones that were accepted."""
    accepted = [(row["class"], row["blur_score"]) for row in ingest.decisions() if row["verdict"] == "accepted"]
    soft, sharp = (sorted(score for name, score in accepted if name == wanted) for wanted in ("dog", "cat"))
    assert len(soft) == len(sharp) == 2
    return round((soft[-1] + sharp[0]) / 2, 1)


def simulated(*arguments: object) -> dict:
    result = command("simulate", *arguments, "--format", "json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_stricter_and_looser_thresholds_are_counted(ingest, strict):
    """What would change is told in both directions, for each class, and the broken image keeps its verdict."""
    made = simulated(ingest.root, "--set", f"blur_score={strict}")
    assert (made["total"], made["newly_rejected"], made["newly_accepted"]) == (6, 2, 0)
    assert {group["key"]: group["newly_rejected"] for group in made["classes"]} == {"dog": 2, "cat": 0}
    assert made["kept"] == {"corrupt": 1}
    loose = simulated("--db", ingest.root / "audit.db", "--set", "blur_score=0")
    assert (loose["newly_rejected"], loose["newly_accepted"]) == (0, 1)
    assert loose["examples"]["newly_accepted"][0]["reason_before"] == "blurry"


def test_a_changed_configuration_is_tried_before_it_is_in_force(ingest, strict, tmp_path):
    """With --config the rules of each source are those of the file."""
    unchanged = simulated("--config", ingest.config_file)
    assert (unchanged["newly_rejected"], unchanged["newly_accepted"]) == (0, 0)
    (tmp_path / "next.yaml").write_text(f"root: {ingest.root}\nsources: [{{thresholds: {{blur_score: {strict}}}}}]")
    assert simulated("--config", tmp_path / "next.yaml")["newly_rejected"] == 2
    rejected = simulated(ingest.root, "--preset", "fine_grained")["rejected_after"]
    measured = [[row[name] for name in SCORE_NAMES] for row in ingest.decisions() if row["blur_score"] is not None]
    fine_grained = tuple(PRESETS["fine_grained"].values())
    assert rejected == 1 + sum(any(map(lt, scores, fine_grained)) for scores in measured)


def test_a_narrower_question_counts_less(ingest):
    """Class, source and period are those of `report`."""
    assert simulated(ingest.root, "--set", "blur_score=70", "--class", "cat")["total"] == 2
    assert simulated(ingest.root, "--set", "blur_score=70", "--since", "7d")["total"] == 6
    assert simulated(ingest.root, "--set", "blur_score=70", "--until", "2020-01-01")["total"] == 0


def test_the_table_reads_well_and_csv_has_every_group(ingest, strict):
    """A person gets sentences within the width of the terminal, a spreadsheet one line for each group."""
    for width in (40, 80):
        result = command(
            "simulate", ingest.root, "--set", f"blur_score={strict}", env=os.environ | {"COLUMNS": str(width)}
        )
        assert max(map(len, result.stdout.splitlines())) <= width
    assert "as decided: 4 accepted, 2 quarantined (33.3 %)" in result.stdout
    assert "then: 2 accepted, 4 quarantined (66.7 %)" in result.stdout
    assert f"needed {strict:g}" in result.stdout
    lines = command("simulate", ingest.root, "--set", f"blur_score={strict}", "--format", "csv").stdout
    rows = list(csv.DictReader(io.StringIO(lines)))
    assert [row["group"] for row in rows] == ["all", "class", "class", "reason", "reason"]
    assert rows[0]["newly_rejected"] == "2"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 64, "name what should differ"),
        (["--set", "blur_scor=60"], 64, "did you mean 'blur_score'?"),
        (["--set", "blur_score=many"], 64, "expected NAME=NUMBER"),
        (["--set", "blur_score=nan"], 64, "must be within 0 and 100"),
        (["--preset", "genral"], 64, "did you mean 'general'?"),
        (["--set", "blur_score=60", "--db", "nowhere.db"], 66, "no audit database"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(ingest, arguments, code, told):
    """A wrong question ends with its exit code and says what was expected."""
    result = command("simulate", *([] if "--db" in arguments else [ingest.root]), *arguments)
    assert (result.returncode, result.stdout) == (code, ""), result.stderr
    assert told in result.stderr
