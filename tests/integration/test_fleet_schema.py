"""The tables of a fleet's database against those of a log, of which they are copies."""

import sqlalchemy as sa

from imageguard_daemon.audit.fleet.database import FleetAddress
from imageguard_daemon.audit.fleet.forwarding import TYPES
from imageguard_daemon.audit.fleet.store import FleetStore
from imageguard_daemon.audit.rules import Kind
from imageguard_daemon.audit.schema import CHAINED, KINDS, LINK_KINDS, VIEW_COLUMNS

_STORED = {**TYPES, Kind.json: "json"}


def test_migrations_lead_to_the_columns_of_a_log(fleet_url: str) -> None:
    """A column that a log has and its fleet lacks, or has with another type, would stop its forwarding."""
    with FleetStore(FleetAddress(fleet_url)) as fleet, fleet.reading() as connection:
        found: dict[str, dict[str, str]] = {table: {} for table in (*CHAINED, "chain", "decisions")}
        query = sa.text("SELECT table_name, column_name, data_type FROM information_schema.columns")
        for table, column, kind in connection.execute(query):
            if table in found:
                found[table][column] = kind
    assert tuple(sorted(found.pop("decisions"))) == tuple(sorted(VIEW_COLUMNS))
    kinds = {**KINDS, "chain": LINK_KINDS}
    expected = {table: {name: _STORED[kind] for name, kind in kinds[table].items()} for table in found}
    expected["chain"] |= {"log": "integer", "received_at": "timestamp with time zone"}
    assert found == expected
