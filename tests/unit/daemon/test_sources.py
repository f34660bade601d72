"""Sources pause, and judge by the rules in force."""

import pytest

from imageguard_daemon.config import Source
from imageguard_daemon.daemon.sources import ServedSource, remove_emptied_folders


class _Inbox:
    walks = 0

    def walk_soon(self) -> None:
        self.walks += 1


@pytest.fixture
def served():
    return ServedSource(Source(), _Inbox())


def test_a_pause_doubles_and_is_bounded(served):
    """Each pause in a row is twice as long, none longer than half a minute, and each ends with a new walk."""
    lengths = []
    now = 0.0
    for _ in range(8):
        served.pause("no space", now)
        lengths.append(served.next_probe() - now)
        assert served.is_paused(now)
        now = served.next_probe()
        assert not served.is_paused(now)
    assert lengths == [1, 2, 4, 8, 16, 30, 30, 30]
    assert served.inbox.walks == 8


def test_after_a_pause_a_single_file_probes(served):
    """While the cause may still be there, a source gives one file at a time; a success opens it again."""
    assert served.room(50, 0.0) == 50
    served.pause("no space", 0.0)
    assert served.room(50, 0.5) == 0
    assert served.room(50, 1.5) == 1
    served.works_again(100.0)
    assert served.room(50, 1.5) == 50
    assert served.paused_because == ""


def test_new_thresholds_count_from_the_next_decision(served):
    """Settings applied while running replace the thresholds in force."""
    served.apply(Source(preset="fine_grained", thresholds={"blur_score": 12}))
    assert served.thresholds["blur_score"] == 12
    assert served.thresholds["resolution_score"] == 75


def test_only_empty_folders_below_the_inbox_are_removed(tmp_path):
    """Emptied folders go, up to the inbox; those with a file and the inbox itself stay."""
    (tmp_path / "inbox/a/b/c").mkdir(parents=True)
    (tmp_path / "inbox/a/keep.txt").write_text("x")
    remove_emptied_folders(str(tmp_path / "inbox/a/b/c"), str(tmp_path / "inbox"))
    assert sorted(path.name for path in (tmp_path / "inbox").rglob("*")) == ["a", "keep.txt"]
    (tmp_path / "inbox/a/keep.txt").unlink()
    remove_emptied_folders(str(tmp_path / "inbox/a"), str(tmp_path / "inbox"))
    assert (tmp_path / "inbox").is_dir()
    assert not (tmp_path / "inbox/a").exists()
