"""One image's trip, with everything real but the measuring."""

import errno
import os
from dataclasses import replace
from itertools import pairwise

import pytest

from imageguard_daemon.core.errors import ChangedError, NotBegunError, StalledError
from imageguard_daemon.core.model import Candidate, FileIdentity
from imageguard_daemon.filing import mover, renaming
from imageguard_daemon.filing.mover import Move
from tests.helpers.moving import recover, refusing
from tests.helpers.pipeline_bench import Bench


class _CrashError(BaseException):
    """Ends a trip as a kill would: nothing catches it."""


def test_good_and_bad_go_their_ways(bench):
    """A good image ends in accepted, a bad one in quarantine, each with its path and one decision."""
    bench.arrive("cat/good.jpg", b"1")
    bench.arrive("cat/bad.jpg", b"2")
    bench.step()
    assert bench.files() == {"accepted/cat/good.jpg": b"1", "quarantine/cat/bad.jpg": b"2"}
    assert bench.decisions() == [("accepted/cat/good.jpg", "accepted"), ("quarantine/cat/bad.jpg", "quarantined")]
    assert [file.candidate.relative_path for file in bench.filed] == ["cat/good.jpg", "cat/bad.jpg"]
    assert bench.backlog.held == 0


def test_two_files_with_one_destination_are_told_apart(tmp_path):
    """A name that is taken, even by a file of the same group, is not used again."""
    bench = Bench(tmp_path)
    (bench.accepted / "cat").mkdir()
    (bench.accepted / "cat" / "1.jpg").write_bytes(b"old")
    bench.arrive("cat/1.jpg", b"new")
    bench.step()
    assert len(bench.files()) == 2
    assert bench.files()["accepted/cat/1.jpg"] == b"old"
    bench.audit.close()


def test_a_destination_that_takes_no_names_is_told_before_any_file_is_recorded(bench, monkeypatch):
    """Where names cannot be given safely the source pauses at the start, says why, and makes no records meanwhile."""
    with monkeypatch.context() as here:
        here.setattr(renaming, "rename", refusing(errno.EINVAL))
        here.setattr(os, "link", lambda *_names, **_options: refusing(errno.EIO)())
        bench.pipeline.probe_destinations(0.0)
        assert "neither rename without replacing nor make hard links" in bench.served.paused_because
        for now in (10.0, 100.0):
            bench.arrive("cat/good.jpg", b"1")
            bench.step(now=now)
        assert bench.recorded_intents() == 0
    bench.arrive("cat/good.jpg", b"1")
    bench.step(now=1000.0)
    assert bench.served.paused_because == ""
    assert bench.files() == {"accepted/cat/good.jpg": b"1"}


def test_a_cut_off_image_of_an_unknown_writer_waits_and_a_whole_one_does_not(bench):
    """Half of an upload that pauses is not filed as corrupt; when nothing comes for long, it is."""
    cut = bench.arrive("cat/cut.jpg", b"half", still_since=0.0)
    bench.arrive("cat/good.jpg", b"1", still_since=0.0)
    bench.step(now=2.0)
    assert bench.files() == {"accepted/cat/good.jpg": b"1", "inbox/cat/cut.jpg": b"half"}
    (failure,) = bench.backlog.failures
    assert (failure.attempts, failure.retry_at) == (0, 60.0)
    assert "may be on its way" in failure.error
    assert bench.pipeline.has_work(2.0)
    assert list(bench.backlog.take_retries(60.0)) == [cut]
    bench.backlog.offer(replace(cut, still_since=60.0))
    bench.step(now=62.0)
    assert bench.decisions()[1:] == [("quarantine/cat/cut.jpg", "quarantined")]
    assert not bench.pipeline.has_work(62.0)


def test_a_cut_off_image_that_nobody_writes_is_judged_at_once(bench):
    """Where the kernel says that there is no writer, nothing waits."""
    bench.arrive("cat/cut.jpg", b"half")
    bench.step()
    assert bench.decisions() == [("quarantine/cat/cut.jpg", "quarantined")]


def test_a_locked_log_moves_nothing(bench, monkeypatch):
    """When intents cannot be recorded, no file moves, and the source pauses with the reason."""
    monkeypatch.setattr(bench.audit, "record_intents", _raising(StalledError("database is locked")))
    bench.arrive("cat/good.jpg", b"1")
    bench.step()
    assert bench.files() == {"inbox/cat/good.jpg": b"1"}
    assert bench.served.paused_because == "database is locked"
    assert bench.backlog.held == 0


