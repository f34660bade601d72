"""One line per event on standard error: for people on a terminal, JSON elsewhere, marked for systemd's journal."""

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Literal, TextIO

import structlog
from rich.console import Console
from rich.text import Text

from imageguard_daemon.core.model import VERDICTS
from imageguard_daemon.core.names import printable

_COLOURS = {
    "accepted": "\x1b[32m",
    "quarantined": "\x1b[33m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[31m",
}
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG = 7
_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def leads_to_journal(stream: TextIO) -> bool:
    """Tell whether a stream is the one that systemd connected to its journal (systemd.exec(5), JOURNAL_STREAM)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return (str(status.st_dev), str(status.st_ino)) == (device, inode)


def with_priority(level: int, text: str) -> str:
    """Mark each line of a message with its priority (sd-daemon(3)), so that `journalctl -p warning` finds it."""
    priority = next((number for least, number in _PRIORITIES if level >= least), _DEBUG)
    return "\n".join(f"<{priority}>{line}" for line in text.split("\n"))


class _ConsoleHandler(logging.Handler):
    """Prints above a live status line instead of through it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(Text.from_ansi(self.format(record)), soft_wrap=True)


class _JournalHandler(logging.StreamHandler[TextIO]):
    """Says with each line how urgent it is."""

    def format(self, record: logging.LogRecord) -> str:
        return with_priority(record.levelno, super().format(record))


def go_to_journal() -> bool:
    """Tell whether what is logged is kept by systemd's journal."""
    return any(isinstance(handler, _JournalHandler) for handler in logging.getLogger().handlers)


def _in_reading_order(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put time, level and event first; structlog appends them."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def _for_people(_logger: object, _name: str, event: structlog.typing.EventDict) -> str:
    """Write a line that is read as it scrolls by: when, what, which file, why. The JSON form has all the rest."""
    moment = datetime.fromisoformat(event.pop("timestamp")).astimezone().strftime("%H:%M:%S")
    what, level = str(event.pop("event")), event.pop("level")
    event.pop("logger", None)
    exception = event.pop("exception", "")
    line = f"{moment} {_COLOURS.get(what) or _COLOURS.get(level, '')}{what:<12}\x1b[0m"
    if what in VERDICTS:
        line += f" {event['path']}  " + (f"{event['reason']}: {event['detail']}" if event["reason"] else "")
    else:
        line += "".join(f"  {name.replace('_', ' ')}: {_in_line(value)}" for name, value in event.items())
    return f"{line.rstrip()}\n{exception}".rstrip()


def _in_line(value: object) -> str:
    """Escape what was not: messages of libraries and of the system may carry bytes of a file or its name."""
    text = str(value)
    return text if text.isprintable() else printable(text)


def _as_json(event: structlog.typing.EventDict, *, default: Callable[[object], object]) -> str:
    return _encoder(default).encode(event)


@cache
def _encoder(default: Callable[[object], object]) -> json.JSONEncoder:
    """Give what `json.dumps` makes again for each line."""
    return json.JSONEncoder(default=default)


def configure(form: Literal["auto", "console", "json"], level: str, console: Console) -> None:
    """Set up logging for the whole process; `auto` is JSON unless standard error is a terminal."""
    for_people = form == "console" or (form == "auto" and sys.stderr.isatty())
    handler: logging.Handler
    if leads_to_journal(sys.stderr):
        handler = _JournalHandler()
    else:
        handler = _ConsoleHandler(console) if for_people else logging.StreamHandler()
    final: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        *([_for_people] if for_people else [_in_reading_order, structlog.processors.JSONRenderer(_as_json)]),
    ]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=final))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    # Where in the code a line was written is told nowhere, and to find out takes a fifth of the line's time.
    logging._srcfile = None  # noqa: SLF001 - as "Optimization" in Python's logging HOWTO says
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # What matters of watchdog's log is heard by intake/watcher.py and told in our own words.
    logging.getLogger("watchdog").propagate = False
    logging.getLogger("watchdog").addHandler(logging.NullHandler())
    warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\.")  # walks find what it may miss
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def set_level(level: str) -> None:
    """Change the least level that is written."""
    logging.getLogger().setLevel(level.upper())
