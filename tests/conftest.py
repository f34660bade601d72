"""What holds for all tests."""

import gc
import logging
import signal

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.helpers import new_logs

# How long an example takes says what else the machine is doing.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# A runner in the background, or under nohup, ignores these, and all that it starts inherits that: no daemon would stop.
for number, meaning in {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGQUIT: signal.SIG_DFL,
}.items():
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, meaning)


def pytest_collection_finish():
    """Have no collection of garbage look at what was loaded for thousands of tests, again and again."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    """A command that is run inside of a test sets up logging for its process, which is that of all tests."""
    root = logging.getLogger()
    before, configured = (root.handlers[:], root.level), structlog.get_config()
    yield
    root.handlers[:], root.level = before
    structlog.configure(**configured)


@pytest.fixture(autouse=True, scope="module")
def _new_logs():
    """Thousands of tests begin with a new log; that the migrations make one is tested where this is replaced."""
    with new_logs.made_at_once():
        yield
