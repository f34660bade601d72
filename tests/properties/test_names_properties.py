"""Names as people read them, for any name there can be."""

import os

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.core.names import original, printable

NAMES = st.one_of(
    st.binary(max_size=40).map(os.fsdecode),
    st.text(st.sampled_from("\\xu0e9\x1b\n\u202e\udce9"), max_size=8),  # near misses of escapes
)


@given(NAMES)
def test_what_is_shown_is_harmless(name: str) -> None:
    """Whatever bytes a name has, its shown form is printable text that can be written as UTF-8."""
    shown = printable(name)
    assert shown.isprintable()
    shown.encode("utf-8")


@given(NAMES, NAMES)
def test_different_names_never_look_the_same(one: str, other: str) -> None:
    """Two names are shown alike only when they are the same."""
    assert (printable(one) == printable(other)) == (one == other)


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters="\\")))
def test_plain_names_are_shown_as_they_are(name: str) -> None:
    """Printable ASCII without a backslash needs no escape."""
    assert printable(name) == name


@given(NAMES)
def test_the_escaped_form_can_be_undone(name: str) -> None:
    """From what outputs show, the very file can be found again."""
    assert original(printable(name)) == name


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_undoing_never_fails(text: str) -> None:
    """A text that was never escaped does no harm."""
    assert isinstance(original(text), str)
