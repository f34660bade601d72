"""A readout of one's own, named in the configuration or on the command line: everything measures by it and says so."""

import json
import signal
import sqlite3

import pytest

from imageguard_daemon import validate
from imageguard_daemon.quality.version import SCORER_VERSION, loops_here
from tests.e2e.daemon_process import Ingest, command, wait_until
from tests.helpers.images import jpeg, photo
from tests.helpers.readouts import write_readout

SPAWNED = True


@pytest.fixture
def own(tmp_path):
    """A readout that calls everything worse."""
    return write_readout(tmp_path / "own.npz")


@pytest.fixture
def name(own):
    """What records call the scorer with it."""
    return validate(jpeg(photo(280, 200)), readout=own).scorer_version


def test_a_daemon_files_by_it_and_its_log_says_so(ingest, own, name):
    """Verdict, record, start line and status are those of the readout; re-judging knows whose scores they are."""
    made = ingest(scoring={"readout": str(own)}, sources=[{"name": "default"}])
    made.put("cat/1.jpg", jpeg(photo(280, 200)))
    assert command("run", "--config", made.config_file, "--once").returncode == 0
    [row] = made.decisions()
    assert (row["verdict"], row["scorer_version"]) == ("quarantined", name)
    assert name.startswith(f"{SCORER_VERSION}+")
    status = command("status", "--config", made.config_file).stdout
    assert f"scorer {name}, {loops_here()}" in " ".join(status.split())

    for options, told in ((("--config", made.config_file), False), ((), True)):
        simulated = command("simulate", made.root, *options, "--set", "blur_score=0")
        assert ("scored by another version" in simulated.stdout) is told
        rejudged = command("rejudge", made.root, *options, "--preset", "small_images", "--set", "pixelation_score=0")
        assert "would be accepted" in rejudged.stderr
    shown = json.loads(command("simulate", made.root, "--set", "blur_score=0", "--format", "json").stdout)
    assert shown["other_scorer_versions"] == {name: 1}
    with sqlite3.connect(made.root / "audit.db") as connection:
        assert connection.execute("SELECT scorer_version FROM rollup_keys").fetchall() == [(name,)]


def test_a_readout_that_is_replaced_counts_from_the_next_start_on(ingest, own, name):
    """The running daemon goes on by what it has read, new workers too; a reload says that the file is another."""
    made = ingest(scoring={"readout": str(own), "workers": 1})
    made.start()
    [started] = made.events("started")
    assert (started["scorer"], started["code"]) == (name, loops_here())
    write_readout(own, moved=-0.4)
    after = validate(jpeg(photo(280, 200)), readout=own).scorer_version
    made.put("cat/1.jpg", jpeg(photo(280, 200)))
    assert [row["scorer_version"] for row in made.wait_for_decisions(1)] == [name]
    made.process.send_signal(signal.SIGHUP)
    wait_until(lambda: made.events("some changes need a restart"), "what the reload says")
    assert made.events("some changes need a restart")[0]["settings"] == f"scoring.readout ({after} in place of {name})"
    assert made.status()["scorer_version"] == name
    own.write_bytes(b"damaged")
    made.process.send_signal(signal.SIGHUP)
    wait_until(lambda: made.events("configuration not reloaded"), "that the next start would fail")
    assert "is not a readout" in made.events("configuration not reloaded")[0]["why"]
    write_readout(own, moved=-0.4)
    assert made.stop() == 0
    made.start()
    made.put("cat/2.jpg", jpeg(photo(280, 200, seed=2)))
    assert [row["scorer_version"] for row in made.wait_for_decisions(2)] == [name, after]


def test_a_daemon_does_not_start_without_the_one_it_is_to_judge_by(ingest, own):
    """66 while it is not there, as its disk may come; 78 for one that is damaged. Nothing is moved."""
    made = ingest(scoring={"readout": str(own)})
    image = made.put("cat/1.jpg", jpeg(photo(280, 200)))
    content = own.read_bytes()
    own.unlink()
    missing = command("run", "--config", made.config_file, "--once")
    assert (missing.returncode, "scoring.readout: cannot read" in missing.stderr) == (66, True)
    own.write_bytes(content[:1000])
    damaged = command("run", "--config", made.config_file, "--once")
    assert (damaged.returncode, "is not a readout" in damaged.stderr) == (78, True)
    assert image.exists()


def test_scans_with_different_readouts_never_share_measurements(tmp_path, own, name):
    """The state of one is none for another; rows say which it was."""
    folder = tmp_path / "data" / "cat"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(jpeg(photo(280, 200)))
    out = tmp_path / "out.jsonl"
    expected = [(SCORER_VERSION, 0), (name, 0), (name, 1)]
    for number, readout in enumerate((None, own, own)):
        arguments = ["scan", folder.parent, "--jsonl", out, "--state", tmp_path / "state", "--format", "json"]
        made = command(*arguments, *(["--readout", readout] if readout else []))
        assert made.returncode == 0, made.stderr
        told = json.loads(made.stdout)
        assert (json.loads(out.read_text())["scorer_version"], told["known_from_earlier"]) == expected[number]
        assert (told["scorer_version"], told["code"]) == (expected[number][0], loops_here())


def test_a_back_fill_goes_on_only_with_the_readout_it_began_with(tmp_path, own, name):
    """Results of two readouts never stand in one folder; `--refresh` makes all of them anew."""
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    from pyarrow import dataset

    (tmp_path / "1.jpg").write_bytes(jpeg(photo(280, 200)))
    (tmp_path / "list").write_text(f"{tmp_path}/1.jpg\n")
    arguments = ["backfill", "--manifest", tmp_path / "list", "--out", tmp_path / "out", "--workers", "1"]
    assert command(*arguments).returncode == 0
    refused = command(*arguments, "--readout", own)
    assert refused.returncode == 65
    assert f"scorer_version was {SCORER_VERSION}, and is {name}" in refused.stderr
    for more in ([], ["--executor", "thread"]):
        made = command(*arguments, "--readout", own, "--refresh", *more)
        assert made.returncode == 0, made.stderr
        [row] = dataset.dataset(tmp_path / "out", format="parquet").to_table().to_pylist()
        assert (row["scorer_version"], row["verdict"]) == (name, "quarantined")
    told = json.loads(command("backfill", "status", "--out", tmp_path / "out", "--format", "json").stdout)
    assert (told["scorer_version"], told["code"]) == (name, loops_here())
    write_readout(own, moved=-0.4)
    assert command(*arguments, "--readout", own).returncode == 65


def test_calibrate_takes_only_what_this_readout_has_measured(tmp_path, own, name):
    """Folder, log and proposal are of one scorer; a log of another is refused, and it says what names the right one."""
    made = Ingest(tmp_path / "root", scoring={"readout": str(own)}, sources=[{"name": "default"}])
    for number in range(12):
        made.put(f"cat/{number}.jpg", jpeg(photo(320, 240, number)))
    assert command("run", "--config", made.config_file, "--once").returncode == 0
    other = command("calibrate", "--log", made.root)
    assert other.returncode == 66
    assert f"by {name}, whose scores mean other things; --config or --readout names the readout" in other.stderr
    for by in (["--config", made.config_file], ["--readout", own]):
        found = command("calibrate", "--log", made.root, *by, "--format", "json")
        assert found.returncode == 0, found.stderr
        told = json.loads(found.stdout)
        assert (told["scorer_version"], told["log"]["measured"]) == (name, 12)
    folder = command("calibrate", made.quarantine, "--readout", own)
    assert folder.returncode == 0, folder.stderr
    assert f"scorer {name}" in folder.stdout
