"""One line per event on standard error: for people on a terminal, JSON elsewhere."""

import logging
import sys
from typing import Literal

import structlog
from rich.console import Console
from rich.text import Text

_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


class _ConsoleHandler(logging.Handler):
    """Prints above a live status line instead of through it."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(Text.from_ansi(self.format(record)), soft_wrap=True)


def _in_reading_order(_logger: object, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Put time, level and event first; structlog appends them."""
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}


def configure(form: Literal["auto", "console", "json"], level: str, console: Console) -> None:
    """Set up logging for the whole process; `auto` is JSON unless standard error is a terminal."""
    for_people = form == "console" or (form == "auto" and sys.stderr.isatty())
    handler: logging.Handler = _ConsoleHandler(console) if for_people else logging.StreamHandler()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=console.is_terminal, pad_event_to=0)
        if for_people
        else structlog.processors.JSONRenderer()
    )
    final: list[structlog.typing.Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if not for_people:
        final += [structlog.processors.format_exc_info, _in_reading_order]
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_SHARED, processors=[*final, renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # What matters of watchdog's log is heard by intake/watcher.py and told in our own words.
    logging.getLogger("watchdog").propagate = False
    logging.getLogger("watchdog").addHandler(logging.NullHandler())
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def set_level(level: str) -> None:
    """Change the least level that is written."""
    logging.getLogger().setLevel(level.upper())
