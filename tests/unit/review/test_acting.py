"""Release, confirm, reject, approve, undo and purge on real files and a real log."""

import errno
import hashlib
import json
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.audit import database
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.quarantine_queries import reviews_of
from imageguard_daemon.audit.schema import REVIEW_COLUMNS
from imageguard_daemon.config import Source
from imageguard_daemon.core import file_systems
from imageguard_daemon.core.errors import DataError, NoInputError, StalledError, UnavailableError
from imageguard_daemon.core.locks import ActingLock, RootLock
from imageguard_daemon.filing import mounts, renaming
from imageguard_daemon.filing.mounts import MEMORY_FILE
from imageguard_daemon.review import acting as acting_module
from imageguard_daemon.review.acting import approve, confirm, purge, reject, release, undo
from imageguard_daemon.review.values import Reviewer
from tests.helpers.records import UNDECODABLE
from tests.helpers.rejections import ANNA, Rejections

FUSE, EXT4 = 0x65735546, 0xEF53


def view(rejections: Rejections) -> list[dict]:
    """Give the rows of the public view of reviews."""
    connection = sqlite3.connect(rejections.root / "audit.db")
    connection.row_factory = sqlite3.Row
    rows = [dict(row) for row in connection.execute("SELECT * FROM reviews ORDER BY id")]
    connection.close()
    return rows


def test_a_release_goes_where_the_image_would_have_gone_with_its_labels(rejections: Rejections) -> None:
    """Image and labels lie in accepted under their names from the inbox; who and why are in the view."""
    number = rejections.file("cat/1.jpg", b"good after all", labels=[".txt", ".json"])
    [one] = rejections.do(release, number)
    assert (one.done, one.destination, one.detail) == (True, str(rejections.accepted / "cat/1.jpg"), "")
    assert set(rejections.files()) == {"accepted/cat/1.jpg", "accepted/cat/1.txt", "accepted/cat/1.json"}
    [row] = view(rejections)
    assert tuple(row) == REVIEW_COLUMNS
    assert (row["decision_id"], row["action"], row["who"], row["why"]) == (number, "release", "anna", "looked at it")
    assert (row["destination"], row["undoes"], row["profile"]) == ("accepted/cat/1.jpg", None, None)
    assert rejections.wrong() == []


def test_images_of_any_size_are_released(rejections: Rejections) -> None:
    """What is bounded for labels, which a daemon reads by the way, is not for images."""
    number = rejections.file("cat/1.tif", bytes(17 << 20))
    [one] = rejections.do(release, number)
    assert (one.done, one.detail) == (True, "")


def test_decisions_stay_one_row_per_file(rejections: Rejections) -> None:
    """A release and its undo add nothing to the view `decisions`, whose destination is where the daemon filed it."""
    number = rejections.file("cat/1.jpg")
    rejections.do(release, number)
    rejections.do(undo, number)
    connection = sqlite3.connect(rejections.root / "audit.db")
    rows = connection.execute("SELECT id, destination FROM decisions").fetchall()
    connection.close()
    assert rows == [(number, "quarantine/cat/1.jpg")]


def test_a_name_that_is_taken_is_never_overwritten(rejections: Rejections) -> None:
    """Another image, or only a label, of that name in accepted: the released ones share a name of their own."""
    number = rejections.file("cat/1.jpg", b"image", labels=[".txt"])
    (rejections.accepted / "cat").mkdir()
    (rejections.accepted / "cat/1.txt").write_bytes(b"somebody's")
    [one] = rejections.do(release, number)
    image = Path(one.destination)
    assert image.name.startswith("1.")
    assert image.read_bytes() == b"image"
    assert image.with_suffix(".txt").read_bytes() == b"label 1"
    assert (rejections.accepted / "cat/1.txt").read_bytes() == b"somebody's"


