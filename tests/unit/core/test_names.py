"""Names as people read them."""

import os

import pytest

from imageguard_daemon.core.names import printable, sidecar_ending


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat/1.jpg", "cat/1.jpg"),
        ("Köln 猫 🐈.jpg", "Köln 猫 🐈.jpg"),
        ("a\\b", r"a\\b"),
        ("a\nb", r"a\u000ab"),
        ("\x1b]0;owned\x07", r"\u001b]0;owned\u0007"),
        ("line\u2028separator", r"line\u2028separator"),
        ("gnp\u202ejpg", r"gnp\u202ejpg"),
        ("tag\U000e0041", r"tag\U000e0041"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("", ""),
    ],
)
def test_a_name_is_shown_in_one_escaped_form(name: str, shown: str) -> None:
    """Ordinary names stay as they are; what could steer a terminal or is no UTF-8 is escaped."""
    assert printable(name) == shown


def test_an_escape_spelled_out_in_a_name_is_told_from_a_real_one() -> None:
    r"""A file called `caf\xe9`, backslash and all, does not pass for the one with that byte."""
    assert printable("caf\\xe9") != printable(os.fsdecode(b"caf\xe9"))


@pytest.mark.parametrize(
    ("sidecar", "image", "ending"),
    [
        *(("a/1.txt", "a/1.jpg", ".txt"), ("a/1.jpg.txt", "a/1.jpg", ".jpg.txt"), ("1.JPG.XMP", "1.JPG", ".JPG.XMP")),
        *(("1.3f.jpg.txt", "1.3f.jpg", ".jpg.txt"), ("1.jpg.txt", "1.jpg.jpg", ".txt"), ("1.txt", "1", ".txt")),
    ],
)
def test_what_a_sidecars_name_adds_to_its_images(sidecar: str, image: str, ending: str) -> None:
    """Its own ending, with that of the image where it was appended to the whole name."""
    assert sidecar_ending(sidecar, image) == ending
