"""Tokens have holders; a new one ends the sessions of the old one."""

import os
import stat
import subprocess
import sys

import pytest

from imageguard_daemon.core.errors import PermissionDeniedError, UnavailableError
from imageguard_daemon.web import tokens
from imageguard_daemon.web.tokens import SESSION_SECONDS, Sessions, Tokens
from tests.helpers.accounts import own_folders


def test_a_token_is_known_by_its_holder_and_never_stored(tmp_path):
    """The file has hashes and names, and belongs to its owner alone."""
    path = tmp_path / "state" / tokens.TOKEN_FILE
    anna, berta = tokens.add(path, "anna b"), tokens.add(path, "berta")
    known = Tokens(path)
    assert known.holders()[known.hash_of(anna)] == "anna b"
    assert known.holders()[known.hash_of(berta)] == "berta"
    assert known.hash_of("guess") == known.hash_of("") == ""
    assert anna not in path.read_text()
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_new_token_ends_the_sessions_of_the_old_one_and_no_others(tmp_path):
    """The server need not be started anew for that."""
    path = tmp_path / tokens.TOKEN_FILE
    known, sessions = Tokens(path), Sessions()
    first, other = tokens.add(path, "anna"), tokens.add(path, "berta")
    session, stays = sessions.begin(known.hash_of(first)), sessions.begin(known.hash_of(other))
    assert sessions.holder(session, known) == "anna"
    tokens.add(path, "anna")
    assert sessions.holder(session, known) is None
    assert known.hash_of(first) == ""
    assert sessions.holder(stays, known) == "berta"
    assert tokens.remove(path, "berta")
    assert sessions.holder(stays, known) is None
    assert not tokens.remove(path, "berta")


def test_sessions_end(tmp_path):
    """After their time, when somebody logs out, and the oldest where there are too many."""
    path, now = tmp_path / tokens.TOKEN_FILE, [0.0]
    known, sessions = Tokens(path), Sessions(lambda: now[0])
    sha256 = known.hash_of(tokens.add(path, "anna"))
    first, second = sessions.begin(sha256), sessions.begin(sha256)
    sessions.end(second)
    assert (sessions.holder(first, known), sessions.holder(second, known)) == ("anna", None)
    now[0] = SESSION_SECONDS + 1
    assert sessions.holder(first, known) is None
    now[0] = 0.0
    for _ in range(1_000):
        sessions.begin(sha256)
    assert sessions.holder(first, known) is None


def test_a_file_that_makes_no_sense_lets_nobody_in(tmp_path):
    """Neither garbage nor a file that is gone is a token."""
    path = tmp_path / tokens.TOKEN_FILE
    token = tokens.add(path, "anna")
    known = Tokens(path)
    assert known.hash_of(token)
    path.write_bytes(b"\xff\xfe")
    assert known.hash_of(token) == ""
    path.unlink()
    assert known.holders() == {}


def test_a_file_that_cannot_be_read_is_an_error_and_not_an_empty_one(tmp_path, caplog):
    """Nobody can be let in, which is no reason to tell everybody that their token is wrong; the log has the path."""
    path = tmp_path / tokens.TOKEN_FILE
    path.mkdir()
    known = Tokens(path)
    for _ in range(3):
        with pytest.raises(UnavailableError, match="cannot be read") as told:
            known.hash_of("any")
        assert str(path) not in str(told.value)
    assert caplog.text.count(str(path)) == 1
    path.rmdir()
    token = tokens.add(path, "anna")
    assert known.hash_of(token)


@pytest.mark.skipif(os.geteuid() != 0, reason="taking another account needs root")
def test_a_file_of_another_account_is_an_error_that_says_what_to_do(tmp_path):
    """As root's, made for the pages of an account, is."""
    path = tmp_path / tokens.TOKEN_FILE
    tokens.add(path, "anna")
    for folder in own_folders(tmp_path):
        folder.chmod(0o755)
    program = f"""
import os, pathlib
from imageguard_daemon.web import tokens
path = pathlib.Path({str(path)!r})
os.setuid(65534)
for act in (lambda: tokens.read(path), lambda: tokens._write(path, {{}})):
    try:
        act()
    except tokens.{PermissionDeniedError.__name__} as error:
        print(error)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    read, written = told.stdout.splitlines()
    assert "chown it to this account" in read
    assert f"cannot write {path}: Permission denied" in written
