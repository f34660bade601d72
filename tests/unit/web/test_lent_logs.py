"""Connections to the log are kept, never shared by two requests at once, and follow the file."""

import shutil

import pytest

from imageguard_daemon.audit.database import open_for_writing
from imageguard_daemon.core.errors import NoInputError
from imageguard_daemon.web.site import LogConnections


@pytest.fixture
def connections(tmp_path):
    open_for_writing(tmp_path / "audit.db").dispose()
    made = LogConnections(tmp_path / "audit.db")
    yield made
    made.close()


def test_a_connection_is_used_again_but_by_one_request_at_a_time(connections):
    """Two requests at once have two; the next one has one of these."""
    with connections.lend() as first, connections.lend() as second:
        assert first is not second
    with connections.lend() as third:
        assert third in {first, second}


def test_one_that_met_an_error_is_not_used_again(connections):
    """Whatever was wrong with it is gone with it."""
    with pytest.raises(ValueError, match="no"), connections.lend() as first:
        raise ValueError("no")
    with connections.lend() as second:
        assert second is not first


def test_another_file_in_its_place_is_read(connections, tmp_path):
    """A log that was restored from a copy is shown, not the one that was taken away; without any that is said."""
    with connections.lend() as first:
        pass
    shutil.copy(tmp_path / "audit.db", tmp_path / "copy.db")
    (tmp_path / "copy.db").replace(tmp_path / "audit.db")
    with connections.lend() as second:
        assert second is not first
    (tmp_path / "audit.db").unlink()
    with pytest.raises(NoInputError), connections.lend():
        pass
