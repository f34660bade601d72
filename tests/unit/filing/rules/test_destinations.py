"""Where a judged file goes."""

import pytest

from imageguard_daemon.filing.rules.destinations import class_of, free_path, renamed_like

SHA256 = "3fa2c1d0" + "0" * 56


@pytest.mark.parametrize(
    ("path", "rule", "name"),
    [
        ("cat/tabby/1.jpg", "first_folder", "cat"),
        ("cat/tabby/1.jpg", "parent_folder", "tabby"),
        ("cat/tabby/1.jpg", "none", ""),
        ("1.jpg", "first_folder", ""),
        ("1.jpg", "parent_folder", ""),
        ("2024/cat_17.jpg", r"(?P<class>[a-z]+)_\d+", "cat"),
        ("2024/17.jpg", r"(?P<class>[a-z]+)_\d+", ""),
        ("2024/_17.jpg", r"(?P<class>[a-z]+)?_\d+", ""),
    ],
)
def test_the_class_is_read_from_the_path(path: str, rule: str, name: str) -> None:
    """Folder or expression give the class; a path without one has the empty class."""
    assert class_of(path, rule) == name


@pytest.mark.parametrize(
    ("path", "taken", "chosen"),
    [
        ("cat/1.jpg", set(), "cat/1.jpg"),
        ("cat/1.jpg", {"cat/1.jpg"}, "cat/1.3fa2c1d0.jpg"),
        ("cat/1.jpg", {"cat/1.jpg", "cat/1.3fa2c1d0.jpg"}, "cat/1.3fa2c1d0-2.jpg"),
        ("a.tar.png", {"a.tar.png"}, "a.tar.3fa2c1d0.png"),
        ("README", {"README"}, "README-3fa2c1d0"),
    ],
)
def test_a_taken_name_is_told_apart_by_its_content(path: str, taken: set[str], chosen: str) -> None:
    """The name stays when it is free; otherwise the hash is put before the ending, then a number too."""
    assert free_path(path, (), SHA256, taken.__contains__) == chosen


def test_a_name_is_free_only_with_its_sidecars() -> None:
    """When just the label file's name is taken, image and label file both get the new stem."""
    chosen = free_path("cat/1.jpg", (".txt",), SHA256, {"cat/1.txt"}.__contains__)
    assert (chosen, renamed_like(".txt", chosen)) == ("cat/1.3fa2c1d0.jpg", "cat/1.3fa2c1d0.txt")


@pytest.mark.parametrize(
    "name",
    ["a" * 251 + ".jpg", "猫" * 83 + ".jpg", "a." + "x" * 253, "x" * 255, "a" * 250 + "."],
    ids=["ASCII", "multi-byte", "nothing but ending", "no ending", "trailing dot"],
)
def test_a_name_of_full_length_still_gets_another(name: str) -> None:
    """Even when no byte is left for the hash, a name is found, within the limit of the file system."""
    chosen = free_path(name, (".json",), SHA256, {name}.__contains__)
    assert chosen != name
    assert "3fa2c1d0" in chosen
    assert max(len(path.encode()) for path in (chosen, renamed_like(".json", chosen))) <= 255
