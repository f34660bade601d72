"""A broken installation of OpenCV."""

import sys
from types import ModuleType

import pytest

from imageguard_daemon.cli.output import broken_installation
from imageguard_daemon.quality.version import why_opencv_fails


def test_opencv_without_its_files_is_told_with_the_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when one of two wheels that share its folder was removed: a sentence with a command, not a traceback."""
    error = AttributeError("module 'cv2' has no attribute 'imdecode'")
    assert why_opencv_fails() == ""
    assert broken_installation(error) is None
    monkeypatch.setitem(sys.modules, "cv2", ModuleType("cv2"))
    told = broken_installation(error)
    assert told is not None
    assert told.exit_code == 69
    assert "has no attribute 'imdecode'. To repair it: pip uninstall -y opencv-python-headless && pip install" in str(
        told
    )
    assert broken_installation(ValueError()) is None
