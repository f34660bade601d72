"""The page of a scan: what `report --format html` has of a log, of a folder, with pictures of what was rejected."""

import bisect
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from imageguard_daemon.batch.judging import Value, real_name, shown_name
from imageguard_daemon.batch.outputs import TO_STANDARD_OUTPUT, require_ours, writing
from imageguard_daemon.batch.scan_request import ScanRequest
from imageguard_daemon.batch.scan_summary import Summary
from imageguard_daemon.core.errors import UsageError
from imageguard_daemon.core.files import NewFile
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.reporting.page import Picture, Scanned, as_html
from imageguard_daemon.reporting.score_stats import BINS, BINS_A_POINT
from imageguard_daemon.sandbox.pictures import thumbnails_of

PICTURES_AT_AN_END = 8
"""Of each reason so many of the worst images are shown, and so many of those that were nearest to being accepted."""


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
        page = self._made(summary)
        with writing(self._path):
            self._file.stream.write(page)
            self._file.keep()
        self._is_done = True

    def discard(self) -> None:
        """Leave nothing of a page that is not finished."""
        if not self._is_done:
            self._file.discard()

    def _keep(self, reason: str, row: Mapping[str, Value]) -> None:
        kept = self._of_reason.setdefault(reason, [])
        column = "destination" if row.get("destination") and self._request.move else "path"
        name, detail = shown_name(row, "relative_path"), str(row["detail"] or "")
        picture = Picture(reason, name, detail, real_name(row, column), str(row["sha256"]))
        bisect.insort(kept, (float(str(row["score"])), picture), key=lambda entry: (entry[0], entry[1].relative_path))
        if len(kept) > 2 * PICTURES_AT_AN_END:
            del kept[PICTURES_AT_AN_END]

    def _made(self, summary: Summary) -> bytes:
        reasons = summary.report.overall.ranked_reasons()
        pictures = [picture for reason in reasons for _, picture in self._of_reason.get(reason, ())]
        wanted = {number: (Path(one.path), one.sha256) for number, one in enumerate(pictures)}
        found = thumbnails_of(wanted, self._request.settings.scoring) if wanted else {}
        scanned = Scanned(
            f"in {summary.folder}",
            [(picture, found.get(number)) for number, picture in enumerate(pictures)],
            self._histogram,
            self._request.rules.thresholds,
            summary.totals.borderline,
        )
        return as_html(summary.report, {}, datetime.now(UTC), scanned).encode()
