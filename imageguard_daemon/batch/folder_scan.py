"""A folder judged where it lies, with links on request, and what a move of it shares with that.

Both have the same outputs, page and totals: `FolderRun`.
"""

import bisect
import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from imageguard_daemon.audit.measurement_cache import MeasuredFiles
from imageguard_daemon.batch.judging import Rules, Value, judge, real_name, row_of, shown_name
from imageguard_daemon.batch.links import Linker, OldLinks
from imageguard_daemon.batch.measuring import (
    ImagesOfFolder,
    Measuring,
    Unread,
    cache_folder,
    count_images,
    version_of,
)
from imageguard_daemon.batch.outputs import TO_STANDARD_OUTPUT, Outputs, require_ours, writing
from imageguard_daemon.batch.running import Interrupts, Result, RunProgress, Work
from imageguard_daemon.batch.scan_summary import Summary, Totals
from imageguard_daemon.config import Settings, Source
from imageguard_daemon.core.errors import ChangedError, NoInputError, PermissionDeniedError, UsageError, unwritable
from imageguard_daemon.core.files import NewFile, alone
from imageguard_daemon.core.model import SCORE_NAMES, FileIdentity, Measurement
from imageguard_daemon.core.names import printable
from imageguard_daemon.intake.rules.selection import Selection
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.quality.readout import Readout, scorer_by
from imageguard_daemon.quality.version import loops_here
from imageguard_daemon.reporting.page import Picture, Scanned, as_html
from imageguard_daemon.reporting.score_stats import BINS, BINS_A_POINT
from imageguard_daemon.sandbox.pictures import thumbnails_of

LINKS_RECORD = "scan.jsonl"
"""What lies where below the folder of links, and why."""
LOCK = "scan.lock"
STATE_SUFFIX = ".state"
PICTURES_AT_AN_END = 8
"""Of each reason so many of the worst images are shown, and so many of those that were nearest to being accepted."""


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """A folder, the rules to judge it by, and what is to be written or filed.

    `readout` is what stands in the file that the settings name, read before anything is made. `outputs` are paths by
    form (`csv`, `jsonl`, `parquet`); `page` is where an HTML page goes, if anywhere; `only` is a verdict, `borderline`,
    or empty.
    """

    folder: Path
    settings: Settings
    source: Source
    outputs: Mapping[str, str]
    readout: Readout | None = None
    page: str = ""
    only: str = ""
    move: Path | None = None
    link: Path | None = None
    hard_links: bool = False
    state: Path | None = None
    fresh: bool = False
    overwrite: bool = False

    @property
    def rules(self) -> Rules:
        """The rules as the judge wants them."""
        source = self.source
        return Rules(source.preset, thresholds_for(source.preset, source.thresholds), source.class_from)

    @property
    def uses_standard_output(self) -> bool:
        """Whether results go to standard output, which then has nothing else."""
        return TO_STANDARD_OUTPUT in self.outputs.values()


class Page:
    """Takes the rows of a scan in, and makes its page at the end. Memory does not grow with images.

    Raises:
        UsageError: the file already exists and was not made by a scan or a report.
        StorageError: it cannot be written.
    """

    def __init__(self, path: str, request: ScanRequest) -> None:
        if path == TO_STANDARD_OUTPUT:
            raise UsageError("--html needs a file")
        if not request.overwrite:
            require_ours(Path(path), "html")
        self._path, self._request = path, request
        self._histogram = np.zeros((len(SCORE_NAMES), BINS), np.int64)
        self._of_reason: dict[str, list[tuple[float, Picture]]] = {}
        self._is_done = False
        with writing(path):
            self._file = NewFile(path)

    def add(self, row: Mapping[str, Value]) -> None:
        """Take one image in, given by its columns."""
        for signal, name in enumerate(SCORE_NAMES):
            if (score := row.get(name)) is not None:
                self._histogram[signal, min(int(float(str(score)) * BINS_A_POINT), BINS - 1)] += 1
        if reason := str(row["reason"]):
            self._keep(reason, row)

    def publish(self, summary: Summary) -> None:
        """Make the page and give it its name; of an interrupted scan there is none."""
        page = self._as_html(summary)
        with writing(self._path):
            self._file.stream.write(page)
            self._file.keep()
        self._is_done = True

    def discard(self) -> None:
        """Leave nothing of a page that is not finished."""
        if not self._is_done:
            self._file.discard()

    def _keep(self, reason: str, row: Mapping[str, Value]) -> None:
        pictures = self._of_reason.setdefault(reason, [])
        column = "destination" if row.get("destination") and self._request.move else "path"
        name, detail = shown_name(row, "relative_path"), str(row["detail"] or "")
        picture = Picture(reason, name, detail, real_name(row, column), str(row["sha256"]))
        score = float(str(row["score"]))
        bisect.insort(pictures, (score, picture), key=lambda entry: (entry[0], entry[1].relative_path))
        if len(pictures) > 2 * PICTURES_AT_AN_END:
            del pictures[PICTURES_AT_AN_END]  # the one in the middle: neither among the worst nor among the nearest

    def _as_html(self, summary: Summary) -> bytes:
        reasons = summary.report.overall.ranked_reasons()
        pictures = [picture for reason in reasons for _, picture in self._of_reason.get(reason, ())]
        files = {number: (Path(picture.path), picture.sha256) for number, picture in enumerate(pictures)}
        thumbnails = thumbnails_of(files, self._request.settings.scoring) if files else {}
        scanned = Scanned(
            f"in {summary.folder}",
            [(picture, thumbnails.get(number)) for number, picture in enumerate(pictures)],
            self._histogram,
            self._request.rules.thresholds,
            summary.totals.borderline,
        )
        return as_html(summary.report, {}, datetime.now(UTC), scanned).encode()


