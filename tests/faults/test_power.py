"""Power cuts: a sample of what the full run does, and the test of the test."""

import pytest

from tests.faults import disks, power
from tests.faults.requirements import need, need_root, need_tools


@pytest.fixture(autouse=True)
def _loop_mounts() -> None:
    need_root()
    need_tools("mkfs.ext4")
    need(disks.can_mount(), "loop mounts")


@pytest.mark.parametrize(("layout", "accounts"), list(zip(power.LAYOUTS, (1, 2, 2, 1), strict=True)))
def test_a_power_cut_loses_nothing(launcher, open_folder, layout, accounts):
    """Whatever was synced by its uploader, whoever that is, is in one place with one record when the power is back."""
    assert power.cut_power(launcher, open_folder, layout, 1, accounts=accounts).violations == []


def test_a_power_cut_on_xfs_loses_nothing(launcher, tmp_path):
    """The same on xfs, with destinations on another disk."""
    need_tools("mkfs.xfs")
    layout = "destinations on a disk of their own"
    assert power.cut_power(launcher, tmp_path, layout, 1, file_system="xfs").violations == []


@pytest.mark.parametrize(("fault", "layout", "within"), power.SEEDED)
def test_the_harness_notices_a_seeded_fault(launcher, tmp_path, fault, layout, within):
    """A daemon with this mistake is caught within so many cuts: a harness that sees nothing proves nothing."""
    figures = power.cut_power(launcher, tmp_path, layout, within, fault=fault, stop_when_caught=True)
    assert figures.violations, f"{fault} went unseen in {within} cuts"
