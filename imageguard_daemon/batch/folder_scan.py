"""A folder judged where it lies, with links on request."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from imageguard_daemon.audit.measurement_cache import MeasuredFiles
from imageguard_daemon.batch.judging import judge, row_of
from imageguard_daemon.batch.links import Linker, OldLinks
from imageguard_daemon.batch.measuring import ImagesOfFolder, Measuring, cache_folder, count_images, version_of
from imageguard_daemon.batch.outputs import TO_STANDARD_OUTPUT, Outputs
from imageguard_daemon.batch.page import Page
from imageguard_daemon.batch.running import Interrupts, Result, RunProgress
from imageguard_daemon.batch.scan_request import ScanRequest
from imageguard_daemon.batch.scan_summary import Summary, Totals
from imageguard_daemon.core.errors import ChangedError, NoInputError, PermissionDeniedError, UsageError, unwritable
from imageguard_daemon.core.file_lock import alone
from imageguard_daemon.core.model import FileIdentity, Measurement
from imageguard_daemon.core.names import printable
from imageguard_daemon.intake.rules.selection import Selection
from imageguard_daemon.quality.readout import scorer_by
from imageguard_daemon.quality.version import loops_here

LINKS_RECORD = "scan.jsonl"
"""What lies where below the folder of links, and why."""
LOCK = "scan.lock"
STATE_SUFFIX = ".state"


def state_path(request: ScanRequest) -> Path:
    """Say where measurements are kept: where the user wants, beside the first output, or in the user's cache."""
    if request.state is not None:
        return request.state
    files = [path for path in (*request.outputs.values(), request.page) if path not in {"", TO_STANDARD_OUTPUT}]
    if files:
        return Path(f"{files[0]}{STATE_SUFFIX}")
    if request.link is not None:
        return request.link / f"scan{STATE_SUFFIX}"
    return cache_folder() / f"scan-{_mark(request.folder)}{STATE_SUFFIX}"


def _mark(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:16]


@contextmanager
def _alone_in(destination: Path) -> Iterator[None]:
    """Let one scan at a time make and remove links below a folder, whatever else it writes."""
    shown = printable(str(destination))
    with ExitStack() as stack:
        try:
            destination.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone(destination / LOCK, f"another scan is making links in {shown}"))
        except OSError as error:
            raise unwritable(error, f"cannot make {shown}") from error
        yield


def _require_apart(folder: Path, destination: Path) -> None:
    real, inside = Path(os.path.realpath(folder)), Path(os.path.realpath(destination))
    if inside.is_relative_to(real):
        raise UsageError("--link: the folder for links must not lie in the folder scanned")


