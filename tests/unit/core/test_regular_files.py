"""Opening files of others without falling into a trap."""

import errno
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from imageguard_daemon.core.model import FileIdentity
from imageguard_daemon.core.regular_files import NotRegularError, regular_file, regular_file_at, sha256_of

CONTENT = os.urandom(3 << 20)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "1.jpg"
    path.write_bytes(CONTENT)
    return path


def test_a_regular_file_is_read_and_hashed_from_its_beginning_whatever_was_read_before(file: Path) -> None:
    with regular_file(file) as opened:
        assert opened.read(5) == CONTENT[:5]
        assert opened.sha256() == hashlib.sha256(CONTENT).hexdigest() == sha256_of(opened.descriptor)
        assert opened.identity == FileIdentity.from_stat(file.stat()) == regular_file_at(str(file))


def test_a_name_in_an_open_folder_is_looked_for_there_alone(file: Path) -> None:
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        with regular_file(file.name, folder) as opened:
            assert opened.status.st_size == len(CONTENT)
    finally:
        os.close(folder)


def test_neither_a_pipe_nor_a_folder_is_waited_for_or_taken_for_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, tmp_path):
        with pytest.raises(NotRegularError, match="not a regular file"), regular_file(path):
            pass
        assert regular_file_at(str(path)) is None


def test_a_link_and_a_socket_are_refused_by_the_system(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with pytest.raises(OSError, match="link") as of_link, regular_file(link):
        pass
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="socket") as of_socket, regular_file(tmp_path / "socket"):
            pass
    assert (of_link.value.errno, of_socket.value.errno) == (errno.ELOOP, errno.ENXIO)
    assert regular_file_at(str(link)) is None


def test_the_file_is_closed_also_when_looking_at_it_fails(file: Path) -> None:
    with pytest.raises(ZeroDivisionError), regular_file(file) as opened:
        raise ZeroDivisionError
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(opened.descriptor)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root, to give some of it away")
@pytest.mark.parametrize("capability", ["+dac_read_search", "-all"])
def test_a_name_is_there_for_whoever_may_open_it(tmp_path: Path, capability: str) -> None:
    """A daemon that reads others' folders by CAP_DAC_READ_SEARCH finds sidecars and checksums in them."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "1.txt").touch()
    account = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    account += ["--inh-caps", capability, "--ambient-caps", capability]
    look = "import os, sys; sys.path[:0] = os.environ['PLACES'].split(':')\n"
    look += "from imageguard_daemon.core.regular_files import is_there; print(is_there(sys.argv[1]))"
    environment = os.environ | {"PLACES": ":".join(filter(None, sys.path))}
    command = [*account, sys.executable, "-c", look, str(closed / "1.txt")]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
    assert answer == str(capability == "+dac_read_search")
