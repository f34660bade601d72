"""What the daemon measured of files that it has filed, for those who would measure them again."""

import json
import os
from pathlib import Path

import sqlalchemy as sa

from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.schema import decision_records, intents, outcomes
from imageguard_daemon.core.model import FileIdentity, Measurement, Measures
from imageguard_daemon.core.timestamps import parse_timestamp

_COLUMNS = (
    *(decision_records.c[name] for name in ("sha256", "measures", "reason", "detail", "camera", "image_format")),
    *(intents.c[name] for name in ("size_bytes", "mtime_ns")),
    outcomes.c.recorded_at,
)


class RecordedMeasurements:
    """Looks files up in an audit log. One thread only."""

    def __init__(self, database: Path, scorer_version: str) -> None:
        self._log = open_log(database)
        self._scorer_version = scorer_version
        self._readout = scorer_version.partition("+")[2]

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    def find(self, path: str, identity: FileIdentity) -> Measurement | None:
        """Give what a file was measured as that lies where the daemon filed it, unchanged since, by this scorer.

        Size and mtime can be given to other bytes, as `cp -p` and archives do; ctime cannot: what changed after it was
        filed, if only its permissions, is not known by its place.
        """
        where = (intents.c.destination_path == os.fsencode(path), intents.c.role == "image")
        row = self._latest(*where)
        if row is None or (row.size_bytes, row.mtime_ns) != (identity.size_bytes, identity.mtime_ns):
            return None
        if identity.ctime_ns > parse_timestamp(row.recorded_at).timestamp() * 1e9:
            return None
        return self._measurement(row, identity)

    def find_content(self, sha256: str, identity: FileIdentity) -> Measurement | None:
        """Give what a file of this content was measured as by this scorer, wherever it lies."""
        row = self._latest(decision_records.c.sha256 == sha256, intents.c.role == "image")
        return None if row is None else self._measurement(row, identity)

    def _latest(self, *where: sa.ColumnElement[bool]) -> "sa.Row[tuple[object, ...]] | None":
        query = (
            sa.select(*_COLUMNS)
            .join(intents, intents.c.decision_id == decision_records.c.id)
            .join(outcomes, sa.and_(outcomes.c.intent_id == intents.c.id, outcomes.c.outcome == "moved"))
            .where(decision_records.c.scorer_version == self._scorer_version, *where)
            .order_by(decision_records.c.id.desc())
            .limit(1)
        )
        with self._log.reading() as connection:
            return connection.execute(query).first()

    def _measurement(self, row: "sa.Row[tuple[object, ...]]", identity: FileIdentity) -> Measurement | None:
        measures = json.loads(row.measures) if isinstance(row.measures, str) else row.measures
        facts = {"camera": row.camera, "image_format": row.image_format, "identity": identity, "readout": self._readout}
        if not measures:
            return Measurement(row.sha256, issue=row.reason, detail=row.detail, **facts)
        try:
            return Measurement(row.sha256, Measures(**measures), **facts)
        except TypeError:  # recorded by a version with other measures
            return None
