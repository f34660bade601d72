"""Files to measure speed with: photo-like JPEGs that are alike in cost and all different in content."""

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.images import jpeg, photo

BASES = 8
"""Different scenes; further files are copies of these that differ in a comment, which costs no decoder anything."""
SIZES = {"0.2": (500, 375), "1": (1155, 866), "12": (4000, 3000), "100": (11547, 8660), "tiny": (16, 16)}
"""Names for width and height, by megapixels."""
FILES_IN_A_FOLDER = 1_000


@dataclass(frozen=True, slots=True)
class Pictures:
    """An endless supply of JPEG files, each different."""

    bases: tuple[bytes, ...]

    @classmethod
    def made(cls, size: str, seed: int, scenes: int = BASES) -> "Pictures":
        """Draw so many scenes of one of `SIZES`."""
        width, height = SIZES[size]
        with ProcessPoolExecutor() as pool:
            drawn = pool.map(_drawn, itertools.repeat(width), itertools.repeat(height), range(seed, seed + scenes))
            return cls(tuple(drawn))

    @classmethod
    def found(cls, folder: Path) -> "Pictures":
        """Take the JPEG files of a folder."""
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
        if not paths:
            raise SystemExit(f"no JPEG files in {folder}")
        return cls(tuple(path.read_bytes() for path in paths))

    def __getitem__(self, number: int) -> bytes:
        """Give the file of a number, always the same."""
        data = self.bases[number % len(self.bases)]
        comment = b"%d" % number
        return data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]

    def fill(self, inbox: Path, numbers: Sequence[int]) -> None:
        """Write files into class folders below an inbox."""
        for number in numbers:
            path = inbox / name(number)
            if number % FILES_IN_A_FOLDER == 0 or number == numbers[0]:
                path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self[number])


def name(number: int) -> str:
    """Give the relative path of the file of a number."""
    return f"class{number // FILES_IN_A_FOLDER:04}/{number:07}.jpg"


def names(count: int) -> Iterator[str]:
    """Give the relative paths of the first files."""
    return map(name, range(count))


def _drawn(width: int, height: int, seed: int) -> bytes:
    return jpeg(photo(width, height, seed))