def test_outcomes_the_log_refuses_are_recorded_later_and_nothing_new_begins(bench, monkeypatch):
    """A moved file whose outcome cannot be recorded is kept in mind; until it is, nothing else moves."""
    with monkeypatch.context() as locked:
        locked.setattr(bench.audit, "record_outcomes", _raising_when_given_any(StalledError("disk is full")))
        bench.arrive("cat/1.jpg", b"1")
        bench.step()
        assert bench.files() == {"accepted/cat/1.jpg": b"1"}
        assert bench.pipeline.has_work(0.0)
        bench.arrive("cat/2.jpg", b"2")
        bench.step(now=100.0)
        assert "inbox/cat/2.jpg" in bench.files()
    bench.step(now=200.0)
    assert bench.decisions() == [("accepted/cat/1.jpg", "accepted")]
    bench.backlog.offer(bench.arrive("cat/2.jpg", b"2"))
    bench.step(now=300.0)
    assert len(bench.decisions()) == 2
    assert bench.served.paused_because == ""


def test_a_failing_file_does_not_block_others_and_is_given_up_in_the_end(bench):
    """A file that cannot be read stays in the inbox, is retried after pauses, and is then left for a person."""
    bench.workers.errors["cat/odd.jpg"] = OSError(40, "Too many levels of symbolic links")
    bench.arrive("cat/good.jpg", b"1")
    odd = bench.arrive("cat/odd.jpg", b"2")
    for now in (0.0, 10.0, 30.0):
        list(bench.backlog.take_retries(now))
        bench.backlog.offer(odd)
        bench.step(now)
    (failure,) = bench.backlog.failures
    assert (failure.attempts, failure.retry_at, failure.error) == (
        3,
        None,
        "cannot be read: Too many levels of symbolic links",
    )
    assert bench.files() == {"accepted/cat/good.jpg": b"1", "inbox/cat/odd.jpg": b"2"}
    assert bench.served.paused_because == ""


@pytest.mark.parametrize("error", [ChangedError("changed"), FileNotFoundError(2, "gone")])
def test_a_file_that_changed_or_vanished_is_no_failure(bench, error):
    """What is no longer the file that was found leaves no decision and no failure."""
    bench.workers.errors["cat/1.jpg"] = error
    bench.arrive("cat/1.jpg", b"1")
    bench.step()
    assert bench.decisions() == []
    assert bench.backlog.failures == ()
    assert bench.backlog.held == 0


def test_a_file_that_never_is_the_judged_one_is_left_behind_and_no_longer_recorded(bench):
    """On a file system whose answers never fit, attempts pause, end, and are shown; others go on."""
    bench.workers.errors["cat/odd.jpg"] = ChangedError("was replaced while it was being moved")
    bench.arrive("cat/good.jpg", b"1")
    odd = bench.arrive("cat/odd.jpg", b"2")
    state = FileIdentity.from_stat((bench.inbox / "cat/odd.jpg").stat())
    bench.backlog.done(odd)
    for now in (0.0, 10.0, 30.0, 100.0, 200.0):
        list(bench.backlog.take_retries(now))
        bench.backlog.offer(replace(odd, settled=state))
        bench.step(now)
    (failure,) = bench.backlog.failures
    assert (failure.attempts, failure.retry_at) == (3, None)
    assert bench.served.paused_because == ""
    assert "accepted/cat/good.jpg" in bench.files()


def test_a_file_that_waited_behind_a_hanging_one_has_nothing_held_against_it(bench):
    """What was not begun is no failure, however often that happens."""
    bench.workers.errors["cat/1.jpg"] = NotBegunError("not begun: its disk hangs")
    one = bench.arrive("cat/1.jpg", b"1")
    state = FileIdentity.from_stat((bench.inbox / "cat/1.jpg").stat())
    bench.backlog.done(one)
    for now in (0.0, 10.0, 30.0):
        bench.backlog.offer(replace(one, settled=state))
        bench.step(now)
    assert bench.backlog.failures == ()


