"""Reading a configuration, whatever text is in the file."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from imageguard_daemon.config import Settings
from imageguard_daemon.config_file import parse
from imageguard_daemon.core.errors import ConfigError

WORDS = st.one_of(st.sampled_from(["root", "sources", "intake", "name", "2024-02-30", "1e999", "~", "0b_"]), st.text())
VALUES = st.recursive(
    st.one_of(WORDS, st.none(), st.booleans(), st.integers(), st.floats()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)
TEXTS = st.one_of(st.text(st.sampled_from("ab:[]{}-,&*!|>'\"#%@ \n\t1.x_"), max_size=30), VALUES.map(str))


@given(TEXTS)
def test_any_text_is_settings_or_a_mistake_told_in_words(text: str) -> None:
    """No text whatsoever ends the command with a traceback."""
    with suppress(ConfigError):
        assert isinstance(parse(text), Settings)
