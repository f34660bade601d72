"""Records judgements, reviews and moves: intents before files move, outcomes after."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import sqlalchemy as sa

from imageguard_daemon.audit import chain, rollups
from imageguard_daemon.audit.log_writer import LogWriter, new_id
from imageguard_daemon.audit.quarantine_queries import ReviewableImage, reviewable_images
from imageguard_daemon.audit.schema import decision_records, intents, outcomes, relocations, review_records
from imageguard_daemon.core.errors import DataError, UnavailableError
from imageguard_daemon.core.model import (
    MAX_INT64,
    MIN_INT64,
    SCORE_NAMES,
    FileIdentity,
    Intent,
    JudgedFile,
    Origin,
    Outcome,
    RecordedIntent,
    ReviewAction,
)
from imageguard_daemon.core.names import printable, sidecar_ending
from imageguard_daemon.core.timestamps import timestamp

MAX_INTENTS = 1_000
"""No group of reviews has more. Each group begins with finishing what the one before left, so what is unfinished is
among the latest so many."""
_ROOM_FOR_IDS = 1 << 20
_FILED_WITH = """FROM decisions AS d WHERE sha256 IN (SELECT value FROM json_each(?))
AND NOT EXISTS (SELECT 1 FROM review_records AS v JOIN intents AS i ON i.review_id = v.id AND i.role = 'image'
                JOIN outcomes AS o ON o.intent_id = i.id AND o.outcome = 'purged'
                WHERE v.decision_id = d.id AND v.action = 'return') GROUP BY sha256"""
"""Decisions on contents, but for those whose image went back into the inbox: judged again, it is not a duplicate."""


@dataclass(frozen=True, slots=True)
class PlannedReview:
    """A review about to be recorded: of which image, as it was seen, and the moves it calls for.

    `intents` come with the number of the intent that had brought each file to where it is taken from.
    """

    image: ReviewableImage
    action: ReviewAction
    who: str
    why: str
    intents: tuple[tuple[Intent, int], ...] = ()
    undoes: int | None = None
    profile: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True)
class RecordedReview:
    """A review that is durably in the log, with its intents."""

    review_id: int
    intents: tuple[RecordedIntent, ...]


class AuditWriter(LogWriter):
    """Records what the daemon judges and moves."""

    def record_intents(self, judged: Sequence[JudgedFile]) -> list[tuple[RecordedIntent, ...]]:
        """Record decisions together with the moves they call for, before anything moves."""
        if not judged:
            return []
        with self.transaction(decision_records, intents) as connection:
            last_decision_id, last_intent_id = _newest_ids(connection, decision_records, intents)
            next_intent_ids = count(last_intent_id + 1)
            recorded = [
                tuple(RecordedIntent(next(next_intent_ids), intent) for intent in file.intents) for file in judged
            ]
            intent_rows = [
                self._intent_row(intent, decision_id)
                for decision_id, of_file in enumerate(recorded, last_decision_id + 1)
                for intent in of_file
            ]
            # Decisions first: intents refer to them.
            _add(connection, decision_records, self._decision_rows(connection, judged, last_decision_id + 1))
            _add(connection, intents, intent_rows)
            return recorded

    def record_late_sidecar(self, decision_id: int, intent: Intent) -> RecordedIntent:
        """Record that a sidecar is about to follow an image that has already moved."""
        with self.transaction(intents) as connection:
            return self._insert_intent(connection, decision_id, intent)

    def record_return(self, files: Sequence[tuple[Intent, int]], why: str) -> list[RecordedIntent]:
        """Record that a filed image and its sidecars are about to go back into the inbox, where they are judged again.

        Each file comes with the number of the intent that had filed it, the image's own first. The caller holds the
        root's `ActingLock`, as for any review: that is what this is, by the daemon itself.
        """
        filed_by = sa.select(intents.c.decision_id).where(intents.c.id == files[0][1])
        with self.transaction(review_records, intents) as connection:
            decision_id = connection.execute(filed_by).scalar_one()
            review = {"decision_id": decision_id, "action": "return", "who": "imageguard-daemon", "why": why}
            return list(self._insert_review(connection, review, files).intents)

    def record_outcomes(self, results: Sequence[Outcome]) -> None:
        """Record what became of intents."""
        if not results:
            return
        stamp = timestamp(self._now())
        rows = [
            {
                "intent_id": result.intent_id,
                "outcome": result.outcome,
                "detail": printable(result.detail),
                "recorded_at": stamp,
            }
            for result in results
        ]
        with self.transaction(outcomes) as connection:
            before = chain.newest_ids(connection, [outcomes.name])[outcomes.name]
            _add(connection, outcomes, rows)
            # In the same transaction: a crash in between would leave images that no report ever counts.
            rollups.add_moved(connection, before)

    def record_relocations(self, relocated: Sequence[tuple[int, str, str, int]]) -> None:
        """Record where filed files were found after others moved them: intent id, path, SHA-256, size in bytes."""
        stamp = timestamp(self._now())
        rows = [
            {
                "intent_id": intent_id,
                "path": os.fsencode(path),
                "place": printable(self._below_root(path)),
                "sha256": sha256,
                "size_bytes": size_bytes,
                "recorded_at": stamp,
            }
            for intent_id, path, sha256, size_bytes in relocated
        ]
        if rows:
            with self.transaction(relocations) as connection:
                _add(connection, relocations, rows)

    def unfinished(self, *, reviews: bool = True) -> list[RecordedIntent]:
        """Give the intents without an outcome, oldest first: what a crash left behind.

        Without `reviews`, those that come from reviews are left out: a living command may be at work on them.
        """
        begun = sa.select(sa.func.count()).select_from(intents).scalar_subquery()
        ended = sa.select(sa.func.count()).select_from(outcomes).scalar_subquery()
        has_outcome = sa.exists().where(outcomes.c.intent_id == intents.c.id)
        query = sa.select(intents).where(~has_outcome).order_by(intents.c.id.desc())
        with self.reading() as connection:
            # Each outcome belongs to an intent of its own: the difference is how many lack one. They are the latest, so
            # the walk ends soon; without this limit it would go through a log of millions at every start.
            lacking = connection.scalar(sa.select(begun - ended)) or 0
            rows = connection.execute(query.limit(lacking)).all() if lacking else []
        return [_recorded_intent(row) for row in rows if reviews or row.review_id is None][::-1]

    def moved_by(self, intent_id: int) -> RecordedIntent | None:
        """Give an intent whose file has moved; None when there is no such intent, or it did not come to that."""
        moved = sa.exists().where(outcomes.c.intent_id == intents.c.id, outcomes.c.outcome == "moved")
        query = sa.select(intents).where(intents.c.id == intent_id, moved)
        with self.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else _recorded_intent(row)

    def origins(self, intent_ids: Sequence[int]) -> dict[int, Origin]:
        """Say of intents which judgements and reviews they come from."""
        query = (
            "SELECT i.id, d.source, d.relative_path, d.verdict, r.action FROM intents i "
            "JOIN decision_records d ON d.id = i.decision_id LEFT JOIN review_records r ON r.id = i.review_id "
            "WHERE i.id IN (SELECT value FROM json_each(?))"
        )
        with self.reading() as connection:
            rows = connection.exec_driver_sql(query, (json.dumps(list(intent_ids)),)).all()
        return {row.id: Origin(row.source, row.relative_path.count("/") + 1, row.verdict, row.action) for row in rows}

    def image_lacking_sidecar(self, source: str, relative_paths: Sequence[str], ending: str) -> tuple[int, str] | None:
        """Find the latest decision on one of these files: its id and where the image was last seen.

        None when there is no such file, when it was purged, or when it has its sidecar with this ending (see
        `names.sidecar_ending`): then the sidecar at hand belongs to an image that is still to come.
        """
        last_seen = (
            sa.select(relocations.c.path)
            .where(relocations.c.intent_id == intents.c.id)
            .order_by(relocations.c.id.desc())
            .limit(1)
            .scalar_subquery()
        )
        query = (
            sa.select(decision_records.c.id, intents.c.destination_path, last_seen.label("found_at"))
            .join(intents, sa.and_(intents.c.decision_id == decision_records.c.id, intents.c.role == "image"))
            .join(outcomes, outcomes.c.intent_id == intents.c.id)
            .where(
                outcomes.c.outcome.in_(["moved", "purged"]),
                decision_records.c.source == source,
                decision_records.c.relative_path.in_([printable(path) for path in relative_paths]),
            )
            .order_by(decision_records.c.id.desc(), intents.c.id.desc())
            .limit(1)
        )
        with self.reading() as connection:
            row = connection.execute(query).first()
            if row is None or not row.destination_path:
                return None
            if ending.lower() in self._endings_of_sidecars(connection, row.id, os.fsdecode(row.destination_path)):
                return None
        return row.id, os.fsdecode(row.found_at or row.destination_path)

    def filed_before(self, hashes: Sequence[str]) -> dict[str, str]:
        """Say of contents, by SHA-256, where each that was filed before was filed first."""
        with self.reading() as connection:
            return {row.sha256: row.destination for row in _first_filed(connection, hashes)}

    @staticmethod
    def _endings_of_sidecars(connection: sa.Connection, decision_id: int, image: str) -> set[str]:
        query = (
            sa.select(intents.c.destination_path)
            .join(outcomes, sa.and_(outcomes.c.intent_id == intents.c.id, outcomes.c.outcome == "moved"))
            .where(intents.c.decision_id == decision_id, intents.c.role == "sidecar")
        )
        return {sidecar_ending(os.fsdecode(path), image).lower() for path in connection.scalars(query)}

    def _decision_rows(
        self, connection: sa.Connection, judged: Sequence[JudgedFile], first_id: int
    ) -> Iterator[dict[str, Any]]:
        filed = _first_filed(connection, [file.measurement.sha256 for file in judged])
        first_decisions = {row.sha256: int(row.first_id) for row in filed}
        common = {"decided_at": timestamp(self._now()), "host": self._host}
        for decision_id, file in enumerate(judged, first_id):
            sha256 = file.measurement.sha256
            yield _decision_row(file) | common | {"id": decision_id, "duplicate_of": first_decisions.get(sha256)}
            first_decisions.setdefault(sha256, decision_id)  # of two in one group, the second is the duplicate

    def _insert_review(
        self, connection: sa.Connection, review: Mapping[str, Any], files: Sequence[tuple[Intent, int]]
    ) -> RecordedReview:
        row = {"reviewed_at": timestamp(self._now()), "host": self._host, **review}
        review_id = new_id(connection.execute(review_records.insert(), row))
        recorded = [
            self._insert_intent(connection, review["decision_id"], intent, review_id=review_id, previous_id=previous_id)
            for intent, previous_id in files
        ]
        return RecordedReview(review_id, tuple(recorded))

    def _insert_intent(
        self, connection: sa.Connection, decision_id: int, intent: Intent, **review: int
    ) -> RecordedIntent:
        recorded = RecordedIntent(_newest_ids(connection, intents)[0] + 1, intent)
        _add(connection, intents, [self._intent_row(recorded, decision_id) | review])
        return recorded

    def _intent_row(self, recorded: RecordedIntent, decision_id: int) -> dict[str, Any]:
        return _intent_row(recorded.intent) | {
            "id": recorded.intent_id,
            "decision_id": decision_id,
            "destination": printable(self._below_root(recorded.intent.destination_path)),
            "intended_at": timestamp(self._now()),
        }

    def _below_root(self, path: str) -> str:
        return path.removeprefix(os.path.join(self._root, ""))


class ReviewWriter(AuditWriter):
    """A writer for those who act on images; the caller holds the root's `ActingLock`."""

    def reviewable_images(self, decision_ids: Sequence[int]) -> dict[int, ReviewableImage]:
        """Give the images of these decisions, as they are now."""
        with self.reading() as connection:
            return reviewable_images(connection, decision_ids)

    def record_reviews(self, planned: Sequence[PlannedReview]) -> list[RecordedReview]:
        """Record reviews together with the moves they call for, before anything moves.

        Raises:
            DataError: somebody without the lock has acted on one of the images since it was looked at.
        """
        if not planned:
            return []
        with self.transaction(review_records, intents) as connection:
            now = reviewable_images(connection, [review.image.decision_id for review in planned])
            for review in planned:
                if not _is_as_seen(now.get(review.image.decision_id), review.image):
                    raise DataError(f"decision {review.image.decision_id} was acted on by somebody else just now")
            return [self._insert_review(connection, _review_row(review), review.intents) for review in planned]

    def unfinished_reviews(self) -> list[RecordedIntent]:
        """Give the intents of reviews that a crash left without an outcome, oldest first."""
        latest = sa.select(intents).where(intents.c.review_id.is_not(None)).order_by(intents.c.id.desc())
        finished = sa.select(outcomes.c.intent_id)
        with self.reading() as connection:
            rows = connection.execute(latest.limit(MAX_INTENTS)).all()
            ids = [row.id for row in rows]
            done = set(connection.scalars(finished.where(outcomes.c.intent_id.in_(ids))))
        return [_recorded_intent(row) for row in rows if row.id not in done][::-1]