def test_a_file_rewritten_after_it_was_measured_is_not_moved(bench):
    """What is moved is what was judged: other bytes under the same name stay in the inbox."""
    bench.arrive("cat/1.jpg", b"judged")
    bench.pipeline.step(0.0)
    (bench.inbox / "cat" / "1.jpg").write_bytes(b"other bytes")
    bench.pipeline.step(0.0)
    assert bench.files() == {"inbox/cat/1.jpg": b"other bytes"}
    assert bench.decisions() == []


def test_sidecars_travel_with_their_image(tmp_path):
    """A label moves to where its image went, under the image's stem, and has no decision of its own."""
    bench = Bench(tmp_path, sidecars=True)
    (bench.accepted / "cat").mkdir()
    (bench.accepted / "cat" / "1.txt").write_bytes(b"old label")
    bench.arrive("cat/1.jpg", b"image")
    (bench.inbox / "cat" / "1.txt").write_bytes(b"label")
    bench.step()
    files = bench.files()
    (image,) = [path for path, data in files.items() if data == b"image"]
    assert files[image.replace(".jpg", ".txt")] == b"label"
    assert files["accepted/cat/1.txt"] == b"old label"
    assert len(bench.decisions()) == 1
    bench.audit.close()


def test_a_label_that_may_have_two_names_is_planned_once(tmp_path):
    """Names that differ by case alone, with one content and one time: on SMB they are one file, which moves once."""
    bench = Bench(tmp_path, sidecars=True)
    bench.arrive("cat/1.jpg", b"image")
    label = bench.inbox / "cat" / "1.txt"
    label.write_bytes(b"label")
    os.link(label, label.with_suffix(".TXT"))
    bench.step()
    filed = [intent.destination_path for file in bench.filed for intent in file.intents]
    assert [os.path.basename(path) for path in filed] == ["1.jpg", "1.txt"]
    assert label.with_suffix(".TXT").exists()
    bench.audit.close()


def test_a_late_sidecar_follows_and_a_lone_one_waits(tmp_path):
    """A label whose image was filed before goes after it; one without an image stays in the inbox."""
    bench = Bench(tmp_path, sidecars=True)
    bench.arrive("cat/bad1.jpg", b"image")
    bench.step()
    bench.arrive("cat/bad1.txt", b"label")
    lone = bench.arrive("cat/lone.txt", b"whose")
    bench.step()
    assert bench.files() == {
        "quarantine/cat/bad1.jpg": b"image",
        "quarantine/cat/bad1.txt": b"label",
        "inbox/cat/lone.txt": b"whose",
    }
    assert bench.backlog.is_set_aside(lone)
    bench.audit.close()


def test_a_file_that_is_looked_at_afresh_is_still_there_to_be_counted(bench):
    """Changed since it was judged, it settles again: `run --once` finds it among what it left."""
    bench.workers.errors["cat/1.jpg"] = ChangedError("changed while it was read")
    bench.arrive("cat/1.jpg", b"1")
    bench.step()
    assert bench.served.inbox.settling == 1
    assert bench.backlog.held == 0


def test_labels_named_after_the_whole_name_travel_too(tmp_path):
    """1.jpg.json and 1.jpg.xmp go with 1.jpg beside 1.json, also when the image gets another name."""
    bench = Bench(tmp_path, sidecars=True)
    (bench.accepted / "cat").mkdir()
    (bench.accepted / "cat" / "1.jpg.json").write_bytes(b"in the way")
    for name in ("1.json", "1.jpg.json", "1.jpg.XMP"):
        path = bench.inbox / "cat" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    bench.arrive("cat/1.jpg", b"image")
    bench.step()
    files = bench.files()
    (stem,) = [path.removesuffix(".jpg") for path, data in files.items() if data == b"image"]
    assert stem != "accepted/cat/1"
    assert {path.removeprefix(stem): data for path, data in files.items() if path.startswith(stem)} == {
        ".jpg": b"image",
        ".json": b"1.json",
        ".jpg.json": b"1.jpg.json",
        ".jpg.XMP": b"1.jpg.XMP",
    }
    assert len(files) == 5
    bench.audit.close()


