"""What the results of a back-fill come to by now, in a run or from the results alone."""

from collections.abc import Mapping
from typing import Any

from imageguard_daemon.batch.backfill.results import DESCRIPTION, Results
from imageguard_daemon.batch.backfill.shard_file import DamagedShardError, Footer, read_footer
from imageguard_daemon.batch.measuring import Unread
from imageguard_daemon.batch.running import Result
from imageguard_daemon.batch.scan_summary import Summary, Totals
from imageguard_daemon.config import Reporting
from imageguard_daemon.core.errors import NoInputError
from imageguard_daemon.core.names import printable


class Tally:
    """What results come to by now; `failed` says of shards that were given up why."""

    def __init__(self) -> None:
        self.totals = Totals()
        self.unread = Unread()
        self.failed: dict[int, str] = {}
        self.code: set[str] = set()
        """Which code took the features: workers may differ in that."""
        self.done = self.known = 0

    def add(self, footer: Footer, *, known: int = 0) -> None:
        """Count a shard's result; an earlier run had made `known` of its rows."""
        self.totals.merge(footer.totals)
        self.unread.merge(footer.unread, footer.examples)
        self.code.update(filter(None, [footer.code]))  # results of earlier versions have none
        self.done += footer.rows
        self.known += known

    def rows(self) -> dict[str, int]:
        """Give the rows of the manifest that are done, of them those of earlier runs, and what went wrong."""
        return {
            "done": self.done,
            "known": self.known,
            "rejected": self.totals.rejected,
            "unread": self.unread.total,
            "failed_shards": len(self.failed),
        }

    def result(
        self, description: Mapping[str, Any], reporting: Reporting, *, is_complete: bool, exit_code: int = 0
    ) -> Result:
        """Give it as that of any run."""
        summary = Summary(
            folder=printable(description["manifest"]["path"]),
            totals=self.totals,
            report=self.totals.report(reporting),
            known=self.known,
            left={},
            unread=dict(self.unread.reasons),
            is_complete=is_complete,
            scorer_version=description["scorer_version"],
            code=", ".join(sorted(self.code)),
        )
        return Result(summary, self.unread, exit_code, is_interrupted=bool(exit_code), failed=self.failed)


def status_of(out: str) -> Result:
    """Say how far a back-fill has come, from its results alone.

    Raises:
        NoInputError: there are none. DataError: they are not those of a back-fill.
    """
    results, tally = Results(out), Tally()
    description = results.description()
    if description is None:
        raise NoInputError(f"{printable(out)} has no {DESCRIPTION}: no back-fill was begun there")
    for number in results.numbers():
        try:
            tally.add(read_footer(results.read(number)))
        except (DamagedShardError, FileNotFoundError) as error:
            tally.failed[number] = str(error)
    for number, why in description.get("failed", {}).items():
        tally.failed.setdefault(int(number), why)
    is_whole = description.get("rows_of_manifest") == tally.done
    is_complete = is_whole and not (tally.failed or tally.unread.total)
    return tally.result(description, Reporting(), is_complete=is_complete)
