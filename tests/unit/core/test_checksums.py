"""How senders write checksums down."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from imageguard_daemon.core.checksums import Digest, first_digest, is_list, listed

SHA, OTHER = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()
MD5 = hashlib.md5(b"1").hexdigest()  # noqa: S324 - what people use


@pytest.mark.parametrize(
    ("line", "name", "digest"),
    [
        (f"{SHA}  1.jpg", b"1.jpg", Digest("sha256", SHA)),
        (f"{SHA.upper()} *1.jpg\r", b"1.jpg", Digest("sha256", SHA)),
        (f"{MD5}  ./1.jpg", b"1.jpg", Digest("md5", MD5)),
        (f"{MD5}\ta name.jpg", b"a name.jpg", Digest("md5", MD5)),
        (f"\\{MD5}  a\\nb\\\\c.jpg", b"a\nb\\c.jpg", Digest("md5", MD5)),
        (f"SHA256 (1.jpg) = {SHA}", b"1.jpg", Digest("sha256", SHA)),
        (f"MD5 (a (1).jpg) = {MD5}", b"a (1).jpg", Digest("md5", MD5)),
        (f"SHA2-256(1.jpg)= {SHA}", b"1.jpg", Digest("sha256", SHA)),
    ],
)
def test_every_tools_way_of_writing_is_read(line: str, name: bytes, digest: Digest) -> None:
    """GNU's, BSD's and OpenSSL's, with ends of lines and cases as they come."""
    found = listed(f"\ufeff# made by hand\n\n{line}\n".encode())
    assert found.of_names == {name: (digest,)}
    assert found.bad_lines == 0
    assert first_digest(line.encode()) == digest


def test_the_real_tools_are_read(tmp_path: Path) -> None:
    """What sha256sum, md5sum and openssl write of a file of an odd name is understood."""
    name = "an odd\\ name (1)*.jpg"
    (tmp_path / name).write_bytes(b"1")
    commands = (["sha256sum"], ["sha256sum", "--tag"], ["sha256sum", "--binary"], ["md5sum"], ["md5sum", "--tag"])
    for command in (*commands, ["openssl", "dgst", "-sha256"]):
        if shutil.which(command[0]) is None:
            continue
        made = subprocess.run([*command, name], cwd=tmp_path, capture_output=True, check=True).stdout
        digits = MD5 if command[0] == "md5sum" else SHA
        assert [digest.digits for digest in first_and_only(made, name)] == [digits], command


def first_and_only(made: bytes, name: str) -> tuple[Digest, ...]:
    found = listed(made).of_names
    return found.get(name.encode(), ())


def test_the_last_line_counts_and_both_algorithms_do() -> None:
    """A list that was written on has the newest digest at its end."""
    found = listed(f"{OTHER}  1.jpg\n{MD5}  1.jpg\n{SHA}  1.jpg".encode())
    assert set(found.of_names[b"1.jpg"]) == {Digest("sha256", SHA), Digest("md5", MD5)}


def test_hostile_lines_are_counted_and_nothing_more() -> None:
    """Half digests, other algorithms, binary junk and endless lines are bad lines; files elsewhere are passed over."""
    lines = [b"x", SHA[:63].encode(), f"{SHA}0  1.jpg".encode(), b"\0" * 100, f"{SHA}  {'a' * 9000}".encode()]
    found = listed(b"\n".join([*lines, f"{SHA}  ../1.jpg".encode(), f"{SHA}  cat/1.jpg".encode()]))
    assert found.bad_lines == len(lines)
    assert b"1.jpg" not in found.of_names
    assert first_digest(b"\n".join(lines)) is None


def test_a_digest_alone_is_enough_beside_one_image() -> None:
    """Many senders write nothing but the digits, or the name that the file had on their side."""
    assert first_digest(SHA.encode()) == Digest("sha256", SHA)
    assert first_digest(f"{MD5}  C:\\out\\1.jpg.tmp\r\n".encode()) == Digest("md5", MD5)
    assert listed(SHA.encode()).of_names == {}


def test_lists_are_known_by_their_names() -> None:
    """In any case of their letters, and no other text file is one."""
    assert all(map(is_list, ("SHA256SUMS", "sha256sums", "MD5SUMS", "MD5Sum.txt", "sha256sum.txt")))
    assert not any(map(is_list, ("1.txt", "sums.txt", "SHA1SUMS", "1.jpg.sha256")))