class FolderRun(Work):
    """What a scan and a move of a folder share: outputs and a page that bear their names at the end, and totals."""

    def __init__(self, request: ScanRequest) -> None:
        self._request = request
        self._selection = Selection.from_settings(request.settings.intake)
        self._totals = Totals()
        self._partial: tuple[str, ...] = ()

    def count(self) -> Iterator[int]:
        """Count the images."""
        return count_images(str(self._request.folder), self._selection)

    def finish(self) -> None:
        """Put the results in place; of nothing there are none, and those of an earlier run stay."""
        if not self._totals.total:
            return
        self._outputs.publish()
        if self._page is not None:
            self._page.publish(self._summary())

    def set_aside(self) -> None:
        """Keep the results so far, under names that say so."""
        if self._totals.total:
            self._partial = self._outputs.set_aside()

    def _open_outputs(self, stack: ExitStack, paths: Mapping[str, str]) -> None:
        """Begin all that is written; what is not finished at the end is taken away."""
        request = self._request
        self._outputs = Outputs(paths, only=request.only, overwrite=request.overwrite)
        stack.callback(self._outputs.discard)
        self._page = Page(request.page, request) if request.page else None
        if self._page is not None:
            stack.callback(self._page.discard)

    def _write(self, row: Mapping[str, Value]) -> None:
        self._outputs.write(row)
        self._totals.add(row)
        if self._page is not None:
            self._page.add(row)

    @abstractmethod
    def _summary(self) -> Summary:
        """Say what has come of it by now."""

    def _summary_of(
        self, left: Mapping[str, int], unread: Unread, scorer_version: str, *, known: int = 0, is_complete: bool
    ) -> Summary:
        return Summary(
            folder=printable(str(self._request.folder)),
            totals=self._totals,
            report=self._totals.report(self._request.settings.reporting),
            known=known,
            left=dict(left),
            unread=dict(unread.reasons),
            is_complete=is_complete,
            scorer_version=scorer_version,
            code=loops_here(),
        )


class FolderScan(FolderRun):
    """Judges all images of a folder where they lie. The outputs, the state or the workers may end it."""

    def __init__(self, request: ScanRequest) -> None:
        super().__init__(request)
        self._rules = request.rules
        self._scorer_version = scorer_by(request.readout)
        self._state = state_path(request)
        self._linked, self._old_links = 0, OldLinks()
        self._is_complete = False

    def open(self, stack: ExitStack) -> None:
        """Open outputs and state; what is not finished at the end is taken away."""
        request, link = self._request, self._request.link
        if link is not None:
            _require_apart(request.folder, link)
            stack.enter_context(_alone_in(link))
        self._linker = Linker(link, hard=request.hard_links) if link else None
        self._identity = _identity_of(request.folder)
        paths = dict(request.outputs)
        if link is not None:
            paths.setdefault("jsonl", str(link / LINKS_RECORD))
        self._open_outputs(stack, paths)
        self._store = self._opened_store()
        stack.callback(self._store.close)
        if request.fresh:
            self._store.forget()
        self._measuring = Measuring(self._store, request.settings.scoring, request.readout)
        spared = [*self._outputs.paths, self._state, *([Path(request.page)] if request.page else [])]
        self._images = ImagesOfFolder(str(request.folder), self._selection, spared, self._note_unreadable_folder)

    def _opened_store(self) -> MeasuredFiles:
        version = version_of(self._request.settings.scoring, self._scorer_version)
        try:
            return MeasuredFiles(self._state, version)
        except (PermissionDeniedError, NoInputError) as error:
            raise type(error)(f"{error}; give a file that can be written with --state") from error

    def run(self, interrupts: Interrupts, progress: RunProgress) -> None:
        """Judge all images; a stop signal comes between two of them."""

        def take(path: str, measurement: Measurement) -> None:
            self._take(path, measurement)
            progress.show(self._totals.total + self._measuring.unread.total, self._totals.rejected)

        self._measuring.run(self._images, take, interrupts.check)
        # A mount that went away meanwhile looks like a folder that has become empty.
        if _identity_of(self._request.folder) != self._identity:
            shown = printable(str(self._request.folder))
            raise NoInputError(f"{shown} is no longer the folder that it was; was it unmounted? Earlier results stay")
        self._is_complete = True

    def finish(self) -> None:
        """Put the results in place; of nothing there are none, and those of an earlier run stay."""
        if self._totals.total and self._linker is not None:
            # Only now, when all links of this run are made: what it has not made by its end is of earlier ones.
            keep = bool(self._measuring.unread.total)  # what could not be read may have been linked
            self._old_links = self._linker.take_old_away(self._request.folder, keep=keep)
        super().finish()

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
        unread, known = self._measuring.unread, self._measuring.known
        is_complete = self._is_complete and not unread.total
        return self._summary_of(self._images.left, unread, self._scorer_version, known=known, is_complete=is_complete)

    def _how_to_go_on(self) -> str:
        so_far = "".join(f"; results so far are in {printable(path)}" for path in self._partial)
        return f" ({printable(str(self._state))} knows what was done){so_far}"

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
        self._write(row_of(image))

    def _keep_identity(self, path: str, measurement: Measurement) -> None:
        """Know a file again whose link count we have changed."""
        now = FileIdentity.from_stat(os.stat(path, follow_symlinks=False))
        before = measurement.identity
        if before is not None and now != before and now.same_content_as(before):
            self._store.add(replace(measurement, identity=now))


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


def _identity_of(folder: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino
