"""Photographs the pages: `python -m bench.web_pictures FOLDER`; needs Chromium and the environment for development.

A real daemon judges the photo of docs/gallery, spoilt in many ways; every page is taken light, dark and on a phone.
docs/web/ has some of them.
"""

import argparse
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from bench.ingest import Ingest, leave_in_order
from bench.web_load import HOST, free_port, wait_for
from tests.helpers.images import Rgb, blurred, encoded, enlarged, exposed, noisy, pixelated

PHOTO = Path(__file__).parents[1] / "docs/gallery/original.jpg"
PAGES = {
    "overview": "/",
    "quarantine": "/quarantine?order=nearest",
    "check": "/check",
    "thresholds": "/thresholds?preset=fine_grained",
    "review": "/review?which=matching&action=release&reason=pixelated",
    "api": "/api",
}
VIEWS = {"light": ("light", 1200, 900), "dark": ("dark", 1200, 900), "phone": ("dark", 390, 844)}


def spoilt() -> Iterator[tuple[str, bytes]]:
    """Give names and files: one photo, spoilt in many ways, from two cameras."""
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    half = photo.copy()
    half[:, 300:] = exposed(photo, 2.4)[:, 300:]
    soft = blurred(photo, 6)
    soft[150:330, 60:300] = photo[150:330, 60:300]
    images: dict[str, Rgb] = {"coffee/half-white": half, "coffee/small-subject": soft}
    for strength in range(1, 5):
        images |= {
            f"coffee/defocus-{strength}": blurred(photo, 0.8 * strength),
            f"dark/under-{strength}": exposed(photo, -1.2 * strength),
            f"night/noise-{strength}": noisy(photo, 8.0 * strength),
            f"web/enlarged-{strength}": enlarged(photo, 1 + 0.8 * strength),
            f"web/blocks-{strength}": pixelated(photo, 1 + strength),
            f"coffee/good-{strength}": np.asarray(cv2.convertScaleAbs(photo, alpha=1 - 0.02 * strength)),
        }
    for name, pixels in images.items():
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Example", "Old phone" if "night" in name else "Studio camera"
        yield f"{name}.jpg", encoded(Image.fromarray(pixels), "JPEG", quality=92, exif=exif)
    yield "web/broken.jpg", PHOTO.read_bytes()[:9000]


def main() -> None:
    """Judge, then take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    leave_in_order()
    port = free_port()
    with (
        tempfile.TemporaryDirectory() as home,
        Ingest(Path(home) / "ingest", web={"enabled": True, "port": port}) as daemon,
    ):
        files = dict(spoilt())
        for name, data in files.items():
            (daemon.inbox / name).parent.mkdir(exist_ok=True)
            (daemon.inbox / name).write_bytes(data)
        daemon.start()
        daemon.looks_until(len(files), 60)
        wait_for(port)
        _take(f"http://{HOST}:{port}", asked.folder, _numbers(daemon.root / "audit.db"))


def _numbers(database: Path) -> dict[str, int]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return dict(connection.execute("SELECT relative_path, id FROM decisions").fetchall())


def _take(address: str, folder: Path, numbers: dict[str, int]) -> None:
    pages = PAGES | {
        "decision": f"/decisions/{numbers['coffee/half-white.jpg']}",
        "corrupt": f"/decisions/{numbers['web/broken.jpg']}",
    }
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox)
        for view, (scheme, width, height) in VIEWS.items():
            looks: Any = {"color_scheme": scheme, "viewport": {"width": width, "height": height}}
            context = browser.new_context(**looks, is_mobile=view == "phone", has_touch=view == "phone")
            page = context.new_page()
            for name, path in pages.items():
                page.goto(address + path)
                page.wait_for_load_state("networkidle")
                page.locator("[role=status]").wait_for(state="detached")
                if name == "check":
                    page.set_input_files("input[type=file]", PHOTO)
                    page.get_by_role("button", name="Check").click()
                    page.wait_for_load_state("networkidle")
                page.screenshot(path=folder / f"{name}-{view}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