class FolderScan:
    """Judges all images of a folder where they lie. The outputs, the state or the workers may end it."""

    tells_lines = False

    def __init__(self, request: ScanRequest) -> None:
        self._request = request
        self._rules = request.rules
        self._selection = Selection.from_settings(request.settings.intake)
        self._scorer_version = scorer_by(request.readout)
        self._state = state_path(request)
        self._totals = Totals()
        self._linked, self._old_links = 0, OldLinks()
        self._partial: tuple[str, ...] = ()
        self._is_complete = False

    def open(self, stack: ExitStack) -> None:
        """Open outputs and state; what is not finished at the end is taken away."""
        request, link = self._request, self._request.link
        if link is not None:
            _require_apart(request.folder, link)
            stack.enter_context(_alone_in(link))
        self._linker = Linker(link, hard=request.hard_links) if link else None
        self._identity = _identity_of(request.folder)
        self._outputs = self._make_outputs()
        stack.callback(self._outputs.discard)
        self._page = Page(request.page, request) if request.page else None
        if self._page is not None:
            stack.callback(self._page.discard)
        self._store = self._opened_store()
        stack.callback(self._store.close)
        if request.fresh:
            self._store.forget()
        self._measuring = Measuring(self._store, request.settings.scoring, request.readout)
        spared = (*self._outputs.paths, *filter(None, [Path(request.page) if request.page else None]), self._state)
        self._images = ImagesOfFolder(str(request.folder), self._selection, spared, self._note_unreadable_folder)

    def _opened_store(self) -> MeasuredFiles:
        version = version_of(self._request.settings.scoring, self._scorer_version)
        try:
            return MeasuredFiles(self._state, version)
        except (PermissionDeniedError, NoInputError) as error:
            raise type(error)(f"{error}; give a file that can be written with --state") from error

    def count(self) -> Iterator[int]:
        """Count the images."""
        return count_images(str(self._request.folder), self._selection)

    def run(self, interrupts: Interrupts, progress: RunProgress) -> None:
        """Judge all images; a stop signal comes between two of them."""

        def take(path: str, measurement: Measurement) -> None:
            self._take(path, measurement)
            progress.show(self._totals.total + self._measuring.unread.total, self._totals.rejected)

        self._measuring.run(self._images, take, interrupts.check)
        if _identity_of(self._request.folder) != self._identity:
            shown = printable(str(self._request.folder))
            raise NoInputError(f"{shown} is no longer the folder that it was; was it unmounted? Earlier results stay")
        self._is_complete = True

    def finish(self) -> None:
        """Put the results in place; of nothing there are none, and those of an earlier run stay."""
        if not self._totals.total:
            return
        if self._linker is not None:
            keep = bool(self._measuring.unread.total)  # what could not be read may have been linked
            self._old_links = self._linker.take_old_away(self._request.folder, keep=keep)
        self._outputs.publish()
        if self._page is not None:
            self._page.publish(self._summary())

    def set_aside(self) -> None:
        """Keep the results so far, under names that say so."""
        if self._totals.total:
            self._partial = self._outputs.set_aside()

    def result(self, exit_code: int) -> Result:
        """Give what has come of it by now."""
        unread, summary = self._measuring.unread, self._summary()
        link = self._request.link
        filed = f"; {self._linked:,} linked in {printable(str(link))}" if link else ""
        filed += f", {self._old_links.removed:,} old links removed" if self._old_links.removed else ""
        used = self._request.uses_standard_output
        return Result(
            summary,
            unread,
            exit_code,
            filed,
            self._how_to_go_on(),
            used,
            is_interrupted=bool(exit_code),
            old_links=self._old_links,
        )

    def _summary(self) -> Summary:
        unread = self._measuring.unread
        return Summary(
            folder=printable(str(self._request.folder)),
            totals=self._totals,
            report=self._totals.report(self._request.settings.reporting),
            known=self._measuring.known,
            left=dict(self._images.left),
            unread=dict(unread.reasons),
            is_complete=self._is_complete and not unread.total,
            scorer_version=self._scorer_version,
            code=loops_here(),
        )

    def _how_to_go_on(self) -> str:
        so_far = "".join(f"; results so far are in {printable(path)}" for path in self._partial)
        return f" ({printable(str(self._state))} knows what was done){so_far}"

    def _make_outputs(self) -> Outputs:
        request, wanted = self._request, dict(self._request.outputs)
        if request.link is not None:
            wanted.setdefault("jsonl", str(request.link / LINKS_RECORD))
        return Outputs(wanted, only=request.only, overwrite=request.overwrite)

    def _note_unreadable_folder(self, path: str) -> None:
        self._measuring.unread.add(path, "folder that cannot be read")

    def _take(self, path: str, measurement: Measurement) -> None:
        """Judge, link and write one image."""
        image = judge(path, self._images.relative(path), measurement, self._rules)
        if self._linker is not None:
            try:
                image = self._linker.link(image)
            except ChangedError as error:
                self._measuring.unread.add(path, str(error))
                return
            self._linked += 1
            self._keep_identity(path, measurement)
        row = row_of(image)
        self._outputs.write(row)
        self._totals.add(row)
        if self._page is not None:
            self._page.add(row)

    def _keep_identity(self, path: str, measurement: Measurement) -> None:
        """Know a file again whose link count we have changed."""
        now = FileIdentity.from_stat(os.stat(path, follow_symlinks=False))
        before = measurement.identity
        if before is not None and now != before and now.same_content_as(before):
            self._store.add(replace(measurement, identity=now))


def _identity_of(folder: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(folder)
    except OSError:
        return None
    return found.st_dev, found.st_ino
