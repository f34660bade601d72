"""What is done with hostile bytes in a confined process, one module for each task; each has a `task`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from imageguard_daemon.core.model import Limits

Answer = TypeVar("Answer")

KNOWN_SIZE = (16, 16)
KNOWN_PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000100000001008000000003a98a0bd000000144944415478da63646043058c1c68022c234a"
    "000058a806537027ea260000000049454e44ae426082"
)
"""PNG: it goes through zlib, libpng, all features and the networks."""


@dataclass(frozen=True, slots=True)
class Task(Generic[Answer]):
    """Bytes in, bytes out: `run` is confined, `read` is not and trusts nothing that `run` gives.

    `prepare` loads in time what could not be loaded any more, `prove` looks at a known picture and says what is wrong,
    if anything is.
    """

    run: Callable[[bytes, Limits], bytes]
    read: Callable[[bytes], Answer]
    prepare: Callable[[], None]
    prove: Callable[[], str]
    threads_needed: bool = False

    def unread(self) -> "Task[bytes]":
        """Give the same for somebody who hands answers on: they are proved to make sense, and left as they are."""

        def checked(answer: bytes) -> bytes:
            self.read(answer)
            return answer

        return replace(self, read=checked)  # type: ignore[arg-type, return-value]


def size_complaint(size: Any, detail: str = "") -> str:
    """Say what is wrong with what was seen of the known picture."""
    if size == KNOWN_SIZE:
        return ""
    return f"it does not read a picture that is known to be good: {detail or 'another size'}"