def test_a_late_label_named_after_the_whole_name_finds_its_image(tmp_path):
    """It follows though the image has its other label already, and a second one of the name waits."""
    bench = Bench(tmp_path, sidecars=True)
    bench.arrive("cat/1.txt", b"label")
    bench.backlog.take()
    bench.arrive("cat/1.jpg", b"image")
    bench.step()
    late = replace(bench.arrive("cat/1.jpg.txt", b"late"), role="sidecar")
    bench.step()
    assert bench.files() == {
        "accepted/cat/1.jpg": b"image",
        "accepted/cat/1.txt": b"label",
        "accepted/cat/1.jpg.txt": b"late",
    }
    bench.arrive("cat/1.jpg.txt", b"again")
    bench.step()
    assert bench.backlog.is_set_aside(late)
    assert bench.files()["inbox/cat/1.jpg.txt"] == b"again"
    bench.audit.close()


def test_a_late_label_finds_its_image_after_a_move_of_the_root(tmp_path):
    """It goes to where its image is by now; one whose image is in no folder in force waits, and says why."""
    first = Bench(tmp_path / "old", sidecars=True)
    for name in ("cat/1.jpg", "cat/bad2.jpg", "cat/3.jpg"):
        first.arrive(name, name.encode())
    first.step()
    first.audit.close()
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new/accepted/cat/3.jpg").unlink()
    bench = Bench(tmp_path / "new", sidecars=True)
    for name in ("cat/1.txt", "cat/bad2.txt"):
        bench.arrive(name, b"label")
    waits = bench.arrive("cat/3.txt", b"label")
    bench.step()
    assert set(bench.files()) == {
        *("accepted/cat/1.jpg", "accepted/cat/1.txt"),
        *("quarantine/cat/bad2.jpg", "quarantine/cat/bad2.txt", "inbox/cat/3.txt"),
    }
    [failure] = bench.backlog.failures
    assert failure.candidate == waits
    assert "the configuration has no folder any more" in failure.error
    bench.audit.close()


def test_a_file_whose_last_move_is_not_settled_waits_alone(bench):
    """It is not judged again before it is known what became of it; others are, and it follows when that is known."""
    bench.arrive("cat/1.jpg", b"1")
    with pytest.MonkeyPatch.context() as crashing:
        _crash(crashing, bench, "after intents")
        with pytest.raises(_CrashError):
            bench.step()
    bench.quarantine.rename(bench.root / "away")
    bench.accepted.rename(bench.root / "gone")
    bench.recovery.begin(bench.audit.unfinished())
    (bench.root / "away").rename(bench.quarantine)
    held_up = bench.arrive("cat/1.jpg", b"1")
    bench.backlog.done(held_up)
    bench.backlog.offer(held_up)
    bench.arrive("cat/bad2.jpg", b"2")
    bench.step()
    assert bench.files() == {"inbox/cat/1.jpg": b"1", "quarantine/cat/bad2.jpg": b"2"}
    assert "an earlier move of it is not settled" in bench.backlog.failures[0].error
    (bench.root / "gone").rename(bench.accepted)
    bench.pipeline.settle_again(0.0)
    bench.backlog.done(held_up)
    bench.backlog.offer(held_up)
    bench.step()
    assert bench.files() == {"accepted/cat/1.jpg": b"1", "quarantine/cat/bad2.jpg": b"2"}
    assert len(bench.decisions()) == 2


@pytest.mark.parametrize(
    "crash_at", ["before intents", "after intents", "second move", "before the proof", "before outcomes"]
)
def test_crash_at_any_step_of_a_group_loses_and_doubles_nothing(tmp_path, monkeypatch, crash_at):
    """Whatever step a crash interrupts, recovery leaves each file in one place, recorded once or to be found again."""
    bench = Bench(tmp_path)
    contents = {f"cat/{number}.jpg": str(number).encode() for number in range(3)}
    for path, data in contents.items():
        bench.arrive(path, data)
    with monkeypatch.context() as crashing:
        _crash(crashing, bench, crash_at)
        with pytest.raises(_CrashError):
            bench.step()
    bench.audit.close()

    again = Bench(tmp_path)
    recover(again.audit, [str(folder) for folder in again.source.folders])
    assert again.audit.unfinished() == []
    assert sorted(again.files().values()) == sorted(contents.values())
    for path in list(again.files()):
        if path.startswith("inbox/"):
            again.arrive(path.removeprefix("inbox/"), again.files()[path])
    again.step()
    assert again.files() == {f"accepted/{path}": data for path, data in contents.items()}
    assert sorted(again.decisions()) == sorted((f"accepted/{path}", "accepted") for path in contents)
    again.audit.close()


