"""What goes into reviews and what comes out."""

from dataclasses import dataclass

from imageguard_daemon.core.model import ReviewAction


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Who acts, and why; both are recorded."""

    who: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """What became of one image that was to be reviewed.

    `detail` says why it was not done, or what is worth knowing though it was; `destination` is where the image's file
    is now if it moved (absolute, raw); `relative_path` is escaped as in the log.
    """

    decision_id: int
    action: ReviewAction
    done: bool
    relative_path: str = ""
    detail: str = ""
    destination: str = ""
    review_id: int | None = None
