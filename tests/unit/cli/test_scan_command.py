"""`scan` on the command line: what is refused before anything is looked at."""

from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from imageguard_daemon.cli.scan import scan
from imageguard_daemon.core.errors import ImageguardError

app = Typer()
app.command()(scan)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with one file in it."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "notes.txt").write_text("none of our business")
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["{data}/nowhere"], 66, "is not there"),
        (["{data}/notes.txt"], 66, "is a file, not a folder"),
        (["{data}/.hidden/none"], 66, "is not there"),
        (["{data}", "--csv", "{data}/notes.txt"], 64, "was not made by a scan"),
        (["{data}", "--csv", "{data}/no/out.csv"], 66, "cannot write"),
        (["{data}", "--csv", "x", "--jsonl", "./x"], 64, "two outputs"),
        (["{data}", "--html", "{data}/notes.txt"], 64, "was not made by a scan"),
        (["{data}", "--html", "{data}/no/page.html"], 66, "cannot write"),
        (["{data}", "--html", "x", "--csv", "./x"], 64, "two outputs"),
        (["{data}", "--html", "-"], 64, "needs a file"),
        (["{data}", "--state", "{data}/notes.txt"], 69, "not a database"),
        (["{data}", "--preset", "genral"], 64, "did you mean 'general'?"),
        (["{data}", "--set", "blur=1"], 64, "known are blur_score"),
        (["{data}", "--source", "x"], 64, "the configuration has default"),
        (["{data}", "--move", "{data}/in"], 64, "must not be the same or lie in one another"),
        (["{data}", "--link", "{data}/in"], 64, "must not lie in"),
        (["{data}", "--move", "a", "--link", "b"], 64, "cannot be combined"),
        (["{data}", "--hard-links"], 64, "goes with --link"),
        (["{data}", "--parquet", "-"], 64, "needs a file"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(data, monkeypatch, arguments, code, told):
    """A wrong folder, file or option ends with its exit code, says why, and leaves the folder as it was."""
    monkeypatch.chdir(data.parent)
    result = CliRunner().invoke(app, [word.format(data=data) for word in arguments])
    assert isinstance(result.exception, ImageguardError), result.output
    assert (result.exception.exit_code, result.stdout) == (code, "")
    assert told in str(result.exception)
    assert [path.name for path in data.iterdir()] == ["notes.txt"]
    assert (data / "notes.txt").read_text() == "none of our business"