def _crash(crashing, bench: Bench, crash_at: str) -> None:
    moves = []
    real_publish, real_record = Move.publish, bench.audit.record_intents

    def record_and_crash(judged):
        real_record(judged)
        raise _CrashError

    def crash_at_second(move):
        moves.append(move)
        if len(moves) == 2:
            raise _CrashError
        real_publish(move)

    if crash_at == "before intents":
        crashing.setattr(bench.audit, "record_intents", _raising(_CrashError()))
    elif crash_at == "after intents":
        crashing.setattr(bench.audit, "record_intents", record_and_crash)
    elif crash_at == "second move":
        crashing.setattr(Move, "publish", crash_at_second)
    elif crash_at == "before the proof":
        crashing.setattr(Move, "confirm", _raising(_CrashError()))
    else:
        crashing.setattr(bench.audit, "record_outcomes", _raising_when_given_any(_CrashError()))


def _raising(error: BaseException):
    def raise_it(*_arguments):
        raise error

    return raise_it


def _raising_when_given_any(error: BaseException):
    def raise_it(outcomes):
        if outcomes:
            raise error

    return raise_it


def test_a_folder_named_like_a_sidecar_is_none(tmp_path):
    """A folder called 1.txt beside 1.jpg neither moves nor hinders the image."""
    bench = Bench(tmp_path, sidecars=True)
    bench.arrive("cat/1.jpg", b"image")
    (bench.inbox / "cat" / "1.txt").mkdir()
    bench.step()
    assert bench.files() == {"accepted/cat/1.jpg": b"image"}
    assert (bench.inbox / "cat" / "1.txt").is_dir()
    bench.audit.close()


def test_a_label_that_comes_before_its_new_image_waits_for_it(tmp_path):
    """An older image of the same name that has its label does not get the label of the next one."""
    bench = Bench(tmp_path, sidecars=True)
    bench.arrive("cat/1.jpg", b"first image")
    (bench.inbox / "cat" / "1.txt").write_bytes(b"first label")
    bench.step()
    bench.arrive("cat/1.txt", b"second label")
    bench.step()
    assert bench.files()["inbox/cat/1.txt"] == b"second label"
    bench.arrive("cat/1.jpg", b"second image")
    bench.step()
    (image,) = [path for path, data in bench.files().items() if data == b"second image"]
    assert bench.files()[image.replace(".jpg", ".txt")] == b"second label"
    bench.audit.close()


def test_a_late_label_that_moves_ends_a_pause(tmp_path):
    """A source that was paused and gets nothing but labels is not called paused for ever."""
    bench = Bench(tmp_path, sidecars=True)
    bench.arrive("cat/1.jpg", b"image")
    bench.step()
    bench.served.pause("no space", 0.0)
    bench.arrive("cat/1.txt", b"label")
    bench.step(now=10.0)
    assert "accepted/cat/1.txt" in bench.files()
    assert bench.served.paused_because == ""
    bench.audit.close()


def test_labels_stay_with_an_image_that_is_put_back(tmp_path, monkeypatch):
    """When the proof of an image's move fails, its label is taken back, too, and neither is recorded as moved."""
    bench = Bench(tmp_path, sidecars=True)
    bench.arrive("cat/1.jpg", b"image")
    (bench.inbox / "cat" / "1.txt").write_bytes(b"label")
    with monkeypatch.context() as writing:
        writing.setattr(mover, "writer_waits", lambda _file: True)
        bench.step()
    assert bench.files() == {"inbox/cat/1.jpg": b"image", "inbox/cat/1.txt": b"label"}
    assert bench.decisions() == []
    assert bench.audit.unfinished() == []
    bench.audit.close()


def test_only_the_state_that_settled_is_judged(bench):
    """A file that was touched between settling and measuring is looked at afresh, without a decision."""
    candidate = bench.arrive("cat/1.jpg", b"1")
    settled = FileIdentity.from_stat((bench.inbox / "cat/1.jpg").stat())
    bench.backlog.done(*bench.backlog.take())
    bench.backlog.offer(replace(candidate, settled=replace(settled, ctime_ns=1)))
    bench.step()
    assert bench.files() == {"inbox/cat/1.jpg": b"1"}
    assert bench.decisions() == []
    bench.backlog.offer(replace(candidate, settled=settled))
    bench.step()
    assert len(bench.decisions()) == 1


