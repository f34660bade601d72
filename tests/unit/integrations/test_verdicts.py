"""Verdicts on lists of files, each judged once."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon import validate
from imageguard_daemon.core.errors import UnavailableError
from imageguard_daemon.core.model import FileIdentity
from imageguard_daemon.integrations import verdicts
from imageguard_daemon.integrations.verdicts import Judging, Verdict, verdicts_on
from tests.e2e.daemon_process import command
from tests.helpers.images import blurred, jpeg, photo
from tests.helpers.readouts import write_readout


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A good image, a blurred one, a damaged one with an odd name, a text called .png, and none."""
    folder = tmp_path_factory.mktemp("files")
    good = photo(280, 200)
    (folder / "good.jpg").write_bytes(jpeg(good))
    (folder / "blurred.jpg").write_bytes(jpeg(blurred(good, 6)))
    (folder / "odd\n\udcff.jpg").write_bytes(jpeg(good)[:2000])
    (folder / "document.png").write_bytes(b"%PDF-1.7 " + bytes(100))
    return [str(folder / name) for name in ("good.jpg", "blurred.jpg", "odd\n\udcff.jpg", "document.png", "none.jpg")]


def _count(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note what is measured, and measure it."""
    asked: list[list[str]] = []
    measure = verdicts._measure

    def noting(paths, *how):
        asked.append([os.path.basename(path) for path in paths])
        return measure(paths, *how)

    monkeypatch.setattr(verdicts, "_measure", noting)
    return asked


def test_verdicts_are_the_librarys_and_files_are_measured_once(files, tmp_path, monkeypatch):
    """Scores and reasons are `validate`'s, in the order asked for; a second time only what is no image is looked at."""
    asked, judging = _count(monkeypatch), Judging(cache=tmp_path / "cache", workers=2)
    found = verdicts_on(files, judging)
    for path, verdict in zip(files[:4], found, strict=False):
        decision = validate(path)
        expected = Verdict(decision.score, decision.reason, decision.detail, bool(decision.measures))
        assert replace(verdict, identity=None) == expected
        assert verdict.identity == (FileIdentity.from_stat(os.stat(path)) if verdict.reason != "unsupported" else None)
    assert (found[4].reason, found[4].is_readable) == ("unreadable", False)
    assert [verdict.reason for verdict in found[:4]] == ["", "blurry", "corrupt", "unsupported"]
    assert verdicts_on(files[:3][::-1], judging) == found[:3][::-1]
    assert len(asked) == 1
    verdicts_on(files, Judging(cache=tmp_path / "cache", thresholds={"blur_score": 0.0}))
    assert asked[1:] == [["document.png", "none.jpg"]]


def test_what_the_daemon_has_recorded_is_not_measured_again(files, tmp_path, monkeypatch):
    """With an audit log, filed images are known by their place, and copies of them by their content."""
    inbox = tmp_path / "root" / "inbox" / "cat"
    inbox.mkdir(parents=True)
    for path in files[:2]:
        shutil.copy(path, inbox)
    config = tmp_path / "quick.yaml"
    config.write_text(f"root: {tmp_path / 'root'}\nintake: {{settle_seconds: 0.2}}\n")
    assert command("run", "--config", config, "--once").returncode == 0
    filed = [str(tmp_path / "root/accepted/cat/good.jpg"), str(tmp_path / "root/quarantine/cat/blurred.jpg")]
    asked = _count(monkeypatch)
    judging = Judging(cache=tmp_path / "cache", audit=tmp_path / "root" / "audit.db")
    found = verdicts_on([*filed, *files[:2]], judging)
    assert [verdict.reason for verdict in found] == ["", "blurry", "", "blurry"]
    assert asked == []
    assert verdicts_on(filed, Judging(cache=tmp_path / "cache")) == found[:2]
    assert asked == []


def test_a_filed_image_that_was_overwritten_is_measured_anew(files, tmp_path, monkeypatch):
    """Also where the new bytes have the old size and mtime: what the log says of the place is of other bytes."""
    inbox = tmp_path / "root" / "inbox"
    inbox.mkdir(parents=True)
    shutil.copy(files[0], inbox)
    config = tmp_path / "quick.yaml"
    config.write_text(f"root: {tmp_path / 'root'}\nintake: {{settle_seconds: 0.2}}\n")
    assert command("run", "--config", config, "--once").returncode == 0
    filed = tmp_path / "root" / "accepted" / "good.jpg"
    judging = Judging(cache=tmp_path / "cache", audit=tmp_path / "root" / "audit.db")
    asked = _count(monkeypatch)
    assert (verdicts_on([str(filed)], judging)[0].reason, asked) == ("", [])
    before = filed.stat()
    worse = Path(files[1]).read_bytes()
    filed.write_bytes(worse + bytes(before.st_size - len(worse)))
    os.utime(filed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (filed.stat().st_size, filed.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert verdicts_on([str(filed)], judging)[0].reason == "blurry"
    assert asked == [["good.jpg"]]


def test_a_process_waits_while_another_measures(files, tmp_path, monkeypatch):
    """Ranks of one training do not all measure the same files: the lock is held while one does."""
    cache = tmp_path / "cache"
    held = []

    def measure(*_):
        script = f"import fcntl; fcntl.flock(open({str(cache) + '.lock'!r}), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        held.append(subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL, check=False).returncode)
        return {}

    monkeypatch.setattr(verdicts, "_measure", measure)
    verdicts_on(files[:1], Judging(cache=cache))
    assert held == [1]


def test_an_unknown_preset_is_refused_before_anything_is_measured(files, tmp_path):
    """A typing mistake costs no hour of measuring."""
    with pytest.raises(ValueError, match="did you mean 'general'"):
        verdicts_on(files, Judging(preset="genral", cache=tmp_path / "cache"))
    assert list(Path(tmp_path).iterdir()) == []


def test_wrong_arguments_are_told_in_words_of_the_library(files, tmp_path):
    """No option of a command, and no library's own form of an error."""
    with pytest.raises(ValueError, match=r"^workers: Input should be greater than or equal to 0, not -1$"):
        verdicts_on(files[:1], Judging(cache=tmp_path / "cache", workers=-1))
    with pytest.raises(UnavailableError, match=r"^audit: there is no log that can be read at /nowhere$"):
        verdicts_on(files[:1], Judging(cache=tmp_path / "cache", audit="/nowhere"))


def test_a_cache_that_cannot_be_written_is_a_warning_and_not_the_end(files, tmp_path):
    """A read-only home or a full disk costs the memory of what was measured, nothing else."""
    (tmp_path / "file").touch()
    with pytest.warns(RuntimeWarning, match=r"cannot be kept in .*file/cache.* files are measured each time"):
        found = verdicts_on(files[:2], Judging(cache=tmp_path / "file" / "cache", workers=1))
    assert [verdict.reason for verdict in found] == ["", "blurry"]


def test_a_readout_of_ones_own_has_measurements_of_its_own(files, tmp_path, monkeypatch):
    """What one readout has measured is not taken for another's."""
    own = write_readout(tmp_path / "own.npz")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked = _count(monkeypatch)
    first, again, shipped = (verdicts_on(files[:1], Judging(readout=by))[0] for by in (own, own, None))
    assert len(asked) == 2
    assert first == again
    assert first.score == pytest.approx(validate(files[0], readout=own).score)
    assert first.score < 0.5 <= shipped.score
    assert len(list((tmp_path / "cache/imageguard-daemon").glob("datasets*.state"))) == 2


@pytest.mark.parametrize("with_", ["another", "none"])
def test_a_readout_that_is_replaced_meanwhile_is_not_mixed_in(files, tmp_path, monkeypatch, with_):
    """Verdicts of one call are of one readout, the one that was read at first; the next call is by the new."""
    own, cache, known = write_readout(tmp_path / "own.npz"), tmp_path / "cache", verdicts._known
    expected = validate(files[0], readout=own).score

    def replacing(*asked):
        if with_ == "another":
            write_readout(own, moved=-0.4)
        else:
            own.write_bytes(b"none")
        return known(*asked)

    monkeypatch.setattr(verdicts, "_known", replacing)
    assert verdicts_on(files[:1], Judging(cache=cache, readout=own))[0].score == pytest.approx(expected)
    monkeypatch.undo()
    write_readout(own, moved=-0.4)
    asked = _count(monkeypatch)
    after = verdicts_on(files[:1], Judging(cache=cache, readout=own))[0]
    assert after.score == pytest.approx(validate(files[0], readout=own).score)
    assert after.score != pytest.approx(expected)
    assert len(asked) == 1


def test_the_main_program_is_not_run_again(files, tmp_path):
    """A training script without a guard around its main part is run once, however many processes measure for it."""
    script = tmp_path / "train.py"
    script.write_text(
        "from imageguard_daemon.integrations.verdicts import Judging, verdicts_on\n"
        "print('begun')\n"
        f"print(verdicts_on([{files[0]!r}], Judging(cache={str(tmp_path / 'cache')!r}, workers=2))[0].is_readable)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["begun", "True"]


def test_what_is_not_a_readout_is_a_value_error(files, tmp_path):
    """As of everything else that is given wrongly; one that is not there is an OSError."""
    own = tmp_path / "own.npz"
    own.write_bytes(b"none")
    with pytest.raises(ValueError, match="is not a readout"):
        verdicts_on(files[:1], Judging(readout=own))
    with pytest.raises(FileNotFoundError):
        verdicts_on(files[:1], Judging(readout=tmp_path / "nowhere"))
