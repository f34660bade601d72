"""What others do to a file while it moves."""

import errno
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from imageguard_daemon.core import file_systems
from imageguard_daemon.core.errors import ChangedError, DataError, RetryableError, StalledError, StorageError
from imageguard_daemon.core.model import FileIdentity
from imageguard_daemon.core.regular_files import Writers, ask, writer_waits
from imageguard_daemon.filing import folders, mover, renaming
from tests.helpers.moving import carry_out, refusing
from tests.helpers.records import recorded


@pytest.mark.parametrize("change", ["written", "replaced", "vanished", "touched"])
def test_only_the_file_that_was_judged_moves(inbox: Path, accepted: Path, change: str) -> None:
    """A file that changed, was replaced or went since it was judged stays for another look."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    one = recorded(source, accepted / "1.jpg")
    if change == "written":
        source.write_bytes(b"others")
    elif change == "replaced":
        (inbox / ".1.jpg.Xa3f9Q").write_bytes(b"judged")
        (inbox / ".1.jpg.Xa3f9Q").rename(source)
    elif change == "vanished":
        source.unlink()
    else:
        os.utime(source)
    with pytest.raises(ChangedError):
        carry_out(one)
    assert os.listdir(accepted) == []
    assert source.exists() == (change != "vanished")


def test_a_file_that_is_being_written_stays(inbox: Path, accepted: Path) -> None:
    """A writer that came back after the judgement keeps its file."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    if ask(str(source)).writers is Writers.unknown:
        pytest.skip("the file system of the temporary folder grants no leases")
    with source.open("ab"), pytest.raises(ChangedError, match="being written"):
        carry_out(recorded(source, accepted / "1.jpg"))
    assert os.listdir(accepted) == []


@pytest.mark.parametrize("magic", [None, 0x65735546], ids=["local", "FUSE"])
def test_an_upload_that_begins_during_the_move_is_not_lost(
    inbox: Path, accepted: Path, way: str, monkeypatch: pytest.MonkeyPatch, magic: int | None
) -> None:
    """Who opens the old name while it moves writes into the file in the inbox, and what was judged is not rewritten."""
    if way == "copy and link":
        pytest.skip("the faked file system cannot rename back and forth")
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    if ask(str(source)).writers is Writers.unknown:
        pytest.skip("the file system of the temporary folder grants no leases")
    if magic:
        monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: magic)
    uploader = threading.Thread(target=lambda: source.write_bytes(b"a new upload"))

    def sync_while_the_uploader_waits(descriptor: int, _what: str) -> None:
        if not uploader.ident:
            uploader.start()
            deadline = time.monotonic() + 60
            while not writer_waits(descriptor) and time.monotonic() < deadline:
                time.sleep(0.001)

    monkeypatch.setattr(folders, "sync", sync_while_the_uploader_waits)
    with pytest.raises(ChangedError):
        carry_out(recorded(source, accepted / "1.jpg"))
    uploader.join()
    assert source.read_bytes() == b"a new upload"
    assert os.listdir(accepted) == []


def test_a_file_that_is_taken_on_while_its_bytes_are_asked_for_is_no_disks_failure(
    inbox: Path, accepted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits at the destination is quick: where names make the inode number, its bytes are out of reach."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")

    def taken_on(_move: object, name: tuple[int, str], _status: object) -> bool:
        os.unlink(name[1], dir_fd=name[0])
        os.open(name[1], os.O_RDONLY, dir_fd=name[0])
        return True

    monkeypatch.setattr(mover.Move, "_bears_judged", taken_on)
    with suppress(ChangedError):  # by links it is still in the inbox
        carry_out(recorded(source, accepted / "1.jpg"))


