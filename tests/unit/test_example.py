"""The example configuration at the top of the project."""

import itertools
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from imageguard_daemon.config import Settings, Source
from imageguard_daemon.config_file import parse, render_example

EXAMPLE_FILE = Path(__file__).parents[2] / "config.example.yaml"
SECTIONS: list[BaseModel] = [
    Settings(),
    Source(),
    *(value for _, value in Settings() if isinstance(value, BaseModel)),
]


def test_the_file_in_the_repository_is_up_to_date() -> None:
    """config.example.yaml is what the settings say; `imageguard-daemon config init` writes the same text."""
    assert EXAMPLE_FILE.read_text(encoding="utf-8") == render_example()


def test_the_example_is_the_defaults() -> None:
    """Whoever starts from the example, unchanged, gets what nobody has to write."""
    assert parse(render_example()) == Settings()


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: type(section).__name__)
def test_every_setting_says_what_it_does(section: BaseModel) -> None:
    """No setting is without a description, and each description is in the example."""
    text = " ".join(render_example().replace("- #", "  #").replace("#", " ").split())
    for name, field in type(section).model_fields.items():
        assert field.description, name
        assert " ".join(field.description.split()) in text


def test_the_example_fits_a_page() -> None:
    """No line is wider than people's editors, and no setting is squeezed between others."""
    lines = render_example().splitlines()
    assert max(map(len, lines)) <= 110
    assert "" not in {lines[0], lines[-1]}
    assert not any(first == second == "" for first, second in itertools.pairwise(lines))


def test_a_setting_can_be_changed_where_it_stands() -> None:
    """Replacing one value in the text changes that setting and no other."""
    changed = render_example().replace("settle_seconds: 2.0", "settle_seconds: 7.5")
    assert yaml.safe_load(changed)["intake"]["settle_seconds"] == 7.5
    assert parse(changed).model_dump(exclude={"intake"}) == Settings().model_dump(exclude={"intake"})
