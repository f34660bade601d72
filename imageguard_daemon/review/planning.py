"""From an image and what is to be done with it to the moves that takes, or to the reason why not."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from imageguard_daemon.audit.quarantine_queries import ReviewableFile, ReviewableImage
from imageguard_daemon.audit.writer import PlannedReview
from imageguard_daemon.config import Source
from imageguard_daemon.core.model import FileIdentity, Intent, ReviewAction
from imageguard_daemon.core.names import printable, sidecar_ending
from imageguard_daemon.daemon.move_group import contents_of
from imageguard_daemon.filing.recorded_paths import spelled_as_configured
from imageguard_daemon.filing.rules import destinations
from imageguard_daemon.review.rules.transitions import recorded_as, refusal
from imageguard_daemon.review.values import Reviewer

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
        found = _Found(image, source)
        intents = found.deletions() if action == "purge" else self._moves(*found.way(action), found)
        return ReviewPlan(self._review(image, action, intents), found.remarks())

    def _review(
        self, image: ReviewableImage, action: ReviewAction, intents: Sequence[tuple[Intent, int]] = ()
    ) -> PlannedReview:
        reviewer = self._task.reviewer
        undoes = image.last_review if action == "undo" else None
        profile = self._task.profiles.get(image.decision_id)
        return PlannedReview(image, action, reviewer.who, reviewer.why, tuple(intents), undoes, profile)

    def _moves(self, root: str, wanted: str, found: "_Found") -> list[tuple[Intent, int]]:
        """Choose names; a file that has its own already, since it was left behind or moved by hand, stays there."""
        there = {one.path for one in found.present}

        def taken(relative_path: str) -> bool:
            path = os.path.join(root, relative_path)
            return path in self._reserved or (path not in there and os.path.lexists(path))

        image, *sidecars = found.present
        suffixes = [sidecar_ending(one.path, image.path) for one in sidecars]
        chosen = destinations.free_path(wanted, suffixes, image.file.sha256, taken)
        names = {image: os.path.join(root, chosen)}
        for sidecar, suffix in zip(sidecars, suffixes, strict=True):
            beside = destinations.renamed_like(suffix, chosen)
            names[sidecar] = os.path.join(root, destinations.free_path(beside, (), sidecar.file.sha256, taken))
            self._reserved.add(names[sidecar])
        self._reserved.add(names[image])
        return [one.moved_to(name) for one, name in names.items() if name != one.path]


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
        return [one.moved_to("") for one in self.present]

    def way(self, action: ReviewAction) -> tuple[str, str]:
        """Give the folder that the image is to go to, and where in it: an undo brings it back to where it was."""
        inbox, accepted, quarantine = self._folders
        path, origin, came_from = (
            spelled_as_configured(one, self._folders)
            for one in (self.present[0].path, self.present[0].file.origin, self._image.came_from)
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
