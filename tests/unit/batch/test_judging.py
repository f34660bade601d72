"""What is told of one image."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.batch.judging import COLUMNS, Rules, cells_of, judge, row_of
from imageguard_daemon.core.model import FileIdentity, Measurement, Measures
from imageguard_daemon.quality.policy import decide, thresholds_for
from tests.helpers.pipeline_bench import BLURRY, GOOD

RULES = Rules("general", thresholds_for("general"))
IDENTITY = FileIdentity(1, 2, 3, 4, 5)


def _measurement(measures: Measures) -> Measurement:
    return Measurement("ab" * 32, measures, image_format="PNG", identity=IDENTITY)


def test_a_row_has_what_the_decision_has() -> None:
    """The first four columns are the promised ones; the others are the decision's own."""
    image = judge("/data/cat/1.jpg", "cat/1.jpg", _measurement(BLURRY), RULES)
    row = row_of(image)
    assert tuple(row) == COLUMNS
    assert COLUMNS[:4] == ("path", "score", "issues", "reason")
    decision = decide(_measurement(BLURRY), "general", RULES.thresholds)
    assert (row["path"], row["score"], row["issues"]) == ("/data/cat/1.jpg", decision.score, ["blurry"])
    assert (row["class"], row["verdict"], row["size_bytes"]) == ("cat", "quarantined", 3)
    assert row["blur_sigma_px"] == BLURRY.blur_sigma_px
    assert row["detail"] == f"{decision.detail}; named .jpg, but is PNG"


def test_what_could_not_be_measured_is_empty() -> None:
    """A damaged file has score 0 and no scores: nobody averages a zero that was never measured."""
    row = row_of(judge("x/1.jpg", "1.jpg", Measurement("ab", issue="corrupt", identity=IDENTITY), RULES))
    assert (row["score"], row["reason"], row["blur_score"], row["width"], row["class"]) == (
        0.0,
        "corrupt",
        None,
        None,
        "",
    )
    cells = dict(zip(COLUMNS, cells_of(row), strict=True))
    assert (cells["blur_score"], cells["issues"], cells["destination"]) == ("", "corrupt", "")


def test_a_file_of_1970_has_a_time_and_bytes_from_a_store_have_none() -> None:
    """A time of 0 is one: `export` would let pass what changed since; of bytes nothing but their number is known."""

    def time_of(identity: FileIdentity) -> object:
        return row_of(judge("1.jpg", "1.jpg", replace(_measurement(GOOD), identity=identity), RULES))["mtime_ns"]

    assert [time_of(replace(IDENTITY, mtime_ns=at)) for at in (0, -1, 4)] == [0, -1, 4]
    assert time_of(FileIdentity(device=0, inode=0, size_bytes=3, mtime_ns=0, ctime_ns=0)) is None


@given(st.floats(0.5, 8), st.sampled_from([0.0, 39.99999, 40.0, 99.0]))
def test_a_rounded_score_never_contradicts_the_verdict(sigma: float, threshold: float) -> None:
    """In CSV, too, a score of 0.5 or more means accepted, and nothing else does."""
    rules = Rules("general", thresholds_for("general", {"blur_score": threshold}))
    row = row_of(judge("a", "a", _measurement(replace(GOOD, blur_sigma_px=sigma)), rules))
    score = dict(zip(COLUMNS, cells_of(row), strict=True))["score"]
    assert (float(score) >= 0.5) == (row["reason"] == "")
