"""Where a judged file goes, for any names and whatever is there already."""

import os
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.filing.rules.destinations import NAME_MAX_BYTES, free_path, renamed_like

SHA256 = st.text("0123456789abcdef", min_size=64, max_size=64)
COMPANIONS = st.lists(st.sampled_from([".txt", ".json", ".XML"]), unique=True)
FOLDERS = st.sampled_from(["", "cat/", "cat/tabby/"])


def _name(stem: bytes, suffix: str) -> str:
    """Make a name as a walk could find it: of at most 255 bytes, with room for the sidecars beside it."""
    cleaned = stem.replace(b"/", b"_").replace(b"\0", b"_").lstrip(b".") or b"x"
    return os.fsdecode(cleaned[: NAME_MAX_BYTES - 5]) + suffix


STEMS = st.one_of(
    st.binary(max_size=20), st.integers(200, 260).map(lambda length: b"a" * length), st.just("猫".encode() * 85)
)
SUFFIXES = st.one_of(st.sampled_from([".jpg", ".JPEG", ".png", ""]))
PATHS = st.builds("{}{}".format, FOLDERS, st.builds(_name, STEMS, SUFFIXES))


@given(PATHS, COMPANIONS, SHA256, st.integers(0, 4))
def test_a_destination_is_free_short_and_recognisable(
    path: str, companions: list[str], sha256: str, collisions: int
) -> None:
    """Neither image nor sidecars meet a taken name, all names fit, and folder and ending stay."""
    taken: set[str] = set()
    for _ in range(collisions):
        earlier = free_path(path, companions, sha256, taken.__contains__)
        taken |= {earlier, *(renamed_like(suffix, earlier) for suffix in companions)}
    chosen = free_path(path, companions, sha256, taken.__contains__)
    together = [chosen, *(renamed_like(suffix, chosen) for suffix in companions)]
    assert not taken.intersection(together)
    assert len(set(together)) == len(together)
    assert all(len(os.fsencode(os.path.basename(name))) <= NAME_MAX_BYTES for name in together)
    assert all(os.path.dirname(name) == os.path.dirname(path) for name in together)
    if PurePosixPath(path).suffix in {".jpg", ".JPEG", ".png"}:
        assert PurePosixPath(chosen).suffix == PurePosixPath(path).suffix
    assert free_path(path, companions, sha256, taken.__contains__) == chosen
    assert (chosen == path) == (collisions == 0)


@given(st.binary(min_size=1, max_size=255), COMPANIONS, SHA256)
def test_a_destination_is_found_for_any_name_at_all(name: bytes, companions: list[str], sha256: str) -> None:
    """Not even a name made of nothing but an ending keeps the search from coming to an end."""
    path = os.fsdecode(name.replace(b"/", b"_").replace(b"\0", b"_").strip(b".") or b"x")
    taken = {path, *(renamed_like(suffix, path) for suffix in companions)}
    chosen = free_path(path, companions, sha256, taken.__contains__)
    assert chosen not in taken
    assert len(os.fsencode(chosen)) <= NAME_MAX_BYTES
