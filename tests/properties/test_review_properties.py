"""Whatever people do with images in whatever order, files, log and the model of both agree."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from imageguard_daemon.review.acting import approve, confirm, purge, reject, release, undo
from tests.helpers.rejections import ANNA, Rejections

IMAGES = 4
ACCEPTED = frozenset({3, 4})
AFTER = {
    ("release", "waiting"): "released",
    ("release", "confirmed"): "released",
    ("confirm", "waiting"): "confirmed",
    ("undo", "released"): "waiting",
    ("undo", "confirmed"): "waiting",
    ("purge", "confirmed"): "purged",
    ("reject", "accepted"): "rejected",
    ("reject", "approved"): "rejected",
    ("approve", "accepted"): "approved",
    ("undo", "rejected"): "accepted",
    ("undo", "approved"): "accepted",
    ("release", "rejected"): "accepted",
    ("purge", "rejected"): "purged",
}
ACTIONS = {
    "release": release,
    "confirm": confirm,
    "reject": reject,
    "approve": approve,
    "undo": undo,
    "purge": purge,
}
steps = st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.sets(st.integers(1, IMAGES), min_size=1)), max_size=7)


@settings(max_examples=16)
@given(steps)
def test_any_sequence_of_reviews_leaves_what_its_model_says(taken: list[tuple[str, set[int]]]) -> None:
    """Each image is where its state says, with its label, or deleted for good; and `verify` finds nothing wrong."""
    with tempfile.TemporaryDirectory() as folder:
        rejections = Rejections(Path(folder) / "root")
        for number in range(1, IMAGES + 1):
            rejections.file(f"cat/{number}.jpg", labels=[".txt"], ok=number in ACCEPTED)
        states = {one: "accepted" if one in ACCEPTED else "waiting" for one in range(1, IMAGES + 1)}
        with rejections.acting() as acting:
            for action, numbers in taken:
                for one in ACTIONS[action](acting, sorted(numbers), ANNA):
                    wanted = AFTER.get((action, states[one.decision_id]))
                    assert one.done == (wanted is not None)
                    states[one.decision_id] = wanted or states[one.decision_id]
        assert set(rejections.files()) == _expected(states)
        assert rejections.wrong() == []
        rejections.close()


def _expected(states: dict[int, str]) -> set[str]:
    folders = {
        **dict.fromkeys(("waiting", "confirmed", "rejected"), "quarantine"),
        **dict.fromkeys(("released", "accepted", "approved"), "accepted"),
    }
    return {
        f"{folders[state]}/cat/{number}{suffix}"
        for number, state in states.items()
        if state in folders
        for suffix in (".jpg", ".txt")
    }
