"""Which number a record of one log has among the records of all logs.

In the fleet's database every record is called by one number: that of its log, shifted by forty bits, plus its id in
the log. A log that was put back from a backup and written on is a branch: what it has in common with the log that it
was already exists and keeps its numbers; what came after is told apart by the branch's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ID_BITS = 40
"""A trillion records for each log. With up to 8,191 logs, numbers stay exact in programs that only have doubles."""
LARGEST_ID = (1 << ID_BITS) - 1


@dataclass(frozen=True, slots=True)
class Branch:
    """One log as the fleet knows it; `fork_ids` are the last ids it has in common with its parent, by table."""

    number: int
    parent: "Branch | None" = None
    fork_sequence: int = 0
    fork_ids: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def of_link(self, sequence: int) -> "Branch":
        """Give the branch that has a link of the chain."""
        branch = self
        while branch.parent is not None and sequence <= branch.fork_sequence:
            branch = branch.parent
        return branch

    def number_of(self, table: str, record_id: int) -> int:
        """Give the number that a record has in the fleet's database.

        Raises:
            ValueError: no log of ours gives out such an id.
        """
        if not 0 <= record_id <= LARGEST_ID:
            raise ValueError(f"the id {record_id} is out of range")
        branch = self
        while branch.parent is not None and record_id <= branch.fork_ids.get(table, 0):
            branch = branch.parent
        return branch.number << ID_BITS | record_id
