"""Records what people say and do about images, from any process, beside a daemon's own records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from imageguard_daemon.audit.log_writer import new_id
from imageguard_daemon.audit.quarantine_queries import ReviewableImage, reviewable_images
from imageguard_daemon.audit.schema import intents, outcomes, review_records
from imageguard_daemon.audit.writer import AuditWriter, recorded_intent
from imageguard_daemon.core.errors import DataError
from imageguard_daemon.core.model import Intent, RecordedIntent, ReviewAction
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import timestamp

MAX_INTENTS = 1_000
"""No group of reviews has more. Each group begins with finishing what the one before left, so what is unfinished is
among the latest so many."""


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
            return [self._insert_review(connection, review) for review in planned]

    def unfinished_reviews(self) -> list[RecordedIntent]:
        """Give the intents of reviews that a crash left without an outcome, oldest first."""
        latest = sa.select(intents).where(intents.c.review_id.is_not(None)).order_by(intents.c.id.desc())
        finished = sa.select(outcomes.c.intent_id)
        with self.reading() as connection:
            rows = connection.execute(latest.limit(MAX_INTENTS)).all()
            ids = [row.id for row in rows]
            done = set(connection.scalars(finished.where(outcomes.c.intent_id.in_(ids))))
        return [recorded_intent(row) for row in rows if row.id not in done][::-1]

    def _insert_review(self, connection: sa.Connection, review: PlannedReview) -> RecordedReview:
        row = {
            "decision_id": review.image.decision_id,
            "reviewed_at": timestamp(self._now()),
            "host": self._host,
            "action": review.action,
            "who": printable(review.who),
            "why": printable(review.why),
            "undoes": review.undoes,
            "profile": dict(review.profile) if review.profile is not None else None,
        }
        review_id = new_id(connection.execute(review_records.insert(), row))
        recorded = (
            self._insert_intent(
                connection, review.image.decision_id, intent, review_id=review_id, previous_id=previous_id
            )
            for intent, previous_id in review.intents
        )
        return RecordedReview(review_id, tuple(recorded))


def _is_as_seen(now: ReviewableImage | None, seen: ReviewableImage) -> bool:
    """Compare what reviews have changed; a daemon may have sent a late sidecar after the image meanwhile."""
    return now is not None and (now.state, now.last_review, now.busy) == (seen.state, seen.last_review, seen.busy)