def test_a_reading_error_of_the_disk_pauses_the_source_and_lets_others_probe(bench):
    """EIO is no attempt of the file and no verdict; the next file finds out whether the disk works again."""
    bench.workers.errors["cat/bad sector.jpg"] = OSError(5, "Input/output error")
    odd = bench.arrive("cat/bad sector.jpg", b"2")
    bench.step()
    assert "Input/output error" in bench.served.paused_because
    assert bench.backlog.is_set_aside(odd)
    (failure,) = bench.backlog.failures
    assert (failure.attempts, failure.retry_at > bench.served.next_probe()) == (0, True)
    bench.arrive("cat/good.jpg", b"1")
    bench.step(now=failure.retry_at - 0.1)
    assert "accepted/cat/good.jpg" in bench.files()
    assert bench.served.paused_because == ""


class Offering:
    """Gives the pipeline what lies in the inbox, as intake would: the file that was given longest ago comes first."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.line: list[Candidate] = []

    def add(self, *names: str) -> None:
        for name in names:
            (self.bench.inbox / name).write_bytes(name.encode())
            self.line.append(Candidate("default", name))

    def run(self, begin: int, end: int) -> list[str]:
        """Let so many seconds go by; give which of the files are still in the inbox."""
        for quarter in range(begin * 4, end * 4):
            now, backlog = quarter / 4, self.bench.backlog
            list(backlog.take_retries(now))
            free = [one for one in self.line if one not in backlog]
            for one in free[: self.bench.served.room(100, now)]:
                self.line.remove(one)
                self.line.append(one)
                backlog.offer(one)
            self.bench.step(now)
            self.line = [one for one in self.line if (self.bench.inbox / one.relative_path).exists()]
        return sorted(one.relative_path for one in self.line)


def test_a_read_that_hangs_waits_alone_where_others_are_filed_meanwhile(bench):
    """It waits longer each time; its source pauses for as long as that took, and only while nothing else is filed."""
    bench.workers.hanging = {"cat/hung.jpg"}
    hung = bench.arrive("cat/hung.jpg", b"2")
    for begun, pause in ((0.0, 5.0), (100.0, 10.0), (200.0, 20.0)):
        list(bench.backlog.take_retries(begun))
        bench.backlog.offer(hung)
        bench.step(begun)
        bench.arrive(f"cat/{begun:.0f}.jpg", b"%d" % begun)
        bench.step(begun + 1)
        bench.workers.give_up()
        bench.step(begun + 21)
        (failure,) = bench.backlog.failures
        assert (failure.attempts, failure.retry_at, bench.served.paused_because) == (0, begun + 21 + pause, "")
    for begun in (300.0, 400.0, 500.0):
        list(bench.backlog.take_retries(begun))
        bench.backlog.offer(hung)
        bench.step(begun)
        bench.workers.give_up()
        bench.step(begun + 21)
        assert bench.served.next_probe() == begun + 42
        (failure,) = bench.backlog.failures
        assert failure.retry_at >= begun + 42 + 5


def test_many_files_that_cannot_be_read_hold_up_no_others(bench, capsys):
    """A disk with bad sectors: each costs its source a moment, and is asked for ever more rarely."""
    bad, good = [f"bad-{number}.jpg" for number in range(60)], [f"good-{number}.jpg" for number in range(5)]
    inbox = Offering(bench)
    inbox.add(*bad, *good)
    bench.workers.errors = {name: OSError(5, "Input/output error") for name in bad}
    assert inbox.run(0, 30) == sorted(bad)
    assert {failure.attempts for failure in bench.backlog.failures} == {0}
    for minute in range(1, 15):
        inbox.run(minute * 60 - 30, minute * 60)
        inbox.add(f"late-{minute}.jpg")
        assert inbox.run(minute * 60, minute * 60 + 30) == sorted(bad), minute
    assert min(failure.retry_at or 0.0 for failure in bench.backlog.failures) > 900
    told = capsys.readouterr().out
    assert told.count("left in the inbox") == len(bad)
    assert told.count("source paused") < 14, "each moment is told, not only those after which nothing went for long"
    bench.workers.errors = {}
    assert inbox.run(900, 900 + 610) == []


def test_a_name_whose_file_could_be_read_at_last_has_nothing_held_against_it(bench):
    """The same name comes each day, and the disk is away now and then: the file waits no longer for that each time."""
    inbox = Offering(bench)
    for day in range(5):
        inbox.add("1.jpg")
        bench.workers.errors = {"1.jpg": OSError(5, "Input/output error")}
        inbox.run(day * 200, day * 200 + 20)
        bench.workers.errors = {}
        assert inbox.run(day * 200 + 20, day * 200 + 60) == []
        inbox.add(f"other-{day}.jpg")
        assert inbox.run(day * 200 + 60, day * 200 + 80) == []


def test_a_disk_that_gives_no_file_at_all_is_tried_by_one_at_a_time_and_soon_trusted_again(bench, capsys):
    """While it fails no file is blamed for it: all of them are filed within a minute of its end."""
    names = [f"{number}.jpg" for number in range(40)]
    inbox = Offering(bench)
    inbox.add(*names)
    bench.workers.errors = {name: OSError(5, "Input/output error") for name in names}
    assert inbox.run(0, 600) == sorted(names)
    assert bench.served.paused_because == "cannot be read: Input/output error"
    bench.workers.errors = {}
    assert inbox.run(600, 660) == []
    assert bench.served.paused_because == ""
    told = capsys.readouterr().out
    assert [told.count(line) for line in ("source paused", "source resumed", "left in the inbox")] == [1, 1, 0]


def test_a_file_that_may_not_be_read_is_asked_for_again_and_again(bench):
    """A missing permission is never given up on, ever more rarely asked for, quarantines nothing and pauses nobody."""
    bench.workers.errors["cat/1.jpg"] = PermissionError(13, "Permission denied")
    mine = bench.arrive("cat/1.jpg", b"1")
    for now, again_at in pairwise((0, 30, 60, 120, 240, 480, 960, 1560, 2160)):
        list(bench.backlog.take_retries(now))
        bench.backlog.offer(mine)
        bench.step(float(now))
        (failure,) = bench.backlog.failures
        assert (failure.attempts, failure.retry_at) == (0, again_at)
    assert bench.served.paused_because == ""
    del bench.workers.errors["cat/1.jpg"]
    list(bench.backlog.take_retries(2160.0))
    bench.backlog.offer(mine)
    bench.step(2160.0)
    assert bench.files() == {"accepted/cat/1.jpg": b"1"}
    assert bench.backlog.failures == ()


def test_what_was_not_hashed_is_not_filed(bench):
    """A file too large to be read stays, is counted as an attempt with its reason, and pauses nobody."""
    mine = bench.arrive("cat/1.jpg", b"1")
    bench.arrive("cat/2.jpg", b"2")
    bench.workers.unhashed.add("cat/1.jpg")
    bench.step()
    assert bench.files() == {"inbox/cat/1.jpg": b"1", "accepted/cat/2.jpg": b"2"}
    (failure,) = bench.backlog.failures
    assert (failure.candidate, failure.attempts) == (mine, 1)
    assert failure.error == "too_large: 8 TB; it is not read, and stays here"
    assert bench.served.paused_because == ""


@pytest.mark.parametrize("size_bytes", [8 << 40, (16 << 20) + 1], ids=["huge", "too long"])
def test_a_sidecar_is_read_only_within_limits(tmp_path, size_bytes):
    """What claims to be a label of terabytes stays and is told; its image goes without it."""
    bench = Bench(tmp_path, sidecars=True)
    label = bench.arrive("cat/1.txt", b"")
    with (bench.inbox / "cat/1.txt").open("r+b") as file:
        if size_bytes == (16 << 20) + 1:
            file.write(b"x" * size_bytes)
        try:
            file.truncate(size_bytes)
        except OSError as error:
            pytest.skip(f"no such files here: {error.strerror}")
    bench.arrive("cat/1.jpg", b"1")
    bench.step()
    assert (bench.accepted / "cat/1.jpg").exists()
    assert (bench.inbox / "cat/1.txt").exists()
    (failure,) = bench.backlog.failures
    assert (failure.candidate, failure.attempts, failure.error) == (label, 1, "larger than a sidecar may be (16 MB)")
    bench.audit.close()


def test_an_interrupted_call_is_no_attempt(bench):
    """EINTR says nothing about a file: it settles once more."""
    bench.workers.errors["cat/1.jpg"] = InterruptedError(4, "Interrupted system call")
    bench.arrive("cat/1.jpg", b"1")
    bench.step()
    assert bench.backlog.failures == ()
    assert bench.served.paused_because == ""
