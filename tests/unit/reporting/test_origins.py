"""Where rejections come from: one source or camera, one threshold, files that are sent again."""

import pytest

from imageguard_daemon.config import Reporting
from imageguard_daemon.reporting.findings import Finding, Patterns, find_patterns
from imageguard_daemon.reporting.survey import Borderline
from imageguard_daemon.reporting.tallies import Tally, together

SETTINGS = Reporting()


def blurry(rejected: int, total: int, duplicates: int = 0) -> Tally:
    """Give a tally whose rejections all are blurry."""
    return Tally(total, {"blurry": rejected} if rejected else {}, duplicates)


def found(kind: str, **seen: object) -> list[Finding]:
    """Give the findings of a kind."""
    tallies = next(value for name, value in seen.items() if name in {"sources", "cameras"}) if seen else {}
    values = {"overall": together(tallies.values()), "classes": {}, "sources": {}} | seen
    return [each for each in find_patterns(Patterns(**values), SETTINGS) if each.kind == kind]


def test_one_camera_behind_most_rejections_is_named() -> None:
    """A tenth of the images and most of the rejections: the sentence says both."""
    cameras = {"Canon EOS R6": blurry(60, 100), "Nikon Z 6": blurry(10, 400), "": blurry(10, 500)}
    [finding] = found("one_camera_behind_most", cameras=cameras)
    assert finding.subject == "Canon EOS R6"
    assert finding.sentence == (
        "Camera 'Canon EOS R6' is behind 60 of 80 rejections (75.0 %), all for blurry, with 10.0 % of the images."
    )
    assert (finding.sample_size, finding.evidence["images"]) == (80, 100)


@pytest.mark.parametrize(
    "cameras",
    [
        {"a": blurry(60, 800), "b": blurry(12, 160)},
        {"a": blurry(60, 100)},
        {"a": blurry(40, 100), "b": blurry(45, 900)},
        {"": blurry(60, 100), "b": blurry(10, 900)},
        {"a": blurry(5, 10), "b": blurry(1, 100)},
    ],
    ids=["has most images", "is the only one", "has less than half", "has no name", "few rejections"],
)
def test_what_explains_nothing_is_not_named(cameras: dict[str, Tally]) -> None:
    """A camera with most of the images has most of the rejections; that is no finding, nor are few of them."""
    assert found("one_camera_behind_most", cameras=cameras) == []


def test_a_source_told_for_its_rate_is_not_told_again() -> None:
    """One source above the limit is one finding; behind most of a low overall rate it is told as that."""
    loud = {"scraper": blurry(45, 100), "studio": blurry(5, 900)}
    assert found("one_source_behind_most", sources=loud) == []
    assert len(found("source_high_rejection_rate", sources=loud)) == 1
    quiet = {"scraper": blurry(15, 100), "studio": blurry(1, 900)}
    assert [each.subject for each in found("one_source_behind_most", sources=quiet)] == ["scraper"]


def test_a_threshold_that_many_miss_by_little_is_told() -> None:
    """The finding names the threshold and the command that tries a lower one."""
    [finding] = found("many_just_below_blur_score", sources={}, borderline={"blur_score": Borderline(200, 150, 40.0)})
    assert "150 of 200 images rejected for blur alone (75.0 %) lie within 5 points of its threshold, 40." in (
        finding.sentence
    )
    assert "`simulate --set blur_score=35`" in finding.look_at
    assert finding.evidence["threshold"] == 40.0


@pytest.mark.parametrize("borderline", [Borderline(200, 104, 40.0), Borderline(9, 9, 40.0), Borderline(200, 0, 40.0)])
def test_a_threshold_with_images_all_below_it_is_not_told(borderline: Borderline) -> None:
    """About half is no pattern, and nine images are none."""
    assert found("many_just_below_blur_score", sources={}, borderline={"blur_score": borderline}) == []


def test_a_source_that_sends_its_files_again_is_told() -> None:
    """Three tenths of what it sent were there before; a few are no finding."""
    sources = {"scraper": blurry(0, 1000, 300), "studio": blurry(0, 1000, 90), "small": blurry(0, 9, 9)}
    [finding] = found("duplicates_arriving_again", sources=sources)
    assert finding.subject == "scraper"
    assert "300 of 1,000 images (30.0 %) had been filed before" in finding.sentence