def test_a_temporary_that_cannot_be_removed_hinders_no_move(
    inbox: Path, other_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the copy bears its name nothing that fails makes it a second copy."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    real = os.unlink

    def unlink(name: str, **options: int) -> None:
        if name.endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        real(name, **options)

    monkeypatch.setattr(mover.os, "unlink", unlink)
    carry_out(recorded(source, other_device / "1.jpg"))
    assert os.listdir(other_device) == ["1.jpg"]
    assert not source.exists()


def test_a_copy_that_cannot_be_taken_back_is_left_to_recovery(
    inbox: Path, other_device: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When neither source nor copy can be removed the daemon stops with the intent open: no copy is forgotten."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")

    def unlink(_name: str, **_options: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(mover.os, "unlink", unlink)
    with pytest.raises(StorageError):
        carry_out(recorded(source, other_device / "1.jpg"))


def test_a_link_in_place_of_the_file_is_not_followed(inbox: Path, accepted: Path, tmp_path: Path) -> None:
    """A sender who swaps the judged file for a link to a secret gets nothing moved."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    one = recorded(source, accepted / "1.jpg")
    source.rename(tmp_path / "secret.jpg")
    source.symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(RetryableError):
        carry_out(one)
    assert os.listdir(accepted) == []
    assert (tmp_path / "secret.jpg").exists()


def _swap_before(monkeypatch: pytest.MonkeyPatch, module: object, name: str, source: Path) -> None:
    """Let a new upload take the name in the moment before a call."""
    real = getattr(module, name)

    def call(*args: object, **kwargs: object) -> object:
        monkeypatch.setattr(module, name, real)
        (source.parent / ".new").write_bytes(b"new upload")
        (source.parent / ".new").rename(source)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, call)


def test_a_new_upload_during_the_move_is_never_lost(
    inbox: Path, accepted: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that takes the name over while the old file moves is in the inbox afterwards, whichever way it went."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    one = recorded(source, accepted / "1.jpg")
    before = {"rename": "rename", "link": "link"}.get(way, "set_aside")
    _swap_before(monkeypatch, renaming, before, source)
    try:
        carry_out(one)
    except ChangedError:
        assert os.listdir(accepted) == []
    else:
        assert (accepted / "1.jpg").read_bytes() == b"judged"
    assert source.read_bytes() == b"new upload"


def test_a_source_that_cannot_be_removed_leaves_no_copy_behind(
    inbox: Path, accepted: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the inbox may only be read, a file does not pile up copies at the destination."""
    if way == "rename":
        pytest.skip("a rename does both at once")
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    monkeypatch.setattr(renaming, "set_aside", refusing(errno.EACCES))
    with pytest.raises(RetryableError, match="Permission denied"):
        carry_out(recorded(source, accepted / "1.jpg"))
    monkeypatch.undo()
    assert os.listdir(accepted) == []
    assert source.exists()


def _move_another_file(monkeypatch: pytest.MonkeyPatch, source: Path, then: Callable[[], object]) -> None:
    """Let a second upload take the name before the rename, and something happen after it."""
    real = renaming.rename

    def rename(*args: object) -> None:
        monkeypatch.setattr(renaming, "rename", real)
        source.unlink()
        source.write_bytes(b"second")
        real(*args)  # type: ignore[arg-type]
        then()

    monkeypatch.setattr(renaming, "rename", rename)


def test_a_foreign_file_whose_name_is_taken_gets_one_that_tells_it_apart(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another file moved and its old name is taken too, both are in the inbox afterwards."""
    (tmp_path / "accepted").mkdir()
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    one = recorded(source, tmp_path / "accepted/1.jpg")
    _move_another_file(monkeypatch, source, lambda: source.write_bytes(b"third"))
    with pytest.raises(ChangedError):
        carry_out(one)
    assert sorted(path.read_bytes() for path in inbox.iterdir()) == [b"second", b"third"]
    assert source.read_bytes() == b"third"
    assert os.listdir(tmp_path / "accepted") == []


def test_a_foreign_file_that_cannot_be_put_back_stops_everything(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another file moved and the disk refuses to give it back, a person has to look."""
    (tmp_path / "accepted").mkdir()
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    one = recorded(source, tmp_path / "accepted/1.jpg")
    refusal = refusing(errno.EROFS)
    _move_another_file(monkeypatch, source, lambda: monkeypatch.setattr(renaming, "rename", refusal))
    with pytest.raises(DataError, match="cannot be put back"):
        carry_out(one)
    assert (tmp_path / "accepted/1.jpg").read_bytes() == b"second"


def test_a_file_with_a_further_name_is_copied(inbox: Path, tmp_path: Path) -> None:
    """What is published cannot be rewritten through another name of the upload, and that name keeps its file."""
    (tmp_path / "accepted").mkdir()
    (inbox / "1.jpg").write_bytes(b"judged")
    os.link(inbox / "1.jpg", tmp_path / "other name")
    carry_out(recorded(inbox / "1.jpg", tmp_path / "accepted/1.jpg"))
    (tmp_path / "other name").write_bytes(b"rewritten")
    assert (tmp_path / "accepted/1.jpg").read_bytes() == b"judged"
    assert os.listdir(inbox) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EIO])
def test_an_upload_during_the_move_is_not_lost_where_names_cannot_be_given_safely(
    inbox: Path, other_device: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """On exfat and rclone there is no safe rename and no link: what was set aside gets a name back all the same."""
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    one = recorded(source, other_device / "1.jpg")
    real_rename, real_link = renaming.rename, os.link

    def rename(source_folder: int, *names: object) -> None:
        if os.fstat(source_folder).st_dev == inbox.stat().st_dev:
            refusing(errno.EINVAL if names[1:2] == (source_folder,) else errno.EXDEV)()
        real_rename(source_folder, *names)  # type: ignore[arg-type]

    def link(name: str, *names: object, src_dir_fd: int, **options: object) -> None:
        if os.fstat(src_dir_fd).st_dev == inbox.stat().st_dev:
            refusing(number)()
        real_link(name, *names, src_dir_fd=src_dir_fd, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(renaming, "rename", rename)
    monkeypatch.setattr(os, "link", link)
    _swap_before(monkeypatch, renaming, "set_aside", source)
    carry_out(one)
    assert [path.read_bytes() for path in inbox.iterdir()] == [b"new upload"]
    assert source.exists()
    assert (other_device / "1.jpg").read_bytes() == b"judged"


@pytest.mark.parametrize(("content", "moves"), [(b"judged", True), (b"others", False)])
def test_a_file_that_is_numbered_by_its_name_is_known_by_its_bytes(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, moves: bool
) -> None:
    """On mergerfs and sshfs a second name has a number of its own: what it leads to is read, and only that counts."""
    (tmp_path / "accepted").mkdir()
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    mtime_ns = source.stat().st_mtime_ns

    def link(_source_folder: int, _source: str, target_folder: int, target: str) -> None:
        with open(os.open(target, os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=target_folder), "wb") as file:
            file.write(content)
        os.utime(target, ns=(mtime_ns, mtime_ns), dir_fd=target_folder)

    monkeypatch.setattr(renaming, "rename", refusing(errno.EINVAL))
    monkeypatch.setattr(renaming, "link", link)
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: 0x65735546)
    one = recorded(source, tmp_path / "accepted/1.jpg")
    if moves:
        carry_out(one)
    else:
        with pytest.raises(ChangedError, match="replaced"):
            carry_out(one)
    assert [(folder.name, os.listdir(folder)) for folder in (inbox, tmp_path / "accepted")] == [
        ("inbox", [] if moves else ["1.jpg"]),
        ("accepted", ["1.jpg"] if moves else []),
    ]


@pytest.mark.parametrize(("kind", "moves"), [(0x65735546, True), (0xEF53, False)])
def test_a_file_that_gets_another_number_with_its_new_name_has_moved(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, moves: bool
) -> None:
    """As on mergerfs with numbers from paths: its bytes say that it is the one; where numbers are kept it is not."""
    (tmp_path / "accepted").mkdir()
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    real = FileIdentity.from_stat
    renumbered = lambda status: replace(real(status), inode=1 if source.exists() else 2)  # noqa: E731
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: kind)
    monkeypatch.setattr(FileIdentity, "from_stat", renumbered)
    one = recorded(source, tmp_path / "accepted/1.jpg")
    if moves:
        carry_out(one)
    else:
        with pytest.raises(ChangedError):
            carry_out(one)
    assert (source.exists(), (tmp_path / "accepted/1.jpg").exists()) == (not moves, moves)


@pytest.mark.parametrize(
    ("kind", "content", "moves"),
    [(0x65735546, b"judged", True), (0x65735546, b"others", False), (0xEF53, b"judged", False)],
)
def test_where_times_are_told_late_a_file_is_known_by_its_bytes(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: int, content: bytes, moves: bool
) -> None:
    """On bindfs the ctime of a rename comes seconds after it; it never lets other bytes pass, whose times were set."""
    (tmp_path / "accepted").mkdir()
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    one = recorded(source, tmp_path / "accepted/1.jpg")
    source.write_bytes(content)
    mtime_ns = one.intent.identity.mtime_ns
    while source.stat().st_ctime_ns == one.intent.identity.ctime_ns:
        os.utime(source, ns=(mtime_ns, mtime_ns))
    os.utime(source, ns=(mtime_ns, mtime_ns))
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: kind)
    if moves:
        carry_out(one)
    else:
        with pytest.raises(ChangedError, match="changed after it was judged"):
            carry_out(one)
    assert (source.exists(), (tmp_path / "accepted/1.jpg").exists()) == (not moves, moves)


