"""However a picture comes in, its verdict is the same: library, scan and daemon, back-fill and pages."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from imageguard_daemon import validate
from imageguard_daemon.config import Scoring
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.quality.policy import PRESETS, decide_on_file
from imageguard_daemon.sandbox.client import BytesMeasurer
from imageguard_daemon.sandbox.workers import measure_files
from tests.helpers.matrix import CELLS, KINDS

_CELLS = ("whole", "metadata broken", "garbled, checksums repaired", "rows missing")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Write the cells of the matrix to files."""
    folder, written = tmp_path_factory.mktemp("matrix"), {}
    for kind, make in KINDS.items():
        made = make()
        for cell in _CELLS:
            if (data := CELLS[cell](made)) is not None:
                written[kind, cell] = folder / f"{kind} {cell}.image"
                written[kind, cell].write_bytes(data)
    return written


@pytest.fixture(scope="module")
def in_workers(files: dict[tuple[str, str], Path]) -> dict[str, Measurement]:
    """Measure all of them as `scan` and the daemon do."""
    settings = Scoring(workers=1, timeout_seconds=60)
    paths = [str(path) for path in files.values()]
    return {one.candidate.relative_path: one.measurement for one in measure_files(paths, settings) if one.measurement}


@pytest.fixture(scope="module")
def measurer() -> Iterator[BytesMeasurer]:
    """Give what back-fills and pages measure with."""
    made = BytesMeasurer(Scoring())
    yield made
    made.close()


def _verdict(measurement: Measurement) -> tuple[str, str]:
    decision = decide_on_file("image", measurement, "general", PRESETS["general"])
    return decision.reason, decision.detail


def _opened(data: bytes) -> Image.Image | None:
    try:
        return Image.open(io.BytesIO(data))
    except Exception:  # noqa: BLE001 - then there is no Pillow image to hand over
        return None


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_in_gives_one_verdict(
    kind: str, files: dict[tuple[str, str], Path], in_workers: dict[str, Measurement], measurer: BytesMeasurer
):
    """Path, bytes, Pillow image, worker and confined process agree on the reason and on what is said of it."""
    for cell in _CELLS:
        path = files.get((kind, cell))
        if path is None:
            continue
        data, expected = path.read_bytes(), validate(path)
        assert (validate(data).reason, validate(data).detail) == (expected.reason, expected.detail), cell
        assert _verdict(in_workers[str(path)]) == (expected.reason, expected.detail), cell
        assert _verdict(measurer.measure(data)) == (expected.reason, expected.detail), cell
        if (opened := _opened(data)) is not None:
            assert validate(opened).reason == expected.reason, cell