def test_a_name_taken_at_the_last_moment_is_chosen_anew(
    rejections: Rejections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes the name between plan and move: the image gets another one, in the same command."""
    number = rejections.file("cat/1.jpg", b"image")
    record = acting_module.ReviewWriter.record_reviews

    def taken_meanwhile(self, planned):
        (rejections.accepted / "cat").mkdir(exist_ok=True)
        (rejections.accepted / "cat/1.jpg").write_bytes(b"somebody's")
        return record(self, planned)

    monkeypatch.setattr(acting_module.ReviewWriter, "record_reviews", taken_meanwhile)
    [one] = rejections.do(release, number)
    assert one.done
    assert one.destination != str(rejections.accepted / "cat/1.jpg")
    assert (rejections.accepted / "cat/1.jpg").read_bytes() == b"somebody's"
    assert len(view(rejections)) == 1  # the first try took no effect


def test_undo_brings_a_release_back_to_where_it_was(rejections: Rejections) -> None:
    """Image and labels return to their place in quarantine, and the image waits again."""
    number = rejections.file("cat/1.jpg", labels=[".txt"])
    before = rejections.files()
    rejections.do(release, number)
    [one] = rejections.do(undo, number)
    assert (one.done, rejections.files()) == (True, before)
    assert [(row["action"], row["undoes"]) for row in view(rejections)] == [("release", None), ("undo", 1)]
    assert rejections.do(release, number)[0].done
    assert rejections.wrong() == []


def test_undo_of_a_confirmation_makes_an_image_wait_again(rejections: Rejections) -> None:
    """What was confirmed by mistake can be undone, and then is not purged."""
    number = rejections.file("cat/1.jpg")
    rejections.do(confirm, number)
    assert rejections.do(undo, number)[0].done
    assert not rejections.do(purge, number)[0].done
    assert list(rejections.files()) == ["quarantine/cat/1.jpg"]


def test_a_purge_deletes_a_confirmed_image_with_its_labels_and_keeps_the_record(rejections: Rejections) -> None:
    """The files are gone, the record says who, and `verify` misses nothing."""
    number, other = rejections.file("cat/1.jpg", labels=[".txt"]), rejections.file("cat/2.jpg", labels=[".txt"])
    rejections.do(confirm, number)
    results = rejections.do(purge, number, other)
    assert [one.done for one in results] == [True, False]
    assert "only confirmed" in results[1].detail
    assert set(rejections.files()) == {"quarantine/cat/2.jpg", "quarantine/cat/2.txt"}
    assert rejections.wrong() == []
    assert [row["action"] for row in view(rejections)] == ["confirm", "purge"]
    assert not rejections.do(undo, number)[0].done


def test_a_person_rejects_an_accepted_image_with_its_labels(rejections: Rejections) -> None:
    """They lie in quarantine under their names from the inbox, and undone they are back where they were."""
    rejections.file("cat/1.jpg", b"rejected by the daemon")
    number = rejections.file("cat/2.jpg", b"bad after all", labels=[".txt", ".json"], ok=True)
    before = rejections.files()
    [one] = rejections.do(reject, number)
    assert (one.done, one.destination, one.detail) == (True, str(rejections.quarantine / "cat/2.jpg"), "")
    assert set(rejections.files()) == {f"quarantine/cat/{name}" for name in ("1.jpg", "2.jpg", "2.txt", "2.json")}
    assert rejections.wrong() == []
    [back] = rejections.do(undo, number)
    assert (back.done, back.destination, rejections.files()) == (True, str(rejections.accepted / "cat/2.jpg"), before)
    [rejected, undone] = view(rejections)
    assert (rejected["action"], rejected["who"], rejected["destination"]) == ("reject", "anna", "quarantine/cat/2.jpg")
    assert (undone["action"], undone["undoes"], undone["destination"]) == ("undo", rejected["id"], "accepted/cat/2.jpg")
    assert rejections.do(reject, number)[0].done
    assert rejections.wrong() == []


def test_to_release_what_a_person_rejected_is_recorded_as_an_undo(rejections: Rejections) -> None:
    """The file is back, and the image is accepted as if nothing had been said."""
    number = rejections.file("cat/1.jpg", ok=True)
    rejections.do(reject, number)
    [one] = rejections.do(release, number)
    assert (one.done, one.action, list(rejections.files())) == (True, "undo", ["accepted/cat/1.jpg"])
    assert rejections.do(undo, number)[0].detail == "has no review to undo"


def test_a_rejection_by_a_person_overwrites_nothing_in_quarantine(rejections: Rejections) -> None:
    """Another image of that name lies there: the new one gets a part of its hash into its name."""
    number = rejections.file("cat/1.jpg", b"image", ok=True)
    (rejections.quarantine / "cat").mkdir()
    (rejections.quarantine / "cat/1.jpg").write_bytes(b"somebody's")
    [one] = rejections.do(reject, number)
    assert Path(one.destination).read_bytes() == b"image"
    assert (rejections.quarantine / "cat/1.jpg").read_bytes() == b"somebody's"
    assert rejections.do(undo, number)[0].destination == str(rejections.accepted / "cat/1.jpg")


def test_an_approval_is_a_word_that_can_be_taken_back_or_overruled(rejections: Rejections) -> None:
    """Nothing moves; an approved image can still be rejected, and is never purged."""
    number = rejections.file("cat/1.jpg", ok=True)
    assert rejections.do(approve, number)[0].done
    assert rejections.do(approve, number)[0].detail == "is approved already"
    assert rejections.do(purge, number)[0].detail == "is accepted"
    assert rejections.do(undo, number)[0].done
    rejections.do(approve, number)
    assert list(rejections.files()) == ["accepted/cat/1.jpg"]
    assert rejections.do(reject, number)[0].done
    assert list(rejections.files()) == ["quarantine/cat/1.jpg"]


def test_what_a_person_rejected_can_be_purged(rejections: Rejections) -> None:
    """It takes no confirmation; the record stays, and nothing brings the file back."""
    number = rejections.file("cat/1.jpg", labels=[".txt"], ok=True)
    rejections.do(reject, number)
    assert rejections.do(purge, number)[0].done
    assert rejections.files() == {}
    assert rejections.wrong() == []
    assert rejections.do(undo, number)[0].detail == "was purged; it cannot be restored"


def test_a_person_can_only_reject_what_is_accepted(rejections: Rejections) -> None:
    """What the daemon rejected is refused, also when a review released it, and told what to do."""
    waiting, released = rejections.file("cat/1.jpg"), rejections.file("cat/2.jpg")
    rejections.do(release, released)
    results = [one.detail for one in rejections.do(reject, waiting, released)]
    assert results == ["is rejected already", "was rejected by the daemon and released by a review; undo that"]


@pytest.mark.parametrize(("function", "ok"), [(release, False), (purge, False), (reject, True)])
@pytest.mark.parametrize("disturb", ["changed", "gone", "link", "folder"])
def test_only_the_file_that_was_judged_is_moved_or_deleted(
    rejections: Rejections, function, ok: bool, disturb: str
) -> None:
    """A file that vanished or changed since is refused, the next one is done, and nothing foreign is touched."""
    first, second = rejections.file("cat/1.jpg", ok=ok), rejections.file("cat/2.jpg", ok=ok)
    rejections.do(confirm, first, second)
    path = (rejections.accepted if ok else rejections.quarantine) / "cat/1.jpg"
    path.unlink()
    if disturb == "changed":
        path.write_bytes(b"other")
    elif disturb == "link":
        path.symlink_to(rejections.root / "audit.db")
    elif disturb == "folder":
        path.mkdir()
    results = rejections.do(function, first, second)
    assert [one.done for one in results] == [False, True]
    assert "verify" in results[0].detail
    assert os.path.lexists(path) == (disturb != "gone")


def test_a_file_swapped_at_the_last_moment_is_not_deleted(
    rejections: Rejections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came to bear the name after it was looked at gets its name back."""
    number = rejections.file("cat/1.jpg")
    rejections.do(confirm, number)
    path = rejections.quarantine / "cat/1.jpg"
    set_aside = renaming.set_aside

    def swapped(*args: object) -> None:
        path.unlink()
        path.write_bytes(b"just put there")
        set_aside(*args)

    monkeypatch.setattr(renaming, "set_aside", swapped)
    [one] = rejections.do(purge, number)
    assert not one.done
    assert path.read_bytes() == b"just put there"
    assert [row["action"] for row in view(rejections)] == ["confirm"]


@pytest.mark.parametrize("name", ["1.jpg", "1.txt"])
def test_what_is_open_for_writing_is_not_deleted(rejections: Rejections, name: str) -> None:
    """Somebody is about to change it: it keeps its name, and that is told; with an image its labels stay."""
    number = rejections.file("cat/1.jpg", labels=[".txt"])
    rejections.do(confirm, number)
    with (rejections.quarantine / "cat" / name).open("ab"):
        [one] = rejections.do(purge, number)
    assert one.done == (name == "1.txt")
    assert "is open for writing" in one.detail
    assert set(rejections.files()) == {"quarantine/cat/1.txt", *([] if one.done else ["quarantine/cat/1.jpg"])}
    assert rejections.wrong() == []


@pytest.mark.parametrize(
    ("kind", "meanwhile", "goes"),
    [(FUSE, b"judged", True), (FUSE, b"others", False), (FUSE, b"longer than it", False), (EXT4, b"judged", False)],
)
def test_a_file_that_is_numbered_anew_is_purged_by_its_bytes(
    rejections: Rejections, monkeypatch: pytest.MonkeyPatch, kind: int, meanwhile: bytes, goes: bool
) -> None:
    """Behind FUSE another number proves nothing: the judged bytes go, others are kept, whatever they look like."""
    number = rejections.file("cat/1.jpg", b"judged")
    rejections.do(confirm, number)
    path = rejections.quarantine / "cat/1.jpg"
    mtime_ns = path.stat().st_mtime_ns

    def renumber() -> None:
        if path.exists():
            other = path.with_name("other")
            other.write_bytes(meanwhile)
            os.utime(other, ns=(mtime_ns, mtime_ns))
            other.rename(path)

    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: kind)
    monkeypatch.setattr(acting_module.ReviewWriter, "record_reviews", _meanwhile(renumber))
    [one] = rejections.do(purge, number)
    assert (one.done, one.detail) == ((True, "") if goes else (False, "changed after it was looked at"))
    assert rejections.files() == ({} if goes else {"quarantine/cat/1.jpg": meanwhile})


