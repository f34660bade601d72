"""`calibrate` with too few images."""

from imageguard_daemon.calibration.samples import collect
from imageguard_daemon.cli.calibrate import _too_few
from imageguard_daemon.core.model import Measurement
from tests.helpers.pipeline_bench import GOOD


def test_too_few_images_are_told_with_what_became_of_the_others() -> None:
    """Copies, images that are bad as well and damaged ones each count for themselves."""
    contents = {"1": "aa", "2": "aa", "3": "bb", "4": "cc"}
    measured = [(name, Measurement(content * 32, GOOD)) for name, content in contents.items()]
    damaged = [("5", Measurement("dd" * 32, None, issue="corrupt", detail="cut off"))]
    assert _too_few(collect([*measured, *damaged], frozenset({"cc" * 32}))) == (
        "10 different good images are needed; there are 2 "
        "(not counted: 1 identical to another, 1 also among the bad images, 1 corrupt)"
    )
    assert _too_few(collect([])) == "10 different good images are needed; there are 0"
