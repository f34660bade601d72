"""Which kind of file system something is on."""

import os
from pathlib import Path

import pytest

from imageguard_daemon.core import file_systems
from imageguard_daemon.core.file_systems import Reach, file_system_at, file_system_of


def test_the_temporary_folder_is_on_a_kind_that_is_known(tmp_path: Path) -> None:
    """The number is asked of the kernel: what stands for it in /proc/self/mountinfo is the same kind."""
    found = file_system_at(tmp_path)
    if found.reach is Reach.unknown:
        pytest.skip(f"nothing is known of {found.name}")
    kinds = {line.split(" - ")[1].split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    assert found.reach is not Reach.local or found.name.removesuffix("fs") in {
        kind.removesuffix("fs") for kind in kinds
    }


@pytest.mark.parametrize(
    ("magic", "name", "reach"),
    [
        (0xEF53, "ext4", Reach.local),
        (0x65735546, "FUSE", Reach.relayed),
        (0x6969, "NFS", Reach.network),
        (0xFE534D42, "SMB", Reach.network),
        (0xFF534D42, "SMB (CIFS)", Reach.network),
        (0xABCDEF01, "a file system of kind 0xabcdef01", Reach.unknown),
    ],
)
def test_kinds_are_named_as_people_know_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, magic: int, name: str, reach: Reach
) -> None:
    """A kind that is not in the list is none of the others: nothing is claimed of it."""
    monkeypatch.setattr(file_systems, "magic_of", lambda _descriptor: magic)
    found = file_system_at(tmp_path)
    assert (found.name, found.reach) == (name, reach)


def test_what_cannot_be_asked_is_unknown() -> None:
    """A pipe is on no disk, a closed descriptor on nothing."""
    reading, writing = os.pipe()
    assert file_system_of(reading).reach is Reach.unknown
    for descriptor in (reading, writing):
        os.close(descriptor)
    assert file_system_of(reading).reach is Reach.unknown
