"""Which names are candidates, for any name there can be."""

import os

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.config import Intake
from imageguard_daemon.intake.rules.selection import Selection

SELECTIONS = st.builds(
    Intake,
    sidecars=st.booleans(),
    other_files=st.sampled_from(["leave", "quarantine"]),
    ignore=st.just((".*", "*.part")),
).map(Selection.from_settings)
STEMS = st.binary(min_size=1, max_size=20).map(lambda b: os.fsdecode(b.replace(b"/", b"_").replace(b"\0", b"_")))
NAMES = st.builds("{}{}".format, STEMS, st.sampled_from(["", ".", ".jpg", ".PNG", ".txt", ".Json", ".part"]))


@given(SELECTIONS, NAMES)
def test_every_name_has_exactly_one_fate(selection: Selection, name: str) -> None:
    """A name is an image or there is a reason why it is left; a sidecar is never an image."""
    assert selection.is_image(name) == (selection.skip_reason(name) is None)
    assert not (selection.is_image(name) and (selection.is_sidecar(name) or selection.ignores(name)))


@given(SELECTIONS, NAMES)
def test_an_upload_that_is_renamed_when_done_is_never_taken_before(selection: Selection, name: str) -> None:
    """A hidden name and a name with a temporary's ending are no candidates, whatever they hide."""
    assert not selection.is_image(f".{name}.Xa3f9Q")
    assert not selection.is_image(f"{name}.part")


@given(STEMS.filter(lambda stem: not stem.startswith(".")), st.sampled_from([".jpg", ".PNG"]))
def test_sidecars_belong_to_the_image_they_are_found_by(stem: str, suffix: str) -> None:
    """Each sidecar path of an image leads back to that image."""
    selection = Selection.from_settings(Intake(sidecars=True))
    image = f"folder/{stem}{suffix}"
    for sidecar in selection.sidecars_of(image):
        assert image in set(selection.images_of(sidecar))
