"""Acts on images: release, confirm, reject, approve, undo, purge. Plain functions; beside a running daemon or without.

Each group of images is recorded, moved and recorded again under the root's `ActingLock`, after what an earlier command
may have left unfinished was finished. docs/decisions/0008-acting-beside-a-daemon.md says why that is enough.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from imageguard_daemon.audit.opening import require_log_of_own, writing_beside_daemon
from imageguard_daemon.audit.writer import RecordedReview, ReviewWriter
from imageguard_daemon.config import Settings, Source
from imageguard_daemon.core.errors import RetryableError, StalledError
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.core.model import Candidate, Outcome
from imageguard_daemon.daemon.move_group import FileMove, carry_out
from imageguard_daemon.daemon.recovery import Recovery
from imageguard_daemon.filing import mounts
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.mounts import Mounts
from imageguard_daemon.filing.mover import NameTakenError
from imageguard_daemon.filing.removal import remove
from imageguard_daemon.review.planning import Planner, Refused, ReviewPlan, ReviewTask, left_behind
from imageguard_daemon.review.values import Reviewed, Reviewer

GROUP_SIZE = 50
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Acting:
    """What it takes to act on the images of one root; from `acting_on`. One thread at a time."""

    audit: ReviewWriter
    lock: ActingLock
    sources: Mapping[str, Source]
    roots: tuple[str, ...]
    mounts: Mounts


@contextmanager
def acting_on(settings: Settings) -> Iterator[Acting]:
    """Open a root's log to act on its images.

    Raises:
        NoInputError: there is no log, or a folder is missing.
        PermissionDeniedError: the root belongs to another account.
        StalledError: the log is locked, or a disk is not mounted.
        UnavailableError: the log is damaged or of another version, which is not changed under a running daemon.
    """
    require_log_of_own(settings)
    mounts.require_same_disks(settings.state_folder)
    with writing_beside_daemon(settings, ReviewWriter) as audit:
        roots = tuple(str(folder) for source in settings.sources for folder in source.folders)
        sources = {source.name: source for source in settings.sources}
        yield Acting(audit, ActingLock(settings.state_folder), sources, roots, Mounts(roots))


def release(acting: Acting, decision_ids: Sequence[int], reviewer: Reviewer) -> Iterator[Reviewed]:
    """Move images, each with its sidecars, to where they would have gone in accepted; yield what became of each.

    What a person rejected goes back to where it was: that is an `undo`, and recorded as one.

    Nothing happens before the results are asked for. What can't be done is reported and passed over.

    Raises:
        StalledError: the log, the lock or a disk cannot be had for now; what was yielded as done is done.
        DataError, StorageError: the disk or the folders cannot be trusted; the next command or start looks.
    """
    return act(acting, decision_ids, ReviewTask("release", reviewer))


def confirm(acting: Acting, decision_ids: Sequence[int], reviewer: Reviewer) -> Iterator[Reviewed]:
    """Record that these rejections are right; for results and errors see `release`."""
    return act(acting, decision_ids, ReviewTask("confirm", reviewer))


def reject(acting: Acting, decision_ids: Sequence[int], reviewer: Reviewer) -> Iterator[Reviewed]:
    """Move accepted images, each with its sidecars, to where they would have gone in quarantine; see `release`."""
    return act(acting, decision_ids, ReviewTask("reject", reviewer))


def approve(acting: Acting, decision_ids: Sequence[int], reviewer: Reviewer) -> Iterator[Reviewed]:
    """Record that these images were accepted rightly; for results and errors see `release`."""
    return act(acting, decision_ids, ReviewTask("approve", reviewer))


def undo(acting: Acting, decision_ids: Sequence[int], reviewer: Reviewer) -> Iterator[Reviewed]:
    """Take back what was last done with each image or said of it, but for a purge; for the rest see `release`."""
    return act(acting, decision_ids, ReviewTask("undo", reviewer))


def rejudge(
    acting: Acting, decision_ids: Sequence[int], reviewer: Reviewer, profiles: Mapping[int, Mapping[str, float]]
) -> Iterator[Reviewed]:
    """Release images that other thresholds accept; `profiles` has these by decision, and they are recorded.

    What a person confirmed is refused. For results and errors see `release`.
    """
    return act(acting, decision_ids, ReviewTask("rejudge", reviewer, profiles))


def purge(acting: Acting, decision_ids: Sequence[int], reviewer: Reviewer) -> Iterator[Reviewed]:
    """Delete images that people confirmed or rejected, each with its sidecars, for good; see `release`."""
    return act(acting, decision_ids, ReviewTask("purge", reviewer))


def act(acting: Acting, decision_ids: Sequence[int], task: ReviewTask) -> Iterator[Reviewed]:
    """Do a task with each of these images, group by group; for results and errors see `release`."""
    for start in range(0, len(decision_ids), GROUP_SIZE):
        ids = list(dict.fromkeys(decision_ids[start : start + GROUP_SIZE]))
        group = _Group(acting, task)
        yield from group.act(ids)
        if group.stalled is not None:
            raise group.stalled


_Pair = tuple[ReviewPlan, RecordedReview]
_Done = tuple[dict[int, RetryableError], list[Outcome]]
"""Why the images of some reviews stayed, and what became of every file."""


class _Group:
    """A few images that are recorded together, moved, and recorded again."""

    def __init__(self, acting: Acting, task: ReviewTask) -> None:
        self._acting = acting
        self._task = task
        self.stalled: StalledError | None = None

    def act(self, decision_ids: Sequence[int]) -> list[Reviewed]:
        """Give the results in the order of the ids."""
        results: dict[int, Reviewed] = {}
        left = list(decision_ids)
        # The lock is taken for each group by itself, so that a daemon and other commands wait for a few images at most.
        with self._acting.lock.held():
            audit = self._acting.audit
            # First what an earlier command left unfinished: a file that is on its way has no place to plan from.
            Recovery(audit, self._acting.roots, self._acting.sources).begin(audit.unfinished_reviews())
            for _ in range(_TRIES):  # another uploader may take a name that was free
                again = []
                for one, error in self._try(left):
                    results[one.decision_id] = one
                    if isinstance(error, NameTakenError):
                        again.append(one.decision_id)
                left = again
        return [results[decision_id] for decision_id in decision_ids]

    def _try(self, decision_ids: Sequence[int]) -> Iterator[tuple[Reviewed, RetryableError | None]]:
        plans, refused = self._plan(decision_ids)
        yield from ((one, None) for one in refused)
        with Folders(self._acting.roots, self._acting.mounts) as folders:
            # Recorded before anything moves: after a crash the next start knows what was begun, and ends it.
            recorded = self._acting.audit.record_reviews([plan.review for plan in plans])
            pairs = list(zip(plans, recorded, strict=True))
            do = self._delete if self._task.action == "purge" else self._move
            errors, outcomes = do(pairs, folders)
            self._acting.audit.record_outcomes(outcomes)
        stayed = {one.intent_id: one.detail for one in outcomes if one.outcome not in {"moved", "purged"}}
        for plan, review in pairs:
            error = errors.get(review.review_id)
            if isinstance(error, StalledError):
                self.stalled = error
            yield self._result(plan, review, error, stayed), error

    def _plan(self, decision_ids: Sequence[int]) -> tuple[list[ReviewPlan], list[Reviewed]]:
        images = self._acting.audit.reviewable_images(decision_ids)
        planner = Planner(self._acting.sources, self._task)
        plans, refused = [], []
        for decision_id in decision_ids:
            image = images.get(decision_id)
            name = image.relative_path if image else ""
            try:
                if image is None:
                    raise Refused("no image has this number")  # noqa: TRY301 - reported like the others
                plans.append(planner.plan(image))
            except Refused as why:
                refused.append(Reviewed(decision_id, self._task.action, False, name, str(why)))
        return plans, refused

    def _move(self, pairs: Sequence[_Pair], folders: Folders) -> _Done:
        moves = {
            review.review_id: FileMove(Candidate(image.source, image.relative_path), review.intents)
            for image, review in ((plan.review.image, review) for plan, review in pairs)
            if review.intents
        }
        carry_out(list(moves.values()), folders)
        errors = {review_id: move.error for review_id, move in moves.items() if move.error is not None}
        return errors, [outcome for move in moves.values() for outcome in move.outcomes]

    def _delete(self, pairs: Sequence[_Pair], folders: Folders) -> _Done:
        errors: dict[int, RetryableError] = {}
        outcomes = []
        for _, review in pairs:
            for intent in review.intents:  # the image first: when it stays, its sidecars stay
                try:
                    if review.review_id not in errors:
                        remove(intent, folders)
                except RetryableError as error:
                    outcomes.append(Outcome(intent.intent_id, "abandoned", str(error)))
                    if intent.intent.role == "image":
                        errors[review.review_id] = error
                else:
                    stayed = review.review_id in errors
                    outcomes.append(
                        Outcome(intent.intent_id, "abandoned", "its image stayed")
                        if stayed
                        else Outcome(intent.intent_id, "purged")
                    )
        folders.sync()
        return errors, outcomes

    def _result(
        self, plan: ReviewPlan, review: RecordedReview, error: RetryableError | None, stayed: Mapping[int, str]
    ) -> Reviewed:
        image, action = plan.review.image, plan.review.action
        if error is not None:
            return Reviewed(image.decision_id, action, False, image.relative_path, str(error))
        destination, remarks = "", [plan.detail] if plan.detail else []
        for recorded in review.intents:
            intent = recorded.intent
            if intent.role == "image":
                destination = intent.destination_path
            elif recorded.intent_id in stayed:
                remarks.append(left_behind(intent.source_path, stayed[recorded.intent_id]))
        return Reviewed(
            image.decision_id, action, True, image.relative_path, "; ".join(remarks), destination, review.review_id
        )
