"""What is missing on a machine never goes unnoticed."""

import pytest

from tests.faults.requirements import need, need_tools


def test_what_is_missing_fails_in_ci_and_is_skipped_elsewhere(monkeypatch):
    """A tool that is not there is a failure where CI is true, and a skip that names it on a laptop."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-command"):
        need_tools("no-such-command")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="no-such-command"):
        need_tools("no-such-command")


def test_what_is_there_is_no_hindrance():
    """With what is needed the test goes on."""
    need(True, "nothing")
    need_tools("sh")
