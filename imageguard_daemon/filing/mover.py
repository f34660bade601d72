"""Moves one judged file, crash-safe and never overwriting, and proves that what was judged is what is published.

On one file system a rename that refuses to replace. Across file systems, and for files that have further names, a
copy beside the destination that is proved and made durable before the source goes. The judged file is held open
under a read lease from before its old name goes until after the folders were synced; only then is it proved that
nobody has come to write to it (docs/decisions/0005-proof-of-the-move.md).
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import PurePath
from typing import NoReturn, Self

from imageguard_daemon.core.errors import (
    ChangedError,
    DataError,
    RetryableError,
    StalledError,
    StorageError,
    retryable,
)
from imageguard_daemon.core.model import RecordedIntent
from imageguard_daemon.core.names import aside_name, printable, temporary_name
from imageguard_daemon.core.regular_files import READ_ONLY_NO_TRAPS, Writers, read_lease, writer_waits
from imageguard_daemon.filing import refusals, renaming
from imageguard_daemon.filing.folders import Folders, sync
from imageguard_daemon.filing.judged_file import (
    bears_judged,
    copy_proved,
    is_as_it_was,
    is_copied_or_numbered_anew,
    is_judged,
)
from imageguard_daemon.filing.renaming import Inode, Name, UnsafeNamesError, put_back, require_names

_MAY_BE_ABOUT_THE_NAME = renaming.CANNOT_RENAME_SAFELY | {errno.EIO, errno.EILSEQ}


class NameTakenError(ChangedError):
    """Something came to lie at the destination since it was chosen."""


class NotPutBackError(ChangedError):
    """What is at the destination is not what was judged, and there is no folder left to put it back into."""


class Move:
    """One recorded intent on its way; a context that holds the file open, and writers off, until it is left.

    `hold`, then `sync_all` of what is `held`, then `publish`, then `folders.sync()`, then `confirm`: after that, and
    another sync where `renamed_again`, the move may be recorded. `hold`, `publish` and `confirm` raise:

        ChangedError: the file vanished, changed or is being written since it was judged, or the name was taken.
        RetryableError: the file system refused for a reason that may pass.
        NotPutBackError: as ChangedError, but the file lies at the destination.
        DataError, StorageError: what was published cannot be taken back, or a disk failed while a name was being given,
            which may have happened nevertheless; the intent is left to recovery.

    With `keeps_source` the old file of a copy keeps a hidden name; the caller looks after it.
    After the first two the file is in the inbox, as if nothing had moved. That somebody deletes a name or a folder of
    the inbox at any moment is not an error: what was copied by then is whole, durable and all there is: it has moved.
    """

    def __init__(self, recorded: RecordedIntent, folders: Folders, *, keeps_source: bool = False) -> None:
        self.recorded = recorded
        self._keeps_source = keeps_source
        self.renamed_again = False
        self.detail = ""
        """What the record of a move that is proved has to say about it."""
        self._intent = recorded.intent
        self._folders = folders
        self._held = ExitStack()
        self._source_name = os.path.basename(self._intent.source_path)
        self._target_name = os.path.basename(self._intent.destination_path)
        self._temporary, self._aside = temporary_name(recorded.intent_id), aside_name(recorded.intent_id)
        self._source_folder = self._target_folder = self._file = -1
        self._inode: Inode = (-1, -1)
        self._leased = self._doubled = self._is_copied = self._is_aside = False
        self._refusal: OSError | None = None
        self._in_doubt = False  # a new name may have been given: an error does not say that nothing has moved

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._held.close()

    @property
    def _source(self) -> Name:
        return Name(self._source_folder, self._source_name)

    @property
    def _target(self) -> Name:
        return Name(self._target_folder, self._target_name)

    @property
    def _hidden(self) -> Name:
        """The old file of a copy, until it may go."""
        return Name(self._source_folder, self._aside)

    @property
    def held(self) -> tuple[int, str]:
        """The open file and what it is called: its bytes must be durable before it is published."""
        return self._file, self._intent.source_path

    @property
    def is_copied(self) -> bool:
        """Whether the destination has a copy, which nobody has open by the old name."""
        return self._is_copied

    @property
    def kept_at(self) -> str:
        """Where the old file of a copy stays under its hidden name; empty if it has gone or has other names."""
        is_to_stay = self._keeps_source and self._is_copied and self._is_aside
        if not (is_to_stay and os.fstat(self._file).st_nlink == 1):
            return ""
        return os.path.join(os.path.dirname(self._intent.source_path), self._aside)

    def hold(self) -> None:
        """Open the judged file, keep writers out from now on where the file system can, and reach its destination."""
        with self._errors_sorted():
            self._hold_still()
            self._target_folder = self._folders.descriptor(os.path.dirname(self._intent.destination_path), make=True)

    def publish(self) -> None:
        """Give the judged file its new name; the old one is gone afterwards."""
        with self._errors_sorted():
            if os.fstat(self._file).st_nlink > 1:  # through its other names it could be rewritten after the proof
                self._copy_over()
            else:
                self._rename_over()

    def confirm(self) -> None:
        """Prove that nobody wrote to the file or is about to: who met its old name has met our lease by now."""
        with self._errors_sorted():
            if (self._leased and writer_waits(self._file)) or not is_judged(self._file, self._intent):
                if self.take_back():
                    raise ChangedError("was opened for writing while it was being moved")
            elif self._is_aside and not self.kept_at:
                self._drop_aside()

    def take_back(self) -> bool:
        """Undo what `publish` did, the file first and then its copy, so that it is never nowhere.

        False when there is nothing left to undo, and the move has happened: somebody has taken the file on from the
        destination, or has deleted the old one in the inbox, and with the copy all that there is would go.
        """
        self.renamed_again = True
        if not self._doubled:
            taken_back = self._put_back_moved()
            self.detail = "" if taken_back else "taken on by others before it was proved"
            return taken_back
        if not self._put_back_aside():
            self.detail = "the old file was deleted meanwhile"
            return False
        self._withdraw()
        return True

    @contextmanager
    def _errors_sorted(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._in_doubt:
                raise StorageError(self._doubt_message(error)) from error
            if error is self._refusal:
                self._blame(error)
            self._sort(error)
        except UnsafeNamesError as error:
            self._blame(error)
            raise

    def _doubt_message(self, error: OSError) -> str:
        path = printable(self._intent.destination_path)
        return f"{path} may have got its file or not: {error.strerror}; the next start looks, nothing more is moved"

    def _blame(self, error: Exception) -> None:
        """Raise for the file alone when a harmless name is given in the folder that refused its name."""
        cause = error if isinstance(error, OSError) else error.__cause__
        why = cause.strerror if isinstance(cause, OSError) else str(error)
        try:
            require_names(self._target_folder)
        except OSError:
            return  # whatever hinders the harmless name hinders all: that is the folder's or the disk's fault
        path = printable(self._intent.destination_path)
        raise RetryableError(f"the file system refuses the name {path}: {why}") from error

    def _sort(self, error: OSError) -> NoReturn:
        if isinstance(error, FileNotFoundError):
            raise ChangedError("vanished before it could be moved") from error
        if isinstance(error, FileExistsError):
            raise NameTakenError("the name at the destination was taken meanwhile") from error
        message = f"cannot move to {printable(os.path.dirname(self._intent.destination_path))}"
        if error.errno in refusals.REFUSALS:
            root = self._folders.root_of(os.path.dirname(self._intent.destination_path))
            raise refusals.of_move(error, self._intent, root, message) from error
        raise retryable(error, message) from error

    @contextmanager
    def _naming(self, file: Inode, source: Name) -> Iterator[None]:
        """From here on `file` may bear the new name, unless an error and a look prove that it does not."""
        self._in_doubt = True
        try:
            yield
        except OSError as error:
            self._in_doubt = not renaming.changed_nothing(error, self._bears(file), source, self._target)
            self._refusal = error if error.errno in _MAY_BE_ABOUT_THE_NAME else None
            raise
        except StalledError:  # refused before it began
            self._in_doubt = False
            raise

    def _hold_still(self) -> None:
        self._source_folder = self._folders.descriptor(os.path.dirname(self._intent.source_path))
        self._file = os.open(self._source_name, READ_ONLY_NO_TRAPS, dir_fd=self._source_folder)
        self._held.callback(os.close, self._file)
        self._inode = renaming.inode_of(self._file)
        # The lease before the look: who opens the file to write after the look meets it, and is noticed in the end.
        writers = self._held.enter_context(read_lease(self._file))
        if writers is Writers.some:
            raise ChangedError("is being written again")
        if not is_as_it_was(self._file, self._intent):
            raise ChangedError("changed after it was judged")
        # Over FUSE a lease is not proof, but whoever meets it here is to be noticed all the same.
        self._leased = writers is Writers.none or not writer_waits(self._file)

    def _rename_over(self) -> None:
        try:
            with self._naming(self._inode, self._source):
                renaming.rename(*self._source, *self._target)
        except OSError as error:
            if error.errno == errno.EXDEV:
                self._copy_over()
            elif error.errno in renaming.CANNOT_RENAME_SAFELY:
                self._link_over()
            else:
                raise
        else:
            self._check_moved()

    def _check_moved(self) -> None:
        """Put back another file that got the name before our rename, and one that was given a second name."""
        try:
            moved = os.stat(self._target_name, dir_fd=self._target_folder, follow_symlinks=False)
            is_judged = self._bears_judged(self._target, moved)
        except FileNotFoundError:
            return  # whoever waits for files at the destination has taken it on already
        if not is_judged or moved.st_nlink > 1:
            self._put_back_moved()
            raise ChangedError("was replaced or linked while it was being moved")

    def _put_back_moved(self) -> bool:
        """Give the file its old name; False when it is no longer at the destination."""
        folder = os.path.dirname(self._intent.source_path)
        for path in (folder, folder, *map(str, PurePath(folder).parents)):
            try:
                put_back(self._target, self._source, self._intent.sha256)
            except FileNotFoundError:
                if not self._is_at_destination():
                    return False
            except OSError as error:
                raise DataError(
                    f"{printable(self._intent.destination_path)} is not the file that was judged, and cannot be put "
                    f"back: {error.strerror}"
                ) from error
            else:
                return True
            # It is not the file that went but its old folder.
            with suppress(
                OSError, RetryableError
            ):  # somebody's file may be in its place: then the folder above will do
                self._source_folder = self._folders.made_anew(path)
        raise NotPutBackError(
            f"{printable(self._intent.destination_path)} is not the file that was judged, and its old folder is gone"
        )

    def _is_at_destination(self) -> bool:
        try:
            os.stat(self._target_name, dir_fd=self._target_folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _link_over(self) -> None:
        """Publish a second name, which never replaces, and only when it is durable take the first away."""
        try:
            with self._naming(self._inode, self._source):
                renaming.link(*self._source, *self._target)
        except OSError as error:
            if error.errno != errno.EXDEV:  # a union of disks is one device, and its folders may lie on several
                raise
            self._copy_over()
            return
        try:
            linked = os.stat(self._target_name, dir_fd=self._target_folder, follow_symlinks=False)
            is_judged = self._bears_judged(self._target, linked)
        except FileNotFoundError as error:
            raise ChangedError("was taken away from the destination at once") from error
        if not is_judged:
            self._withdraw()
            raise ChangedError("was replaced while it was being moved")
        self._take_source_away()

    def _copy_over(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        copy = os.open(self._temporary, flags, 0o600, dir_fd=self._target_folder)
        try:
            inode = renaming.inode_of(copy)
            try:
                copy_proved(self._file, copy, self._intent)
            finally:
                os.close(copy)
            temporary = Name(self._target_folder, self._temporary)
            with self._naming(inode, temporary):
                renaming.move_name(*temporary, *self._target)
        except BaseException:
            with suppress(OSError):
                os.unlink(self._temporary, dir_fd=self._target_folder)
            raise
        self._is_copied = True
        self._take_source_away()

    def _take_source_away(self) -> None:
        """Hide the old name once the new one is durable; it is dropped only when nobody can have opened it any more."""
        self._doubled = True
        sync(self._target_folder, "a new name")
        try:
            renaming.set_aside(*self._source, self._aside)
        except FileNotFoundError:
            return  # somebody else dropped it: what counts is at the destination
        except OSError as error:
            if renaming.changed_nothing(error, self._bears(self._inode), self._source, self._hidden):
                self._withdraw()  # it cannot leave the inbox: nothing has moved, and no attempt leaves a copy behind
            raise
        self._is_aside = True
        with suppress(FileNotFoundError):  # deleted at once: as if it had been before
            status = os.stat(self._aside, dir_fd=self._source_folder, follow_symlinks=False)
            if not self._bears_judged(self._hidden, status):
                self._put_back_aside()  # a new upload had come to bear the name

    def _drop_aside(self) -> None:
        self.renamed_again = True
        try:
            os.unlink(self._aside, dir_fd=self._source_folder)
        except FileNotFoundError:
            self.detail = "the old file was deleted meanwhile"
        except OSError:
            if self.take_back():
                raise

    def _put_back_aside(self) -> bool:
        """Give the old file its name again; False when it is no longer there."""
        if not self._is_aside:
            return False
        try:
            put_back(self._hidden, self._source, self._intent.sha256)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageError(
                f"{printable(self._intent.source_path)} cannot get its name back: {error.strerror}"
            ) from error
        self._is_aside = False
        return True

    def _withdraw(self) -> None:
        """Take back what was published; when even that is refused, the intent stays open for recovery to complete."""
        try:
            os.unlink(self._target_name, dir_fd=self._target_folder)
        except FileNotFoundError:
            pass  # taken on by others
        except OSError as error:
            raise StorageError(
                f"{printable(self._intent.destination_path)} cannot be taken back: {error.strerror}"
            ) from error
        self._in_doubt = False

    def _bears(self, file: Inode) -> Callable[[Name], bool]:
        """Give what tells whether the judged file or its copy, by its number or by its bytes, bears a name."""

        def bears(name: Name) -> bool:
            try:
                status = os.stat(name.called, dir_fd=name.folder, follow_symlinks=False)
            except FileNotFoundError:
                return False
            is_it = (status.st_dev, status.st_ino) == file
            return is_it or is_copied_or_numbered_anew(name, status, self._intent)

        return bears

    def _bears_judged(self, name: Name, status: os.stat_result) -> bool:
        return bears_judged(name, status, self._intent)
