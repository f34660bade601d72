"""What decoders say of a file, sorted into what is recorded of it."""

import contextlib
import re
import struct
import zlib
from collections.abc import Iterator

from PIL import Image, UnidentifiedImageError

from imageguard_daemon.errors import ImageError
from imageguard_daemon.quality.exif import one_line
from imageguard_daemon.quality.quiet import QUIET

NO_MEMORY = "it takes more memory than a worker may have"
_CLAIMED_PIXELS = re.compile(r"\((\d+) pixels\)")
_WANTS_MEMORY = re.compile(
    r"out of memory|insufficient memory|memory (allocation|exhausted)|(cannot|failed to|unable to) allocate",
    re.IGNORECASE,
)
_PILLOW_COMPLAINTS = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, LookupError, struct.error),
    *(zlib.error, ArithmeticError, AttributeError, RuntimeError),
)


def complaint(name: str, error: Exception) -> ImageError:
    """Give what a library says of a file as an ImageError: damage, or want of memory, which proves none."""
    told = one_line(error)
    if _WANTS_MEMORY.search(told):
        return ImageError("too_large", NO_MEMORY)
    return ImageError("corrupt", f"{name}: {told}")


@contextlib.contextmanager
def pillow_guard(name: str) -> Iterator[None]:
    """Turn whatever Pillow says about a bad file into ImageError, and keep its warnings quiet."""
    try:
        with QUIET:
            yield
    except UnidentifiedImageError as error:
        raise ImageError("corrupt", f"{name}: the header makes no sense") from error
    except Image.DecompressionBombError as error:
        # Pillow's own fence, which stands in front of ours unless a worker has taken it down.
        pixels = _CLAIMED_PIXELS.search(str(error))
        claim = f"{int(pixels[1]) / 1e6:.0f} megapixels" if pixels else "too many pixels"
        raise ImageError("too_large", f"the header claims {claim}") from error
    except _PILLOW_COMPLAINTS as error:
        raise complaint(name, error) from error