def _is_as_seen(now: ReviewableImage | None, seen: ReviewableImage) -> bool:
    """Compare what reviews have changed; a daemon may have sent a late sidecar after the image meanwhile."""
    return now is not None and (now.state, now.last_review, now.busy) == (seen.state, seen.last_review, seen.busy)


def _review_row(review: PlannedReview) -> dict[str, Any]:
    return {
        "decision_id": review.image.decision_id,
        "action": review.action,
        "who": printable(review.who),
        "why": printable(review.why),
        "undoes": review.undoes,
        "profile": dict(review.profile) if review.profile is not None else None,
    }


def _newest_ids(connection: sa.Connection, *tables: sa.Table) -> list[int]:
    """Give the largest id that each table has ever had; numbering rows here lets a whole group go in at once.

    Raises:
        UnavailableError: somebody has used up all ids.
    """
    result = connection.exec_driver_sql("SELECT name, seq FROM sqlite_sequence")
    given = {row.name: int(row.seq) for row in result}
    newest = [given.get(table.name, 0) for table in tables]
    if max(newest) > MAX_INT64 - _ROOM_FOR_IDS:
        raise UnavailableError("the audit database has a row with the largest id there can be; no other can follow it")
    return newest


def _add(connection: sa.Connection, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows that are as SQLite stores them, past the layers that would look at every value of every row."""
    rows = list(rows)
    if rows:
        names = list(rows[0])
        columns = ", ".join(names)
        marks = ", ".join("?" * len(names))
        statement = f"INSERT INTO {table.name} ({columns}) VALUES ({marks})"
        connection.exec_driver_sql(statement, [tuple(row.values()) for row in rows])


def _first_filed(connection: sa.Connection, hashes: Sequence[str]) -> Sequence[sa.Row[Any]]:
    """Find which contents are already filed: the first decision on each, and where that filed it."""
    # Of the rows of a group, SQLite takes the other columns from the one with the least id.
    query = f"SELECT sha256, min(id) AS first_id, destination {_FILED_WITH}"
    # As one value: however many there are, the statement is the same, and SQLite has prepared it before.
    return connection.exec_driver_sql(query, (json.dumps(list(hashes)),)).all()


def _decision_row(file: JudgedFile) -> dict[str, Any]:
    decision, measurement = file.decision, file.measurement
    measured = measurement.measures is not None
    image = file.intents[0]
    return {
        "source": file.candidate.source,
        "class": printable(file.class_name),
        "relative_path": printable(file.candidate.relative_path),
        "sha256": measurement.sha256,
        "size_bytes": image.identity.size_bytes,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "issues": json.dumps(decision.issues),
        "detail": printable(decision.detail),
        "score": decision.score,
        **{name: decision.scores[name] if measured else None for name in SCORE_NAMES},
        "measures": json.dumps(dict(decision.measures)),
        "preset": decision.preset,
        "profile": json.dumps(dict(decision.thresholds)),
        "scorer_version": decision.scorer_version,
        "image_format": printable(measurement.image_format),
        "camera": printable(measurement.camera),
        "duration_ms": measurement.duration_ms,
        "borderline": int(decision.borderline),
        "code": measurement.code or None,
    }


def _intent_row(intent: Intent) -> dict[str, Any]:
    identity = intent.identity
    return {
        "role": intent.role,
        "source_path": os.fsencode(intent.source_path),
        "destination_path": os.fsencode(intent.destination_path),
        "sha256": intent.sha256,
        # SQLite's integers are signed 64 bits. Device and inode are unsigned; a sender can set a time beyond year 2262.
        "device": _signed(identity.device),
        "inode": _signed(identity.inode),
        "size_bytes": identity.size_bytes,
        "mtime_ns": _signed(identity.mtime_ns),
        "ctime_ns": _signed(identity.ctime_ns),
    }


def _recorded_intent(row: sa.Row[Any]) -> RecordedIntent:
    """Take a row of `intents`."""
    identity = FileIdentity(_unsigned(row.device), _unsigned(row.inode), row.size_bytes, row.mtime_ns, row.ctime_ns)
    intent = Intent(row.role, os.fsdecode(row.source_path), os.fsdecode(row.destination_path), row.sha256, identity)
    return RecordedIntent(row.id, intent)


def _signed(number: int) -> int:
    return (number - MIN_INT64) % (1 << 64) + MIN_INT64


def _unsigned(number: int) -> int:
    return number + (1 << 64) if number < 0 else number
