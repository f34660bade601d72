"""Where a judged file goes. Pure: whether a name is taken is asked of the caller."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import PurePosixPath

NAME_MAX_BYTES = 255
_HASH_DIGITS = 8


def class_of(relative_path: str, rule: str) -> str:
    """Read the class of an image from its path below the inbox; empty when the path has none.

    `rule` is `first_folder`, `parent_folder`, `none`, or a regular expression with a group `class` that is
    searched for in the path.
    """
    folders = PurePosixPath(relative_path).parent.parts
    if rule == "none":
        return ""
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
    for candidate in _alternatives(relative_path, sha256):
        paths = [candidate, *(renamed_like(suffix, candidate) for suffix in companions)]
        if not any(taken(path) for path in paths):
            return candidate
    raise AssertionError("the alternatives never end")


def renamed_like(suffix: str, image_path: str) -> str:
    """Give the path of a sidecar with this suffix beside an image."""
    return str(PurePosixPath(image_path).with_suffix(suffix))


def _alternatives(relative_path: str, sha256: str) -> Iterator[str]:
    yield relative_path
    path = PurePosixPath(relative_path)
    for number in count(1):
        mark = f".{sha256[:_HASH_DIGITS]}" + (f"-{number}" if number > 1 else "")
        yield str(path.with_name(_shortened(path.stem, mark + path.suffix) + mark + path.suffix))


def _shortened(stem: str, ending: str) -> str:
    """Cut a stem so that the whole name fits; names are limited in bytes, and cut between characters."""
    while len(os.fsencode(stem + ending)) > NAME_MAX_BYTES:
        stem = stem[:-1]
    return stem
