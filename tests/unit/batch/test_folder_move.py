"""The settings of a daemon that moves a folder once."""

import io
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from imageguard_daemon.batch import folder_move
from imageguard_daemon.batch.folder_move import FolderMove, settings_for_move
from imageguard_daemon.batch.folder_scan import ScanRequest
from imageguard_daemon.batch.running import run
from imageguard_daemon.config import Settings, Source
from imageguard_daemon.config_file import parse
from imageguard_daemon.core.errors import UsageError

SERVER = parse(
    "root: /srv/ingest\n"
    "metrics: {enabled: true}\n"
    "audit: {database: /var/lib/imageguard/audit.db}\n"
    "intake: {sidecars: true}\n"
    "sources: [{name: scraper, inbox: in, accepted: /good, quarantine: /bad, preset: detection, class_from: none}]\n"
)


def _settings(folder: str, destination: str) -> Settings:
    return settings_for_move(SERVER, SERVER.sources[0], Path(folder), Path(destination))


def test_rules_come_from_the_configuration_and_places_from_the_command(tmp_path, monkeypatch) -> None:
    """A running daemon's folders, log and port are not touched by a move that borrows its rules."""
    monkeypatch.chdir(tmp_path)
    made = _settings("data", "filed")
    (source,) = made.sources
    assert (source.preset, source.class_from, made.intake.sidecars) == ("detection", "none", True)
    assert made.root == tmp_path / "filed"
    assert source.folders == (tmp_path / "data", tmp_path / "filed/accepted", tmp_path / "filed/quarantine")
    assert made.audit.database == tmp_path / "filed" / "audit.db"
    assert not made.metrics.enabled
    assert made.sources[0].name == Source().name  # so that a root without a configuration has it


@pytest.mark.parametrize("destination", ["data", "data/filed", "data/../data/filed"])
def test_files_are_not_moved_into_the_folder_they_are_in(tmp_path, monkeypatch, destination) -> None:
    """Else the next scan would judge what this one has filed."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="must not be the same or lie in one another"):
        _settings("data", destination)
    _settings("ingest/inbox", "ingest")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_move_that_is_stopped_ends_with_the_code_of_its_signal(tmp_path, monkeypatch, number) -> None:
    """As a scan does: who stops it sees by the exit code that the same command goes on."""
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(folder_move, "Move", lambda *_: SimpleNamespace(run=lambda: 0, rows=list, stopped_by=number))
    request = ScanRequest(tmp_path / "data", Settings(root=tmp_path), Source(), {}, move=tmp_path / "filed")
    result = run(FolderMove(request), Console(file=io.StringIO()))
    assert (result.exit_code, result.is_interrupted, result.summary.is_complete) == (128 + number, True, False)
