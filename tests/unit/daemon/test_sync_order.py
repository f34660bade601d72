"""What is durable before what: every sync, new name, deletion and record, in the order in which they really happen."""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.filing import renaming
from imageguard_daemon.review.acting import confirm, purge
from tests.helpers.moving import recover
from tests.helpers.pipeline_bench import Bench
from tests.helpers.records import Tree, intent, judged
from tests.helpers.rejections import Rejections

Event = tuple[str, str]


class Recorder:
    """Notes calls that matter for what a power cut leaves, each by what it is about, and lets them happen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
        self.events: list[Event] = []
        self._root = root
        self._patch = monkeypatch
        self._note_calls(os, "fsync", lambda descriptor: [("synced", self._path(descriptor))])
        self._note_calls(renaming, "rename", lambda *names: [("named", self._name(*names[2:]))])
        self._note_calls(os, "unlink", lambda name, *, dir_fd: [("deleted", self._name(dir_fd, name))])
        self._note_calls(AuditWriter, "record_intents", lambda _self, files: [("intended", "")] * bool(files))
        self._note_calls(
            AuditWriter, "record_outcomes", lambda _self, found: [("recorded", one.outcome) for one in found]
        )

    def _note_calls(self, place: object, name: str, told: Callable[..., list[Event]]) -> None:
        real = getattr(place, name)

        def call(*arguments, **named):
            result = real(*arguments, **named)
            self.events += told(*arguments, **named)
            return result

        self._patch.setattr(place, name, call)

    def _path(self, descriptor: int) -> str:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        kind = "/" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else ""
        return os.path.relpath(path, self._root) + kind

    def _name(self, folder: int, name: str) -> str:
        return self._path(folder) + name

    def at(self, *event: str) -> int:
        """Give where the first such event is; a test fails where there is none."""
        found = [number for number, one in enumerate(self.events) if one == event]
        assert found, f"{event} is not among {self.events}"
        return found[0]

    def after(self, number: int, *event: str) -> int:
        """Give where the first such event after another is."""
        found = [later for later, one in enumerate(self.events) if one == event and later > number]
        assert found, f"{event} does not come after {self.events[number]} in {self.events}"
        return found[0]


def in_order(*numbers: int) -> bool:
    """Tell whether places follow each other."""
    return list(numbers) == sorted(set(numbers))


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system."""
    memory = Path("/dev/shm")  # noqa: S108 - it is the other file system that counts
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


def test_bytes_are_durable_before_a_new_name_and_names_before_the_record(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The intent, the bytes of all files, their new names, both folders, the outcomes: in this order, each once."""
    bench.arrive("cat/1.jpg", b"1")
    bench.arrive("cat/bad2.jpg", b"2")
    recorder = Recorder(monkeypatch, bench.root)
    bench.step()
    bytes_durable = [recorder.at("synced", f"inbox/cat/{name}") for name in ("1.jpg", "bad2.jpg")]
    named = [recorder.at("named", name) for name in ("accepted/cat/1.jpg", "quarantine/cat/bad2.jpg")]
    folders = [
        recorder.after(max(named), "synced", name) for name in ("inbox/cat/", "accepted/cat/", "quarantine/cat/")
    ]
    assert in_order(recorder.at("intended", ""), max(bytes_durable), min(named))
    assert in_order(max(named), min(folders), max(folders), recorder.at("recorded", "moved"))
    synced = [one for what, one in recorder.events if what == "synced"]
    assert len(synced) == len(set(synced)) == 7  # two files, three folders, and two parents of folders that were made
    assert {"accepted/", "quarantine/"} < set(synced)


def test_a_copy_is_durable_before_its_original_goes(
    tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy's bytes before its name, its name before the old one is hidden, all folders before the record."""
    (tmp_path / "accepted").symlink_to(elsewhere)
    bench = Bench(tmp_path)
    bench.arrive("cat/1.jpg", b"1")
    recorder = Recorder(monkeypatch, tmp_path)
    bench.step()
    there = f"{os.path.relpath(elsewhere, tmp_path)}/cat/"
    copied = recorder.at("synced", f"{there}.imageguard-1.part")
    named = recorder.at("named", f"{there}1.jpg")
    durable = recorder.after(named, "synced", there)
    hidden = recorder.at("named", "inbox/cat/.imageguard-1.aside")
    deleted = recorder.after(hidden, "deleted", "inbox/cat/.imageguard-1.aside")
    again = recorder.after(deleted, "synced", "inbox/cat/")
    assert in_order(copied, named, durable, hidden, deleted, again, recorder.at("recorded", "moved"))
    bench.audit.close()


def test_a_deletion_is_durable_before_it_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a power cut would bring back a file of which the log says that it is gone."""
    rejections = Rejections(tmp_path)
    number = rejections.file("cat/1.jpg")
    rejections.do(confirm, number)
    recorder = Recorder(monkeypatch, tmp_path)
    [done] = rejections.do(purge, number)
    assert done.done
    [deleted] = [n for n, (what, name) in enumerate(recorder.events) if what == "deleted" and name.endswith(".aside")]
    synced = recorder.after(deleted, "synced", "quarantine/cat/")
    assert in_order(deleted, synced, recorder.at("recorded", "purged"))
    rejections.close()


def test_what_recovery_brings_about_is_durable_before_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The published name, then the old one goes, then both folders, then the outcome."""
    tree = Tree(tmp_path)
    audit = AuditWriter(tmp_path / "audit.db", tmp_path)
    source = tree.arrive()
    audit.record_intents([judged(intent(source, tree.accepted / "cat/1.jpg"))])
    (tree.accepted / "cat/1.jpg").write_bytes(source.read_bytes())
    recorder = Recorder(monkeypatch, tmp_path)
    recover(audit, tree.roots)
    durable = recorder.at("synced", "accepted/cat/")
    deleted = recorder.at("deleted", "inbox/cat/1.jpg")
    again = recorder.after(deleted, "synced", "inbox/cat/")
    assert in_order(durable, deleted, again, recorder.at("recorded", "moved"))
    audit.close()
