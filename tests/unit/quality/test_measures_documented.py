"""docs/measures.md says what the code does."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from imageguard_daemon.core.model import EXPOSURE_LIMITS, SCORE_NAMES, SIGNALS, Measures
from imageguard_daemon.quality.policy import PRESETS
from imageguard_daemon.quality.scoring import BANDS, SCALES, Scale

TEXT = (Path(__file__).parents[3] / "docs" / "measures.md").read_text()


def between(mark: str) -> str:
    return TEXT.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->")[0]


def anchor_row(scale: Scale) -> str:
    by_score = {score: f"{measure:g}" for score, measure in scale.anchors}
    cells = [by_score.get(float(score), "") for score in (100, 75, 60, 50, 40, 30, 15, 0)]
    unit = "pixels" if scale.measure == "effective_pixels" else scale.unit
    return f"| `{scale.measure}` | {' | '.join([unit, *cells])} | `{scale.issue}` |"


def preset_table() -> str:
    head = f"| preset | {' | '.join(SIGNALS)} |\n|---|{'---|' * len(SIGNALS)}\n"
    return head + "".join(f"| `{name}` | {' | '.join(cells(row))} |\n" for name, row in PRESETS.items())


def cells(row: Mapping[str, float]) -> list[str]:
    ends = {name.removesuffix("exposure_score"): row[name] for name in EXPOSURE_LIMITS if name in row}
    told = "".join(f", {end} {value:g}" for end, value in ends.items())
    return [f"{row[name]:g}" + (told if name == "exposure_score" else "") for name in SCORE_NAMES]


def test_the_anchors_are_those_of_the_code():
    """The table of anchors in the documentation is the one that scores."""
    assert between("anchors").splitlines()[2:] == [anchor_row(scale) for scale in SCALES]


def test_the_presets_are_those_of_the_code():
    """The thresholds in the documentation are the ones in force."""
    assert between("presets") == preset_table()


def test_the_bands_are_those_of_the_code():
    """Where a decision is borderline is documented as it is."""
    rows = [
        f"| `{scale.measure}` | {' | '.join(f'{points:g}' for points in BANDS[scale.measure])} |" for scale in SCALES
    ]
    assert between("bands").splitlines()[2:] == rows


@pytest.mark.parametrize("name", [field.name for field in fields(Measures)])
def test_every_measure_is_explained(name: str):
    """No recorded measure is without a word about it."""
    assert f"`{name}`" in TEXT or f"## {name}" in TEXT or f", {name}\n" in TEXT
