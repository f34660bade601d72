"""Numbers of records over many logs, and values that do not fit."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.audit.rules import ID_BITS, LARGEST_ID, Branch, Kind, MisfitError, fitted

FIRST = Branch(1)
SECOND = Branch(2, FIRST, 100, {"intents": 50})
THIRD = Branch(3, SECOND, 140, {"intents": 70})


@given(st.integers(1, 8_388_607), st.integers(0, LARGEST_ID))
def test_a_number_gives_back_log_and_id(log: int, record_id: int) -> None:
    """No two records of a fleet have one number, and every number fits what PostgreSQL and SQLite store."""
    number = Branch(log).number_of("intents", record_id)
    assert divmod(number, 1 << ID_BITS) == (log, record_id)
    assert number < 1 << 63


@given(st.integers(0, 200))
def test_a_branch_has_the_records_of_its_parents_under_their_numbers(record_id: int) -> None:
    """What three generations have in common is one record."""
    owner = 1 if record_id <= 50 else 2 if record_id <= 70 else 3
    assert THIRD.number_of("intents", record_id) >> ID_BITS == owner
    assert THIRD.number_of("outcomes", record_id) >> ID_BITS == 3 or record_id == 0


def test_a_branch_has_the_links_of_its_parents() -> None:
    """A link up to a fork is the parent's."""
    assert [THIRD.of_link(sequence).number for sequence in (1, 100, 101, 140, 141)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize("record_id", [-1, LARGEST_ID + 1])
def test_ids_that_no_log_gives_out_are_refused(record_id: int) -> None:
    """They would take another record's number."""
    with pytest.raises(ValueError, match="out of range"):
        FIRST.number_of("intents", record_id)


@given(st.text(st.characters(codec=None)))
def test_any_text_fits_a_text(text: str) -> None:
    """Whatever is in it, PostgreSQL can store what comes out; what it can store anyway is unchanged."""
    made = fitted({"a": text}, {"a": Kind.text})["a"]
    assert "\0" not in made
    made.encode()
    if "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text):
        assert made == text


@given(st.dictionaries(st.text(), st.text(st.characters(codec=None))))
def test_json_keeps_its_meaning(value: dict[str, str]) -> None:
    """JSON with bytes that are no UTF-8 says the same in escapes."""
    raw = json.dumps(value, ensure_ascii=False)
    assert json.loads(fitted({"a": raw}, {"a": Kind.json})["a"]) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.integer, "7"),
        (Kind.integer, 1 << 63),
        (Kind.integer, 0.5),
        (Kind.number, "much"),
        (Kind.text, 7),
        (Kind.text, b"bytes"),
        (Kind.json, 7),
        (Kind.json, '"\0"'),
        (Kind.blob, "text"),
    ],
)
def test_a_value_of_another_kind_is_a_misfit(kind: Kind, value: object) -> None:
    """It is named, and the row set aside, rather than bent into something else."""
    with pytest.raises(MisfitError, match=r"^a: "):
        fitted({"a": value}, {"a": kind})


def test_nothing_fits_everywhere_and_integers_are_numbers() -> None:
    """What SQLite stores as an integer where a real belongs is that number."""
    kinds = dict(zip("abcde", Kind, strict=True))
    assert fitted({"b": 3}, kinds) == {"a": None, "b": 3.0, "c": None, "d": None, "e": None}
