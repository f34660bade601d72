"""Data sets that people train on, and what should become of their images.

A folder with a file `labels.csv` of the columns path (relative to the folder), set, kind and expect:

    accept          a good image: any issue is wrong
    size_only       tiny by nature, such as digits of 32 px: any issue but `low_resolution` is wrong
    reject:ISSUE    a bad image: wrong unless this issue is raised
    soft_source     soft by its optics, such as microscopy: shown at the defaults, and not counted there; what
                    counts is how thresholds from one half of the set do on the other
    any             shown, not counted

Sets of a kind that ends with `photo`, such as `good:photo`, are everyday photos.
"""

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bench.labelled import LayoutError
from bench.processes import Run
from bench.trials import stored
from imageguard_daemon.core.model import ISSUES, Limits, Measurement
from imageguard_daemon.quality.measurement import measure_bytes, measure_file

STANDARD_SIDES = {
    "general": (224, 256, 299, 320, 384, 416, 448, 512, 640),
    "detection": (320, 416, 512, 640),
    "segmentation": (320, 512, 640),
    "fine_grained": (384, 448, 512),
}
"""The usual sides of training in px, by the preset that is meant for them."""
FURTHER_BLUR_PX = 3.0
_QUALITY = 95
_LABELS = "labels.csv"
_COUNTED, _SHOWN = ("accept", "size_only"), ("soft_source", "any")


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of `labels.csv`; `path` is where the image lies."""

    path: Path
    set: str
    kind: str
    expect: str

    @property
    def everyday(self) -> bool:
        """Whether this is a good everyday photo."""
        return self.expect == "accept" and self.kind.endswith("photo")

    @property
    def good(self) -> bool:
        """Whether a rejection counts against the verdicts."""
        return self.expect in _COUNTED

    def wrong(self, issues: Sequence[str]) -> bool:
        """Tell whether a verdict with these issues is wrong; of what is only shown, whether it was rejected."""
        if self.expect.startswith("reject:"):
            return self.expect.partition(":")[2] not in issues
        return bool(set(issues) - ({"low_resolution"} if self.expect == "size_only" else set()))


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything measured of the data sets.

    `crops` has the crops of everyday photos by their side, `blurred` the images of soft sources after a further blur.
    """

    images: Sequence[tuple[Listed, Measurement]]
    crops: Mapping[Path, Mapping[int, Measurement]]
    blurred: Mapping[Path, Measurement]


def read_datasets(folder: Path) -> list[Listed]:
    """Give the images of a folder with `labels.csv`, in its order.

    Raises:
        LayoutError: there is no such file, it has other columns, an unknown `expect`, or names a file that is missing.
    """
    file = folder / _LABELS
    if not file.is_file():
        raise LayoutError(f"there is no {file}")
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines)
        if not {"path", "set", "kind", "expect"} <= set(rows.fieldnames or ()):
            raise LayoutError(f"{file} has no columns path, set, kind and expect")
        found = [_listed(folder, row, f"{file}, line {rows.line_num}") for row in rows]
    if not found:
        raise LayoutError(f"no images in {file}")
    return found


def labels_sha256(folder: Path) -> str:
    """Give what tells one collection of data sets from another."""
    return hashlib.sha256((folder / _LABELS).read_bytes()).hexdigest()


def _listed(folder: Path, row: dict[str, str], place: str) -> Listed:
    path, expect = folder / (row["path"] or ""), row["expect"] or ""
    if not path.is_file():
        raise LayoutError(f"{place}: there is no file {path}")
    verdict, _, issue = expect.partition(":")
    if expect not in _COUNTED + _SHOWN and (verdict != "reject" or issue not in ISSUES):
        known = ", ".join(_COUNTED + _SHOWN)
        raise LayoutError(f"{place}: not an expectation: {expect!r}; it is one of {known} or reject:ISSUE")
    return Listed(path, row["set"] or "", row["kind"] or "", expect)


def measure_datasets(listed: Sequence[Listed], run: Run) -> Measured:
    """Measure images, crops of everyday photos, and soft sources once more after a further blur."""
    photos = [image.path for image in listed if image.everyday]
    soft = [image.path for image in listed if image.expect == "soft_source"]
    as_they_are = run("images of data sets", measured_file, [image.path for image in listed])
    return Measured(
        images=list(zip(listed, as_they_are, strict=True)),
        crops=dict(zip(photos, run("photos cropped", measured_crops, photos), strict=True)),
        blurred=dict(zip(soft, run("soft images blurred", measured_blurred, soft), strict=True)),
    )


def measured_file(path: Path) -> Measurement:
    """Measure an image as it is."""
    return measure_file(str(path), Limits())


def measured_crops(path: Path) -> dict[int, Measurement]:
    """Measure the largest square in the centre at each usual side that it has, as a JPEG of quality 95."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    side = min(rgb.size)
    left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
    square = rgb.crop((left, top, left + side, top + side))
    return {size: _resized(square, size) for size in _all_sides() if size <= side}


def _all_sides() -> list[int]:
    return sorted({side for sides in STANDARD_SIDES.values() for side in sides})


def _resized(square: Image.Image, side: int) -> Measurement:
    resized = np.asarray(square.resize((side, side), Image.Resampling.LANCZOS))
    return measure_bytes(stored(resized, _QUALITY), Limits())


def measured_blurred(path: Path) -> Measurement:
    """Measure an image after a Gaussian blur of 3 px, without a trace of its own file."""
    with Image.open(path) as image:
        rgb = np.asarray(image.convert("RGB"))
    blurred = np.asarray(cv2.GaussianBlur(rgb, (0, 0), FURTHER_BLUR_PX), np.uint8)
    return measure_bytes(stored(blurred, None), Limits())
