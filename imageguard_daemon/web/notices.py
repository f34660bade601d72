"""What was done last, told on the page that people come back to, with the way to take it back."""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass

from imageguard_daemon.review.rendering import PAST
from imageguard_daemon.review.values import Reviewed

_KEPT = 200


@dataclass(frozen=True, slots=True)
class Notice:
    """The result of one review; `not_tried` images were left when it ended early, for the reason in `stopped`."""

    action: str
    results: tuple[Reviewed, ...]
    stopped: str = ""
    not_tried: int = 0

    @property
    def verb(self) -> str:
        """Say what was done, such as `released`."""
        return PAST[self.action]

    @property
    def done(self) -> list[Reviewed]:
        """Give the images with which it was done."""
        return [one for one in self.results if one.done]

    @property
    def undoable(self) -> list[Reviewed]:
        """Give those with which it can be taken back."""
        return [one for one in self.done if one.action != "undo"]

    @property
    def refused(self) -> list[Reviewed]:
        """Give those with which it was not, each with its reason."""
        return [one for one in self.results if not one.done]


class Notices:
    """The latest notices by a key that nobody can guess; any thread may ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notices: OrderedDict[str, Notice] = OrderedDict()

    def add(self, notice: Notice) -> str:
        """Keep a notice and give its key."""
        key = secrets.token_urlsafe(12)
        with self._lock:
            self._notices[key] = notice
            while len(self._notices) > _KEPT:
                self._notices.popitem(last=False)
        return key

    def get(self, key: str) -> Notice | None:
        """Give a notice; None when there is none, or it is long gone."""
        with self._lock:
            return self._notices.get(key)
