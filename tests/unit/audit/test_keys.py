"""Keys are taken together by their fields, whatever numbers they have."""

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.audit.keys import Key, Keys

NAMES = st.sampled_from(["", "a", "b"])
KEYS = st.lists(st.none() | st.builds(Key, *[NAMES] * len(Key._fields)), max_size=12)


@given(KEYS)
def test_a_key_is_found_by_its_number(keys: list[Key | None]) -> None:
    """A number that is not in use has none; an empty log has number 0 at least, so that arrays have a place for it."""
    made = Keys.numbered(keys)
    assert len(made) >= 1
    assert [*made] == [*keys, None][: len(made)]
    assert not any([*keys][len(made) :])


@given(KEYS, st.lists(st.sampled_from(Key._fields), min_size=1, unique=True))
def test_groups_are_what_keys_have_in_common_in_the_order_of_their_numbers(
    keys: list[Key | None], fields: list[str]
) -> None:
    """Two keys are one group if, and only if, they agree in all fields asked for."""
    made = Keys.numbered(keys)
    groups, of_number = made.groups(*fields)
    values = [key and tuple(getattr(key, field) for field in fields) for key in made]
    assert groups == list(dict.fromkeys(filter(None, values)))
    assert [groups[at] if at >= 0 else None for at in of_number.tolist()] == values


@given(KEYS, st.sets(NAMES))
def test_keys_are_chosen_by_a_field(keys: list[Key | None], wanted: set[str]) -> None:
    """What has one of the names is chosen; a number that is not in use never is."""
    made = Keys.numbered(keys)
    assert made.where("camera", wanted).tolist() == [bool(key and key.camera in wanted) for key in made]
    assert made.names("camera") == {key.camera for key in keys if key}
