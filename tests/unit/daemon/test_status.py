"""What `status` and the line on a terminal show."""

import json

from rich.console import Console

from imageguard_daemon.daemon import status
from imageguard_daemon.daemon.parts import FailedFile, Snapshot, SourceSnapshot
from imageguard_daemon.daemon.status import StatusLine, status_line


def _status(**changes) -> Snapshot:
    values = {
        "process_id": 1,
        "state": "watching",
        "started_at": "",
        "accepted": 7,
        "quarantined": 2,
        "reasons": {"blurry": 2},
        "images_per_second": 3.5,
        "backlog": 1,
        "in_work": 1,
        "worker_failures": 0,
        "sources": (SourceSnapshot("default", "/inbox", True, 0, ""),),
        "failures": (),
    }
    return Snapshot(**(values | changes))


def test_status_is_read_as_it_was_written(tmp_path):
    """What the daemon writes is what `status` reads; garbage and absence are nothing."""
    assert status.read(tmp_path) is None
    status.write(_status(), tmp_path)
    assert status.read(tmp_path) == json.loads(json.dumps(status.as_status(_status())))
    (tmp_path / status.STATUS_FILE).write_text("{half")
    assert status.read(tmp_path) is None


def test_the_status_file_keeps_its_keys(tmp_path):
    """People's scripts read it: a key that goes, or is called otherwise, breaks them."""
    status.write(_status(), tmp_path)
    content = json.loads((tmp_path / status.STATUS_FILE).read_text())
    assert " ".join(content) == (
        "process_id state started_at updated_at accepted quarantined reasons images_per_second backlog in_work "
        "worker_mishaps sources failures confinement_lacks log_unsafe_because configuration_refused forwarding "
        "left_open left_open_examples scorer_version code"
    )
    [source] = content["sources"]
    keys = "name inbox present settling paused_because next_attempt_at writers_unknown skipped"
    assert " ".join(source) == keys


def test_a_status_that_cannot_be_written_stops_nothing(tmp_path):
    """A full or missing disk costs the status, not the daemon."""
    status.write(_status(), tmp_path / "missing")


def test_the_status_line_tells_trouble():
    """Paused sources, lost inboxes and files left behind stand in the line."""
    failed = FailedFile("default", "a.jpg", 5, True, "no permission")
    paused = SourceSnapshot("default", "/inbox", True, 2, "no space")
    gone = SourceSnapshot("other", "/other", False, 0, "")
    line = status_line(_status(sources=(paused, gone), failures=(failed,))).plain
    for words in ("7 accepted", "2 quarantined", "3.5 images/s", "2 settling", "1 left behind", "paused: no space"):
        assert words in line
    assert "other: inbox is gone" in line


def test_no_status_line_without_a_terminal(capsys):
    """In a pipe or a journal nothing is drawn."""
    with StatusLine(Console(force_terminal=False)) as line:
        line.show(_status())
    assert capsys.readouterr().out == ""
