"""Examples of each signal for people: writes docs/gallery.md with its pictures, and the tables in docs/measures.md.

    python -m bench.gallery [--docs docs]

One photo, docs/gallery/original.jpg, is spoiled in every way at five strengths and judged; seconds later the page
says what the readout of today makes of it. Run it again whenever the readout changes; a test compares the numbers.
"""

import argparse
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from bench.faults import Rgb
from bench.gallery_page import Section, excerpt, render
from bench.kinds import KINDS
from imageguard_daemon import validate
from imageguard_daemon.core.model import Decision

DOCS = Path(__file__).parent.parent / "docs"
PICTURE_SIZE = 240, 160
DETAIL = 300, 130
"""Where in the original the part that is shown begins, from left and top."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of damage at five strengths, and the scale (by its measure) that it is to be seen on."""

    kind: str
    measure: str
    strengths: tuple[float, ...]
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """One damaged copy: what it looks like and what was said of it; the whole copy was judged, as PNG."""

    strength: float
    rgb: Rgb
    decision: Decision


ROWS: tuple[Row, ...] = (
    Row("defocus", "blur_sigma_px", (1, 2, 4, 6, 10), "Blur: out of focus", "A lens out of focus, by radius."),
    Row("motion", "blur_sigma_px", (2, 5, 10, 18, 30), "Blur: motion", "A hand that moved, by length of the path."),
    Row("high ISO", "noise_sigma", (3, 8, 15, 22, 35), "Noise", "A sensor short of light, by noise at mid grey."),
    Row("JPEG", "jpeg_quality", (75, 35, 20, 12, 5), "Compression", "Saved as JPEG, then as PNG, which hides it."),
    Row("pixelation", "enlargement", (1.5, 2, 3, 4, 6), "Pixelation: blocks", "Enlarged by repeating pixels."),
    Row("enlargement", "enlargement", (1.3, 1.7, 2.3, 3.3, 5), "Pixelation: smooth", "Enlarged by interpolation."),
    Row(
        "thumbnail", "effective_pixels", (120, 60, 38, 15, 4), "Resolution", "Reduced; shown at one size all the same."
    ),
    Row("over", "overexposure", (0.5, 1.5, 2.5, 3.5, 5), "Exposure: too much", "Exposed longer, by stops."),
    Row("under", "underexposure", (1, 3, 4.5, 6, 8), "Exposure: too little", "Exposed shorter, by stops."),
)


def read_original(docs: Path = DOCS) -> Rgb:
    """Give the photo that is spoiled."""
    with Image.open(docs / "gallery" / "original.jpg") as image:
        return np.asarray(image.convert("RGB"))


def judged(rgb: Rgb) -> Decision:
    """Judge pixels as a file without any trace of how they came about."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", compress_level=1)
    return validate(buffer.getvalue())


def examples(row: Row, original: Rgb) -> Iterator[Example]:
    """Spoil and judge; always the same for the same original and readout."""
    for strength in row.strengths:
        rng = np.random.default_rng(zlib.crc32(row.kind.encode()))
        rgb = KINDS[row.kind].damaged(original, strength, rng)
        yield Example(strength, rgb, judged(rgb))


def shown(rgb: Rgb, original: Rgb) -> Image.Image:
    """Give the part that is shown: as it is, or of a smaller copy enlarged to the same view."""
    scale = rgb.shape[1] / original.shape[1]
    left, top, width, height = (round(scale * number) for number in (*DETAIL, *PICTURE_SIZE))
    part = rgb[top : top + height, left : left + width]
    return Image.fromarray(np.asarray(cv2.resize(part, PICTURE_SIZE, interpolation=cv2.INTER_CUBIC), np.uint8))


def picture_name(row: Row, number: int) -> str:
    """Give the name of the picture of the example with this number, from 1 on."""
    return f"{row.kind.lower().replace(' ', '-')}-{number}.jpg"


def write(docs: Path) -> None:
    """Write page and pictures."""
    original = read_original(docs)
    found = [(row, list(examples(row, original))) for row in ROWS]
    for row, copies in found:
        for number, example in enumerate(copies, 1):
            picture = shown(example.rgb, original)
            picture.save(docs / "gallery" / picture_name(row, number), quality=88, subsampling=0, optimize=True)
    (docs / "gallery.md").write_text(page(judged(original), found), encoding="utf-8")
    explained = docs / "measures.md"
    if explained.exists():
        explained.write_text(with_excerpts(explained.read_text(encoding="utf-8"), found), encoding="utf-8")


def page(whole: Decision, found: Sequence[tuple[Row, Sequence[Example]]]) -> str:
    """Give the page for the undamaged photo's decision and the rows with their examples."""
    return render(whole, [_section(row, copies) for row, copies in found])


def with_excerpts(text: str, found: Sequence[tuple[Row, Sequence[Example]]]) -> str:
    """Give a page with the table behind each `<!-- gallery: KIND -->` made anew; KeyError: no row is of that kind."""
    tables = {row.kind: excerpt(_section(row, copies)) for row, copies in found}
    return re.sub(
        r"(<!-- gallery: ([\w ]+) -->\n).*?(?=<!-- /gallery -->)",
        lambda match: f"{match[1]}\n{tables[match[2]]}\n",
        text,
        flags=re.DOTALL,
    )


def _section(row: Row, copies: Sequence[Example]) -> Section:
    cells = [
        (picture_name(row, n), KINDS[row.kind].spoken(copy.strength), copy.decision) for n, copy in enumerate(copies, 1)
    ]
    return row.title, row.text, row.measure, cells


def main() -> None:
    """Write the gallery."""
    parser = argparse.ArgumentParser(
        "python -m bench.gallery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder with gallery/original.jpg (default: docs)")
    write(parser.parse_args().docs)


if __name__ == "__main__":
    main()