def test_a_label_that_changed_stays_behind_and_is_told(rejections: Rejections) -> None:
    """The image is released all the same, and never is a label deleted that is not the recorded one."""
    number, other = (rejections.file(f"cat/{n}.jpg", labels=[".txt"]) for n in (1, 2))
    for n in (1, 2):
        (rejections.quarantine / f"cat/{n}.txt").write_bytes(b"edited by hand")
    [one] = rejections.do(release, number)
    assert one.done
    assert "left behind" in one.detail
    rejections.do(confirm, other)
    assert rejections.do(purge, other)[0].done
    assert (rejections.quarantine / "cat/2.txt").read_bytes() == b"edited by hand"


@pytest.mark.parametrize("action", [release, reject, purge])
def test_a_label_that_cannot_follow_at_the_last_moment_is_told(
    rejections: Rejections, monkeypatch: pytest.MonkeyPatch, action
) -> None:
    """Somebody edits it between plan and move: the image goes, the label stays as it is, and the result says so."""
    number = rejections.file("cat/1.jpg", labels=[".txt", ".json"], ok=action is reject)
    label = (rejections.accepted if action is reject else rejections.quarantine) / "cat/1.txt"
    if action is purge:
        rejections.do(confirm, number)
    with monkeypatch.context() as patched:
        patched.setattr(acting_module.ReviewWriter, "record_reviews", _meanwhile(label.write_bytes, b"edited"))
        [one] = rejections.do(action, number)
    assert one.done
    assert one.detail.startswith(f"left behind: {label} changed after it was ")
    assert label.read_bytes() == b"edited"


