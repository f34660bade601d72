"""Real images with a known truth: what is expected of them, and where that is written.

A label is an expectation, after which any words name a group:

    good:night           must be accepted
    bad:blurry           must be rejected with the issue `blurry`
    bad:blurry:motion    the same, counted apart as a group of its own
    not:noisy:crops      must not be called noisy; nothing else is asked of them

It stands in a CSV file with the columns `path` (relative to the file) and `label`, or is the folder in which the
image lies: `good/night/1.jpg`, `bad/blurry/motion/2.jpg`. Names that begin with a dot are passed over.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

from imageguard_daemon.core.model import ISSUES


class LayoutError(ValueError):
    """What was given as labelled images is none of the layouts above."""


@dataclass(frozen=True, slots=True)
class Label:
    """What is expected of an image; `issue` is empty for a good one."""

    expectation: str
    issue: str
    group: str

    @classmethod
    def parse(cls, text: str) -> "Label":
        """Read `good:night`, `bad:blurry:motion` or `not:noisy`."""
        expectation, _, rest = text.strip().partition(":")
        if expectation == "good":
            return cls("good", "", rest)
        issue, _, group = rest.partition(":")
        if expectation not in {"bad", "not"} or issue not in ISSUES:
            raise LayoutError(
                f"not a label: {text!r}; it begins with good, bad:ISSUE or not:ISSUE ({', '.join(ISSUES)})"
            )
        return cls(expectation, issue, group)

    def __str__(self) -> str:
        """Give the label as it is written."""
        return ":".join(part for part in (self.expectation, self.issue, self.group) if part)

    def met_by(self, issues: frozenset[str]) -> bool:
        """Tell whether a verdict with these issues is as expected."""
        if self.expectation == "good":
            return not issues
        return (self.issue in issues) == (self.expectation == "bad")


def read_labelled(place: Path) -> list[tuple[Path, Label]]:
    """Give the images of a CSV file or of a folder with their labels.

    Raises:
        LayoutError: a label that is none, a listed file that is not there, no image at all.
    """
    found = _of_folder(place) if place.is_dir() else _of_csv(place)
    if not found:
        raise LayoutError(f"no labelled images in {place}")
    return found


def _of_folder(folder: Path) -> list[tuple[Path, Label]]:
    found = []
    for path in images_below(folder):
        parts = path.relative_to(folder).parts[:-1]
        if parts and parts[0] in {"good", "bad", "not"}:
            found.append((path, Label.parse(":".join(parts))))
    return found


def _of_csv(file: Path) -> list[tuple[Path, Label]]:
    found = []
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        if not {"path", "label"} <= set(rows.fieldnames or ()):
            raise LayoutError(f"{file} has no columns path and label")
        for row in rows:
            path = file.parent / (row["path"] or "")
            if not path.is_file():
                raise LayoutError(f"{file}, line {rows.line_num}: there is no file {path}")
            found.append((path, Label.parse(row["label"] or "")))
    return found


def images_below(folder: Path) -> list[Path]:
    """Give all files of a folder and its folders in the order of their names, hidden ones left out."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in files if not any(p.startswith(".") for p in path.relative_to(folder).parts))
