"""Checksums that senders put beside their files: which names they have, and how they are written. Pure.

1.jpg.sha256, 1.jpg.md5    of one image: the first digest counts, whatever name stands behind it
SHA256SUMS, md5sum.txt     of all files of a folder, as sha256sum(1), md5sum(1), BSD's tools and OpenSSL write them
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

Algorithm = Literal["sha256", "md5"]
ENDINGS = (".sha256", ".md5")
LISTS = ("SHA256SUMS", "MD5SUMS", "sha256sum.txt", "md5sum.txt", "sha256sums.txt", "md5sums.txt")
SHOWN: Mapping[Algorithm, str] = {"sha256": "SHA-256", "md5": "MD5"}
_LISTS = frozenset(name.lower() for name in LISTS)
_LONGEST_LINE = 8192
_ALGORITHMS: Mapping[int, Algorithm] = {64: "sha256", 32: "md5"}
_GNU = re.compile(rb"(\\?)([0-9a-fA-F]{32}|[0-9a-fA-F]{64})(?:[ \t]+[ *]?(.*))?")
_BSD = re.compile(rb"(\\?)(?:SHA2?-?256|MD5) ?\((.*)\) ?= ?([0-9a-fA-F]{32}|[0-9a-fA-F]{64})")
_ESCAPES = {rb"\\": b"\\", rb"\n": b"\n", rb"\r": b"\r"}


@dataclass(frozen=True, slots=True)
class Digest:
    """What a sender says of a file's content, as hexadecimal digits."""

    algorithm: Algorithm
    digits: str


@dataclass(frozen=True, slots=True)
class Listed:
    """A list of checksums: several to a name where both algorithms are used, the last line of each counts."""

    of_names: Mapping[bytes, tuple[Digest, ...]]
    bad_lines: int


def is_list(name: str) -> bool:
    """Tell whether a file has the checksums of its folder."""
    return name.lower() in _LISTS


def listed(data: bytes) -> Listed:
    """Read a list; names in other folders are passed over, lines that are none are counted."""
    of_names: dict[bytes, dict[Algorithm, Digest]] = {}
    bad_lines = 0
    for line in _lines(data):
        parsed = _parsed(line)
        if parsed is None:
            bad_lines += 1
            continue
        name, digest = parsed
        if name is not None:
            digests = of_names.setdefault(name.removeprefix(b"./"), {})
            digests[digest.algorithm] = digest
    return Listed({name: tuple(digests.values()) for name, digests in of_names.items()}, bad_lines)


def first_digest(data: bytes) -> Digest | None:
    """Give the first digest of a file that has that of one image."""
    for line in _lines(data):
        if parsed := _parsed(line):
            return parsed[1]
    return None


def _lines(data: bytes) -> Iterator[bytes]:
    for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        stripped = line.rstrip(b"\r")
        if stripped.strip() and not stripped.startswith((b"#", b";")):
            yield stripped


def _parsed(line: bytes) -> tuple[bytes | None, Digest] | None:
    if len(line) > _LONGEST_LINE:
        return None
    if match := _GNU.fullmatch(line):
        escaped, digits, name = match.groups()
    elif match := _BSD.fullmatch(line):
        escaped, name, digits = match.groups()
    else:
        return None
    if escaped and name:
        name = re.sub(rb"\\[\\nr]", lambda escape: _ESCAPES[escape[0]], name)
    return name or None, Digest(_ALGORITHMS[len(digits)], digits.decode().lower())
