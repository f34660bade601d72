"""Acts on images: release, confirm, reject, approve, undo, purge. Plain functions; beside a running daemon or without.

Each group of images is planned, recorded, moved and recorded again under the root's `ActingLock`, after what an earlier
command may have left unfinished was finished. docs/decisions/0008-acting-beside-a-daemon.md says why that is enough.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from imageguard_daemon.audit.opening import require_log_of_own, writing_beside_daemon
from imageguard_daemon.audit.quarantine_queries import ReviewableFile, ReviewableImage
from imageguard_daemon.audit.writer import PlannedReview, RecordedReview, ReviewWriter
from imageguard_daemon.config import Settings, Source
from imageguard_daemon.core.errors import RetryableError, StalledError
from imageguard_daemon.core.locks import ActingLock
from imageguard_daemon.core.model import Candidate, FileIdentity, Intent, Outcome, ReviewAction
from imageguard_daemon.core.names import printable, sidecar_ending
from imageguard_daemon.daemon.move_group import FileMove, carry_out, contents_of
from imageguard_daemon.daemon.recovery import Recovery
from imageguard_daemon.filing import mounts
from imageguard_daemon.filing.folders import Folders
from imageguard_daemon.filing.judged_file import remove
from imageguard_daemon.filing.mounts import Mounts
from imageguard_daemon.filing.mover import NameTakenError
from imageguard_daemon.filing.recorded_paths import spelled_as_configured
from imageguard_daemon.filing.rules import destinations
from imageguard_daemon.review.rules.transitions import recorded_as, refusal
from imageguard_daemon.review.values import Reviewed, Reviewer

GROUP_SIZE = 50
_TRIES = 3
_SAYING = frozenset({"confirm", "approve"})
_SAID = frozenset({"confirmed", "approved"})
"""What says that the daemon was right, and moves nothing; and the states that it leads to."""


class Refused(Exception):  # noqa: N818 - not an error of anybody's
    """This image is left as it is; the message says why."""


@dataclass(frozen=True, slots=True)
class ReviewTask:
    """What is to be done; `profiles` has the thresholds behind a rejudgement, by decision."""

    action: ReviewAction
    reviewer: Reviewer
    profiles: Mapping[int, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReviewPlan:
    """A review to be recorded, and what is worth telling though it can be done."""

    review: PlannedReview
    detail: str = ""


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
                for result, error in self._try(left):
                    results[result.decision_id] = result
                    if isinstance(error, NameTakenError):
                        again.append(result.decision_id)
                left = again
        return [results[decision_id] for decision_id in decision_ids]

    def _try(self, decision_ids: Sequence[int]) -> Iterator[tuple[Reviewed, RetryableError | None]]:
        plans, refused = self._plan(decision_ids)
        yield from ((result, None) for result in refused)
        with Folders(self._acting.roots, self._acting.mounts) as folders:
            # Recorded before anything moves: after a crash the next start knows what was begun, and ends it.
            recorded = self._acting.audit.record_reviews([plan.review for plan in plans])
            pairs = list(zip(plans, recorded, strict=True))
            do = self._delete if self._task.action == "purge" else self._move
            errors, outcomes = do(pairs, folders)
            self._acting.audit.record_outcomes(outcomes)
        given_up = (outcome for outcome in outcomes if outcome.outcome not in {"moved", "purged"})
        stayed = {outcome.intent_id: outcome.detail for outcome in given_up}
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
        destination = ""
        remarks = [plan.detail] if plan.detail else []
        for recorded in review.intents:
            intent = recorded.intent
            if intent.role == "image":
                destination = intent.destination_path
            elif recorded.intent_id in stayed:
                remarks.append(left_behind(intent.source_path, stayed[recorded.intent_id]))
        return Reviewed(
            image.decision_id, action, True, image.relative_path, "; ".join(remarks), destination, review.review_id
        )


class Planner:
    """Plans a group of reviews; no two get the same destination. Looks at files, changes nothing."""

    def __init__(self, sources: Mapping[str, Source], task: ReviewTask) -> None:
        self._sources = sources
        self._task = task
        self._reserved: set[str] = set()

    def plan(self, image: ReviewableImage) -> ReviewPlan:
        """Plan one review.

        Raises:
            Refused: it makes no sense for this image, or its file is not the one that was judged.
        """
        why_not = refusal(self._task.action, image.state) or ("is being acted on" if image.busy else "")
        if why_not:
            raise Refused(why_not)
        action = recorded_as(self._task.action, image.state)
        if action in _SAYING or (action == "undo" and image.state in _SAID):
            return ReviewPlan(self._review(image, action))
        source = self._sources.get(image.source)
        if source is None:
            raise Refused(f"came from source '{printable(image.source)}', which the configuration does not have")
        files = _Found(image, source)
        intents = files.deletions() if action == "purge" else self._moves(*files.way(action), files)
        return ReviewPlan(self._review(image, action, intents), files.remarks())

    def _review(
        self, image: ReviewableImage, action: ReviewAction, intents: Sequence[tuple[Intent, int]] = ()
    ) -> PlannedReview:
        reviewer = self._task.reviewer
        undoes = image.last_review if action == "undo" else None
        profile = self._task.profiles.get(image.decision_id)
        return PlannedReview(image, action, reviewer.who, reviewer.why, tuple(intents), undoes, profile)

    def _moves(self, root: str, wanted: str, files: "_Found") -> list[tuple[Intent, int]]:
        """Choose names; a file that has its own already, since it was left behind or moved by hand, stays there."""
        there = {file.path for file in files.present}

        def taken(relative_path: str) -> bool:
            path = os.path.join(root, relative_path)
            return path in self._reserved or (path not in there and os.path.lexists(path))

        image, *sidecars = files.present
        suffixes = [sidecar_ending(file.path, image.path) for file in sidecars]
        free_path = destinations.free_path(wanted, suffixes, image.file.sha256, taken)
        names = {image: os.path.join(root, free_path)}
        for sidecar, suffix in zip(sidecars, suffixes, strict=True):
            beside = destinations.renamed_like(suffix, free_path)
            names[sidecar] = os.path.join(root, destinations.free_path(beside, (), sidecar.file.sha256, taken))
            self._reserved.add(names[sidecar])
        self._reserved.add(names[image])
        return [file.moved_to(name) for file, name in names.items() if name != file.path]


@dataclass(frozen=True, slots=True)
class _Present:
    """A file that is where the log says, with the content that was judged; `path` is spelled as configured."""

    file: ReviewableFile
    path: str
    identity: FileIdentity

    def moved_to(self, destination: str) -> tuple[Intent, int]:
        file = self.file
        return Intent(file.role, self.path, destination, file.sha256, self.identity), file.intent_id


class _Found:
    """An image's files as they are on disk."""

    def __init__(self, image: ReviewableImage, source: Source) -> None:
        self._image = image
        self._source = source
        self._folders = [str(folder) for folder in source.folders]
        self._left: list[str] = []
        self.present = list(self._look(image.files))

    def deletions(self) -> list[tuple[Intent, int]]:
        return [file.moved_to("") for file in self.present]

    def way(self, action: ReviewAction) -> tuple[str, str]:
        """Give the folder that the image is to go to, and where in it: an undo brings it back to where it was."""
        inbox, accepted, quarantine = self._folders
        path, origin, came_from = (
            spelled_as_configured(place, self._folders)
            for place in (self.present[0].path, self.present[0].file.origin, self._image.came_from)
        )
        is_rejecting = action == "reject" or (action == "undo" and self._image.state == "released")
        here, there = (accepted, quarantine) if is_rejecting else (quarantine, accepted)
        wanted = _below(came_from, there) if action == "undo" else _below(origin, inbox)
        return there, wanted or _below(path, here) or os.path.basename(path)

    def remarks(self) -> str:
        return "; ".join(self._left)

    def _look(self, files: Sequence[ReviewableFile]) -> Iterator[_Present]:
        if not files:
            raise Refused("has no file any more")
        for file in files:
            path = spelled_as_configured(file.path, self._folders)
            contents = contents_of(path, file.size_bytes)  # what is larger than recorded is another file
            if contents is None or contents[0] != file.sha256:
                what = "is not the one that was recorded" if os.path.lexists(path) else "is not there"
                if file.role == "image":
                    raise Refused(f"its file {printable(path)} {what}; see `verify`")
                self._left.append(left_behind(path, what))
            else:
                yield _Present(file, path, contents[1])


def left_behind(path: str, why: str) -> str:
    """Say that a sidecar does not follow its image."""
    return f"left behind: {printable(path)} {why}"


def _below(path: str, folder: str) -> str:
    """Give a path relative to a folder it lies in; empty when it lies elsewhere."""
    return os.path.relpath(path, folder) if path.startswith(os.path.join(folder, "")) else ""
