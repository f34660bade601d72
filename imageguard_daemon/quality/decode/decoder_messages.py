"""What decoders say of a file, sorted into what is recorded of it."""

import contextlib
import re
import struct
import zlib
from collections.abc import Iterator

from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.quality.decode.exif import one_line
from imageguard_daemon.quality.decode.pillow import UnidentifiedImageError

NO_MEMORY = "it takes more memory than a worker may have"
_WANTS_MEMORY = re.compile(
    r"out of memory|insufficient memory|memory (allocation|exhausted)|(cannot|failed to|unable to) allocate",
    re.IGNORECASE,
)
_PILLOW_COMPLAINTS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error),
    *(zlib.error, ArithmeticError, AttributeError, RuntimeError, AssertionError),
)


def complaint(name: str, error: Exception) -> ImageError:
    """Give what a library says of a file as an ImageError: damage, or want of memory, which proves none."""
    told = one_line(error)
    if _WANTS_MEMORY.search(told):
        return ImageError("too_large", NO_MEMORY)
    return ImageError("corrupt", f"{name}: {told}")


@contextlib.contextmanager
def pillow_guard(name: str) -> Iterator[None]:
    """Turn whatever Pillow says about a bad file into ImageError."""
    try:
        yield
    except UnidentifiedImageError as error:
        raise ImageError("corrupt", f"{name}: the header makes no sense") from error
    except _PILLOW_COMPLAINTS as error:
        raise complaint(name, error) from error
