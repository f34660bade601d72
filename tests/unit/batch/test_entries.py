"""Judged images read from an audit log, after people have reviewed some."""

from pathlib import Path

from imageguard_daemon.batch.entries import entries_of_log
from imageguard_daemon.review.acting import reject, release
from tests.helpers.rejections import Rejections


def test_an_image_is_what_a_person_made_of_it(tmp_path: Path) -> None:
    """Released is accepted, rejected by a person is rejected with a reason of its own; the others are as judged."""
    rejections = Rejections(tmp_path / "root")
    ids = [rejections.file(f"cat/{number}.jpg", ok=number > 1) for number in range(4)]
    rejections.do(release, ids[0])
    rejections.do(reject, ids[2])
    found = {one.relative_path: one for one in entries_of_log(rejections.root / "audit.db", rejections.settings)}
    assert {name: (one.verdict, one.reason, one.issues) for name, one in found.items()} == {
        "cat/0.jpg": ("accepted", "blurry", ("blurry",)),
        "cat/1.jpg": ("quarantined", "blurry", ("blurry",)),
        "cat/2.jpg": ("quarantined", "rejected_by_review", ()),
        "cat/3.jpg": ("accepted", "", ()),
    }
    assert all(Path(one.path).exists() for one in found.values())
    rejections.close()
