"""Where a judged file goes. Pure: whether a name is taken is asked of the caller."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import PurePosixPath

NAME_MAX_BYTES = 255
_HASH_DIGITS = 8
_SUFFIX_MAX_BYTES = 64


def class_of(relative_path: str, rule: str) -> str:
    """Read the class of an image from its path below the inbox; empty when the path has none.

    `rule` is `first_folder`, `parent_folder`, `none`, or a regular expression with a group `class` that is
    searched for in the path.
    """
    if rule == "none":
        return ""
    folders = PurePosixPath(relative_path).parent.parts
    if rule == "first_folder":
        return folders[0] if folders else ""
    if rule == "parent_folder":
        return folders[-1] if folders else ""
    match = re.search(rule, relative_path)
    return (match["class"] or "") if match else ""


def free_path(relative_path: str, companions: Sequence[str], sha256: str, taken: Callable[[str], bool]) -> str:
    """Choose a relative path at which nothing is in the way of the image or its companions.

    The image keeps its name when it is free. Otherwise the first digits of its SHA-256 tell it apart
    (`1.jpg` -> `1.3fa2c1d0.jpg`), then a number too. `companions` are suffixes of the sidecars moving along, which
    keep sharing the image's stem.
    """
    for candidate in alternatives(relative_path, companions, sha256):
        paths = [candidate, *(renamed_like(suffix, candidate) for suffix in companions)]
        if not any(taken(path) for path in paths):
            return candidate
    raise AssertionError("the alternatives never end")


def renamed_like(suffix: str, image_path: str) -> str:
    """Give the path of a sidecar beside an image: `suffix` takes the place of the image's, and may repeat it."""
    return str(PurePosixPath(image_path).with_suffix(suffix))


def alternatives(relative_path: str, companions: Sequence[str], sha256: str) -> Iterator[str]:
    """Yield the names a file may get, the best one first, without an end; for the parameters see `free_path`."""
    yield relative_path
    path = PurePosixPath(relative_path)
    stem, suffix = path.stem.rstrip("."), _shortened(path.suffix, _SUFFIX_MAX_BYTES)
    room = NAME_MAX_BYTES - max(len(os.fsencode(ending)) for ending in (suffix, *companions))
    # Without a suffix the mark must not look like one, or the sidecars' names would not change with it.
    mark = f"{'.' if suffix else '-'}{sha256[:_HASH_DIGITS]}"
    for number in count(1):
        numbered = mark + (f"-{number}" if number > 1 else "")
        yield str(path.with_name(_shortened(stem, room - len(numbered)) + numbered + suffix))


def _shortened(text: str, most_bytes: int) -> str:
    """Cut a text to so many bytes, which is what names are limited in, but between characters."""
    while text and len(os.fsencode(text)) > most_bytes:
        text = text[:-1]
    return text
