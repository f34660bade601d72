"""What a scan finds out about a folder: the findings of a report, from rows alone."""

from imageguard_daemon.batch.scan_summary import Totals
from imageguard_daemon.config import Reporting
from imageguard_daemon.quality.scoring import SCALES

SCALE = next(scale for scale in SCALES if scale.measure == "effective_pixels")


def row(number: int, width: int, height: int, reason: str = "") -> dict[str, object]:
    """Give the columns of one image that are counted."""
    return {
        "path": f"{number}.jpg",
        "class": "cat",
        "reason": reason,
        "detail": "",
        "score": 0.2 if reason else 0.9,
        "width": width,
        "height": height,
        "resolution_score": SCALE.score(width * height),
    }


def totals(*rows: dict[str, object]) -> Totals:
    """Count these images."""
    made = Totals()
    for one in rows:
        made.add(one)
    return made


def test_a_scan_tells_of_thumbnails_with_their_size() -> None:
    """Previews among photos are told of the folder, whether counted in one go or in parts."""
    small = [row(n, 259, 194) for n in range(40)]
    large = [row(n, 4000, 3000) for n in range(40, 240)]
    whole = totals(*small, *large)
    [finding] = whole.report(Reporting()).findings
    assert finding.kind == "thumbnails_mixed_in"
    assert finding.sentence.startswith("40 of 240 images (16.7 %) have nearly the same size")
    assert "(259 x 194)" in finding.sentence
    merged = Totals()
    for part in (totals(*small), totals(*large)):
        merged.merge(part.as_plain())
    assert merged.report(Reporting()).findings == (finding,)


def test_a_scan_tells_that_one_reason_rejects_most_and_what_to_do() -> None:
    """Without a log it is the folder that thresholds are made from."""
    soft = totals(*(row(n, 4000, 3000, "blurry") for n in range(60)))
    [finding] = soft.report(Reporting()).findings
    assert finding.kind == "source_mostly_rejected"
    assert "`imageguard-daemon calibrate FOLDER`" in finding.look_at


def test_results_of_earlier_versions_are_still_counted() -> None:
    """A back-fill's results from before sizes were counted have none, and no finding about them."""
    plain = totals(*(row(n, 259, 194) for n in range(20))).as_plain()
    del plain["sizes"]
    made = Totals()
    made.merge(plain)
    assert (made.total, made.report(Reporting()).findings) == (20, ())
