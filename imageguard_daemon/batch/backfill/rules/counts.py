"""How far a back-fill has come, from its results alone."""

from typing import Any

from imageguard_daemon.batch.backfill.results import DESCRIPTION, Results
from imageguard_daemon.batch.backfill.running import BackfillResult
from imageguard_daemon.batch.backfill.shard_file import DamagedShardError, read_facts
from imageguard_daemon.core.errors import NoInputError
from imageguard_daemon.core.names import printable


def standing_of(out: str) -> tuple[BackfillResult, dict[str, Any]]:
    """Give what the results come to, and what describes their run.

    Raises:
        NoInputError: there are none. DataError: they are not those of a back-fill.
    """
    results = Results(out)
    description = results.description()
    if description is None:
        raise NoInputError(f"{printable(out)} has no {DESCRIPTION}: no back-fill was begun there")
    result = BackfillResult()
    for number in results.numbers():
        try:
            result.add(read_facts(results.read(number)), is_known=0)
        except (DamagedShardError, FileNotFoundError) as error:
            result.failed[number] = str(error)
    for number, why in description.get("failed", {}).items():
        result.failed.setdefault(int(number), why)
    rows = description.get("rows_of_manifest")
    result.is_complete = not (result.failed or result.standing.unread) and rows == result.standing.done
    return result, description