def test_a_second_name_made_during_the_move_is_noticed(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link made after our look puts the file back; the next attempt copies it."""
    (tmp_path / "accepted").mkdir()
    source = inbox / "1.jpg"
    source.write_bytes(b"judged")
    one = recorded(source, tmp_path / "accepted/1.jpg")
    real = renaming.rename

    def rename(*args: object) -> None:
        monkeypatch.setattr(renaming, "rename", real)
        os.link(source, tmp_path / "other name")
        real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(renaming, "rename", rename)
    with pytest.raises(ChangedError, match="linked"):
        carry_out(one)
    assert source.read_bytes() == b"judged"
    assert os.listdir(tmp_path / "accepted") == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_safe_renames_and_links_stalls_the_source(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Where nothing can be published without the risk of replacing, nothing moves, and the message says why."""
    (tmp_path / "accepted").mkdir()
    (inbox / "1.jpg").write_bytes(b"judged")
    monkeypatch.setattr(renaming, "rename", refusing(errno.EINVAL))
    monkeypatch.setattr(os, "link", lambda *_args, **_options: refusing(number)())
    with pytest.raises(StalledError, match="neither rename without replacing nor make hard links"):
        carry_out(recorded(inbox / "1.jpg", tmp_path / "accepted/1.jpg"))
    assert (inbox / "1.jpg").exists()
    assert os.listdir(tmp_path / "accepted") == []


def test_a_file_taken_on_at_once_has_moved(inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that empties the destination in the same moment does not make the move look undone."""
    (tmp_path / "accepted").mkdir()
    (inbox / "1.jpg").write_bytes(b"judged")
    real = renaming.rename

    def rename(*args: object) -> None:
        real(*args)  # type: ignore[arg-type]
        (tmp_path / "accepted/1.jpg").rename(tmp_path / "taken.jpg")

    monkeypatch.setattr(renaming, "rename", rename)
    carry_out(recorded(inbox / "1.jpg", tmp_path / "accepted/1.jpg"))
    assert (tmp_path / "taken.jpg").read_bytes() == b"judged"
