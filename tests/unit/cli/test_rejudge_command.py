"""`rejudge` on real files, from argv to output."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner, Result

from imageguard_daemon.cli import quarantine as commands
from imageguard_daemon.cli.simulate import rejudge
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.model import Measures
from imageguard_daemon.review.acting import purge, reject
from tests.helpers.rejections import Rejections

app = Typer()
app.command()(rejudge)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the logging of the test run as it is."""
    monkeypatch.setattr("imageguard_daemon.core.logs.configure", lambda *_args: None)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Rejections]:
    """Three rejected images with measures, one without."""
    one = Rejections(tmp_path / "root")
    measures = Measures(640, 480, 2.5, 2.0, 90.0, 1.0, 0.0, 0.0, 10.0, 120.0, 240.0)
    for number in range(3):
        one.file(f"cat/{number}.jpg", labels=[".txt"], measures=measures)
    one.file("cat/broken.jpg")
    yield one
    one.close()


def run(made: Rejections, *arguments: object) -> Result:
    """Run `rejudge` in a pipe."""
    return CliRunner().invoke(app, [str(made.root), *map(str, arguments)], env={"COLUMNS": "200"})


def test_it_counts_first_and_moves_when_told_to(made: Rejections) -> None:
    """Without --yes nothing moves; with it, images and labels are in accepted, and all can be taken back at once."""
    before = made.files()
    result = run(made, "--set", "blur_score=70")
    assert result.exit_code == 0
    assert "4 rejected images judged again by the thresholds of their time with blur_score 70" in result.stderr
    assert "3 would be accepted, 0 still rejected" in result.stderr
    assert "1 stay, since nothing could be measured" in result.stderr
    assert made.files() == before
    result = run(made, "--set", "blur_score=70", "--yes", "--who", "ops")
    assert (result.exit_code, "3 released" in result.stdout) == (0, True)
    assert {f"accepted/cat/{n}{suffix}" for n in range(3) for suffix in (".jpg", ".txt")} <= set(made.files())
    connection = sqlite3.connect(made.root / "audit.db")
    [(profile, who)] = connection.execute("SELECT DISTINCT profile ->> 'blur_score', who FROM reviews").fetchall()
    connection.close()
    assert (profile, who) == (70.0, "ops")
    undone = CliRunner().invoke(commands.app, ["undo", str(made.root), "--action", "rejudge", "--yes"])
    assert undone.exit_code == 0
    assert made.files() == before
    assert made.wrong() == []


def test_what_a_person_said_is_not_overruled(made: Rejections) -> None:
    """Confirmed images are not looked at, and named ones are refused."""
    CliRunner().invoke(commands.app, ["confirm", str(made.root), "--id", "1"])
    assert "3 rejected images judged again" in run(made, "--set", "blur_score=70").stderr
    result = run(made, "--set", "blur_score=70", "--id", 1, "--id", 2, "--yes")
    assert (result.exit_code, "was confirmed by a person" in result.stdout) == (65, True)
    assert "accepted/cat/1.jpg" in made.files()


def test_only_what_the_daemon_rejected_is_judged_again(made: Rejections) -> None:
    """An image that it accepted is none of them, whatever people did with it: not even when it is in no folder."""
    measures = Measures(640, 480, 2.5, 2.0, 90.0, 1.0, 0.0, 0.0, 10.0, 120.0, 240.0)
    purged, rejected = (made.file(f"dog/{n}.jpg", ok=True, measures=measures) for n in range(2))
    made.do(reject, purged, rejected)
    assert made.do(purge, purged)[0].done
    result = run(made, "--set", "blur_score=70", "--state", "all")
    assert "4 rejected images judged again" in result.stderr
    assert "3 would be accepted" in result.stderr
    result = run(made, "--set", "blur_score=70", "--id", purged, "--id", rejected, "--id", 1)
    assert "1 rejected image judged again" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--set", "blur=3"), ("--set", "blur_score=x"), ("--preset", "best")])
def test_rules_that_make_no_sense_are_refused(made: Rejections, arguments: tuple[str, ...]) -> None:
    """Nothing named, a threshold that is none, a preset that is none."""
    assert isinstance(run(made, *arguments).exception, UsageError)
