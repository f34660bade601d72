"""The HTML report on an invented year, as docs/reports.md shows it: `python -m bench.report_page OUT.html`.

The log is that of `bench.year`; the thumbnails are the damaged copies of docs/gallery, since an invented image has no
picture. Screenshots: `chromium --headless --window-size=1000,3000 --screenshot=page.png OUT.html`.
"""

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench.big_log import database_in, fill, index, upgrade
from bench.gallery import DOCS
from bench.year import Year, patterns_of_a_bad_year
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.page import as_html
from imageguard_daemon.reporting.query import report_on

IMAGES = 60_000
NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
OCTOBER = datetime(2025, 10, 1, tzinfo=UTC)
_PICTURES = {
    "blurry": ("defocus-4", "motion-4", "defocus-5"),
    "low_resolution": ("thumbnail-3", "thumbnail-4", "thumbnail-5"),
    "noisy": ("high-iso-4", "high-iso-5", "high-iso-3"),
    "underexposed": ("under-4", "under-5", "under-3"),
    "compressed": ("jpeg-4", "jpeg-5", "jpeg-3"),
    "pixelated": ("pixelation-4", "pixelation-5", "enlargement-5"),
}


def page() -> str:
    """Give the page on the last quarter of the year."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), Year(IMAGES, planted=patterns_of_a_bad_year()))
        index(Path(folder))
        upgrade(Path(folder))
        with open_log(database_in(Path(folder))) as log:
            report = report_on(log, (Dimension.source,), Scope(OCTOBER, NEW_YEAR), Reporting(), NEW_YEAR)
    pictures: dict[int, bytes] = {}
    for reason, names in _PICTURES.items():
        ids = [image.id for image in report.examples if image.reason == reason]
        pictures |= {
            one: (DOCS / "gallery" / f"{name}.jpg").read_bytes() for one, name in zip(ids, names, strict=False)
        }
    return as_html(report, pictures, NEW_YEAR)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.parse_args().output.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