def test_a_label_that_was_left_behind_has_its_image_back_after_an_undo(
    rejections: Rejections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is where it belongs already, so that nothing is in the way of the image's own name."""
    number = rejections.file("cat/1.jpg", labels=[".txt", ".json"])
    before = rejections.files()
    label = rejections.quarantine / "cat/1.txt"
    with monkeypatch.context() as patched:
        patched.setattr(acting_module.ReviewWriter, "record_reviews", _meanwhile(label.touch))
        assert "left behind" in rejections.do(release, number)[0].detail
    [one] = rejections.do(undo, number)
    assert (one.done, one.detail) == (True, "")
    assert rejections.files() == before
    assert rejections.wrong() == []


def _meanwhile(function, *arguments):
    """Give `record_reviews` with something that happens just before it."""
    record = acting_module.ReviewWriter.record_reviews

    def recording(self, planned):
        function(*arguments)
        return record(self, planned)

    return recording


def test_what_was_moved_by_hand_to_where_it_is_to_go_keeps_its_name(rejections: Rejections) -> None:
    """The review is recorded, nothing moves; an undo brings image and label to quarantine."""
    number = rejections.file("cat/1.jpg", labels=[".txt"])
    before = rejections.files()
    (rejections.quarantine / "cat").rename(rejections.accepted / "cat")
    found = ((1, "cat/1.jpg"), (2, "cat/1.txt"))
    rejections.audit.record_relocations(
        [
            (intent_id, str(rejections.accepted / name), hashlib.sha256(before[f"quarantine/{name}"]).hexdigest(), 7)
            for intent_id, name in found
        ]
    )
    [one] = rejections.do(release, number)
    assert (one.done, one.destination) == (True, "")
    assert set(rejections.files()) == {"accepted/cat/1.jpg", "accepted/cat/1.txt"}
    assert [(row["action"], row["destination"]) for row in view(rejections)] == [("release", "")]
    assert rejections.wrong() == []
    assert rejections.do(undo, number)[0].done
    assert rejections.files() == before
    assert rejections.wrong() == []


def test_hostile_names_are_released_byte_for_byte(rejections: Rejections) -> None:
    """Invalid UTF-8 and control characters come through a release and its undo."""
    number = rejections.file(f"cat/{UNDECODABLE}", b"image")
    assert rejections.do(release, number)[0].done
    assert (rejections.accepted / "cat" / UNDECODABLE).read_bytes() == b"image"
    assert rejections.do(undo, number)[0].done
    assert (rejections.quarantine / "cat" / UNDECODABLE).read_bytes() == b"image"
    assert rejections.wrong() == []


def test_what_makes_no_sense_is_told_of_each(rejections: Rejections) -> None:
    """Unknown numbers, accepted images and repeated releases are refused one by one, in the order asked for."""
    rejected, accepted = rejections.file("cat/1.jpg"), rejections.file("cat/2.jpg", ok=True)
    results = rejections.do(release, 99, accepted, rejected)
    assert [(one.decision_id, one.done) for one in results] == [(99, False), (accepted, False), (rejected, True)]
    assert rejections.do(release, rejected)[0].detail == "is released already"
    assert rejections.do(confirm, rejected)[0].detail == "is released; undo that first"


def test_an_image_named_twice_is_done_once(rejections: Rejections) -> None:
    """The second time there is nothing left to do."""
    number = rejections.file("cat/1.jpg")
    assert [one.done for one in rejections.do(release, number, number)] == [True]


def test_a_source_that_is_not_configured_any_more_is_told(rejections: Rejections) -> None:
    """Nobody guesses where the images of a removed source would have gone."""
    number = rejections.file("cat/1.jpg")
    other = Source(name="other").model_copy(update={"inbox": rejections.root / "else"})
    rejections.settings = rejections.settings.model_copy(update={"sources": (other,)})
    assert "source 'default'" in rejections.do(release, number)[0].detail


def test_a_root_reached_through_a_link_is_the_same_root(rejections: Rejections, tmp_path: Path) -> None:
    """The daemon knew the root by one name, the command by another."""
    number = rejections.file("cat/1.jpg")
    link = tmp_path / "link"
    link.symlink_to(rejections.root)
    settings = acting_module.Settings.model_validate(rejections.settings.model_dump() | {"root": link})
    rejections.settings = settings.model_copy(update={"sources": (Source(),)}).anchored(tmp_path)
    assert rejections.do(release, number)[0].done
    assert list(rejections.files()) == ["accepted/cat/1.jpg"]


def test_many_images_are_done_in_groups_and_in_order(rejections: Rejections) -> None:
    """More than one group: every image once, in the order asked for."""
    numbers = [rejections.file(f"cat/{n}.jpg") for n in range(acting_module.GROUP_SIZE + 5)]
    results = rejections.do(release, *numbers[::-1])
    assert [one.decision_id for one in results] == numbers[::-1]
    assert all(one.done for one in results)
    assert rejections.wrong() == []


def test_what_an_earlier_command_left_is_finished_first(rejections: Rejections) -> None:
    """It was killed after a move, before the outcome: the next one records that, and undoes it on demand."""
    number = rejections.file("cat/1.jpg", labels=[".txt"])
    before = rejections.files()
    _die_after_moving(rejections, number)
    [one] = rejections.do(undo, number)
    assert (one.done, one.detail, rejections.files()) == (True, "", before)
    assert [row["action"] for row in view(rejections)] == ["release", "undo"]
    assert rejections.wrong() == []


def test_an_image_whose_last_review_cannot_be_settled_is_left_alone(
    rejections: Rejections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its files are is not known for now: nothing is said of it, and nothing moved or deleted."""
    number = rejections.file("cat/1.jpg")
    _die_after_moving(rejections, number)
    monkeypatch.setattr(acting_module.Recovery, "begin", lambda _self, _unfinished: [])
    for action in (release, confirm, reject, approve):
        assert rejections.do(action, number)[0].detail in {"is being acted on", "is rejected already"}
    assert view(rejections) == []


def _die_after_moving(rejections: Rejections, number: int) -> None:
    """Release an image as a command does that is killed before it records what became of its files."""

    def killed(_self, _outcomes):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(acting_module.ReviewWriter, "record_outcomes", killed)
        with pytest.raises(KeyboardInterrupt):
            rejections.do(release, number)


def test_who_goes_round_the_lock_is_noticed_before_anything_moves(
    rejections: Rejections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command on another root with the same log acts on the image between plan and record: this one gives up."""
    number = rejections.file("cat/1.jpg")
    before = rejections.files()
    record = acting_module.ReviewWriter.record_reviews

    def acted_on_meanwhile(self, planned):
        other = acting_module.ReviewWriter(rejections.root / "audit.db", rejections.root)
        record(other, [replace(planned[0], action="confirm", intents=())])
        other.close()
        return record(self, planned)

    monkeypatch.setattr(acting_module.ReviewWriter, "record_reviews", acted_on_meanwhile)
    with pytest.raises(DataError, match="by somebody else"):
        rejections.do(release, number)
    assert rejections.files() == before
    assert [row["action"] for row in view(rejections)] == ["confirm"]


def test_nothing_happens_before_the_results_are_asked_for(rejections: Rejections) -> None:
    """A caller may stop between groups, and what it did not ask for is not done."""
    number = rejections.file("cat/1.jpg")
    with rejections.acting() as acting:
        release(acting, [number], ANNA)
    assert list(rejections.files()) == ["quarantine/cat/1.jpg"]


def test_the_files_can_be_acted_on_beside_a_daemon_and_its_writer(rejections: Rejections) -> None:
    """Two writers take turns: a daemon files, a command releases, the daemon files again, and the chain holds."""
    rejections.settings.state_folder.mkdir()
    lock = RootLock(rejections.settings.state_folder)
    first = rejections.file("cat/1.jpg")
    with rejections.acting() as acting:
        assert next(release(acting, [first], ANNA)).done
        second = rejections.file("cat/2.jpg")
        assert next(release(acting, [second], ANNA)).done
        rejections.file("cat/3.jpg")
    assert rejections.wrong() == []
    lock.release()


def test_a_log_that_is_not_up_to_date_is_not_changed_under_a_daemon(rejections: Rejections) -> None:
    """A daemon of an older version has the log: the command says to restart it."""
    rejections.file("cat/1.jpg")
    connection = sqlite3.connect(rejections.root / "audit.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = '0004'")
    connection.close()
    rejections.settings.state_folder.mkdir()
    lock = RootLock(rejections.settings.state_folder)
    with pytest.raises(UnavailableError, match="older version"):
        rejections.do(release, 1)
    lock.release()


def test_one_command_at_a_time_acts(rejections: Rejections, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another command is at work this one waits for a while, then gives up with nothing done."""
    number = rejections.file("cat/1.jpg")
    with rejections.acting() as acting:
        monkeypatch.setattr(acting.lock, "held", lambda: ActingLock.held(acting.lock, timeout_seconds=0.01))
        with ActingLock(rejections.settings.state_folder).held():
            assert acting.lock.is_held()
            with pytest.raises(StalledError, match="another command"):
                list(release(acting, [number], ANNA))
        assert list(rejections.files()) == ["quarantine/cat/1.jpg"]
        assert next(release(acting, [number], ANNA)).done
        assert not acting.lock.is_held()


def test_a_locked_log_leaves_everything_as_it_was(rejections: Rejections, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record, no move."""
    number = rejections.file("cat/1.jpg")
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 10)
    with rejections.acting() as acting:
        other = sqlite3.connect(rejections.root / "audit.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StalledError, match="locked"):
            list(release(acting, [number], ANNA))
        other.close()
        assert list(rejections.files()) == ["quarantine/cat/1.jpg"]
        assert next(release(acting, [number], ANNA)).done


def test_a_full_disk_leaves_the_image_in_quarantine_and_ends_the_command(
    rejections: Rejections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first group is told, its images stay, and the error says why there is no second one."""
    numbers = [rejections.file(f"cat/{n}.jpg") for n in range(2)]
    rename = renaming.rename

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(renaming, "rename", full)
    with rejections.acting() as acting:
        told = release(acting, numbers, ANNA)
        results = [next(told), next(told)]
        with pytest.raises(StalledError, match="No space"):
            next(told)
    assert [one.done for one in results] == [False, False]
    monkeypatch.setattr(renaming, "rename", rename)
    assert all(one.done for one in rejections.do(release, *numbers))
    assert rejections.wrong() == []


def test_without_a_log_nothing_is_begun(rejections: Rejections) -> None:
    """A mistyped root gets no new log."""
    rejections.close()
    (rejections.root / "audit.db").unlink()
    with pytest.raises(NoInputError):
        rejections.do(release, 1)
    assert not (rejections.root / "audit.db").exists()


@pytest.mark.parametrize("function", [release, confirm, purge])
def test_without_a_disk_that_was_there_nothing_is_said_or_done(rejections: Rejections, function) -> None:
    """The folder below a lost mount is not the destination: nothing is moved into it, deleted or recorded."""
    number = rejections.file("cat/1.jpg")
    rejections.do(confirm, number)
    before, said = rejections.files(), view(rejections)
    memory = rejections.settings.state_folder / MEMORY_FILE
    mounts.remember_disks(rejections.settings.state_folder, [str(rejections.accepted)])
    places = json.loads(memory.read_text())
    places[str(rejections.accepted)] |= {"origin": str(rejections.accepted), "disk": ""}
    memory.write_text(json.dumps(places))
    with pytest.raises(StalledError, match="accepted was on"):
        rejections.do(function, number)
    assert (rejections.files(), view(rejections)) == (before, said)
    memory.unlink()
    assert rejections.do(release, number)[0].done


def test_the_history_of_an_image_can_be_read(rejections: Rejections) -> None:
    """Everything that was said and done, in its order, with who did it."""
    number = rejections.file("cat/1.jpg")
    for function, who in ((release, "anna"), (undo, "ben"), (confirm, "ben\x1b[31m")):
        rejections.do(function, number, reviewer=Reviewer(who))
    with open_log(rejections.root / "audit.db") as log:
        told = [(one.action, one.who) for one in reviews_of(log, number)]
    assert told == [("release", "anna"), ("undo", "ben"), ("confirm", r"ben\u001b[31m")]
