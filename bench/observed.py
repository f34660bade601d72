"""The real daemon with a stopwatch on each stage: `python -m bench.observed run --config FILE`.

Beside the configuration it keeps `observed.json`: seconds of processor time that each stage has taken in the daemon's
main thread so far, and what watchdog's and the other threads took. The stopwatches cost about a microsecond each.
"""

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imageguard_daemon.__main__ import main
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.daemon import moves, pipeline
from imageguard_daemon.daemon.filed_images import FiledImages
from imageguard_daemon.daemon.main_loop import Reporter
from imageguard_daemon.intake.inbox import Inbox
from imageguard_daemon.sandbox.workers import Workers

STAGES: tuple[tuple[Any, str, str], ...] = (
    (Inbox, "step", "intake"),
    (Inbox, "look_again_at", "intake"),
    (Workers, "submit", "hand-over"),
    (Workers, "finished", "hand-over"),
    (pipeline, "judge", "deciding"),
    (AuditWriter, "record_intents", "recording"),
    (AuditWriter, "record_outcomes", "recording"),
    (moves, "carry_out", "moving"),
    (FiledImages, "add", "log line"),
    (Reporter, "publish", "status"),
)
_TICKS = os.sysconf("SC_CLK_TCK")
_spent: Counter[str] = Counter()


def _timed(function: Callable[..., Any], stage: str) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        begin = time.thread_time()
        try:
            return function(*arguments, **options)
        finally:
            _spent[stage] += time.thread_time() - begin

    return timed


def _threads() -> dict[str, float]:
    """Give the processor time of watchdog's threads, and of all but them and the main one."""
    spent = {"watchdog": 0.0, "other threads": 0.0}
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            kind = "watchdog" if type(thread).__module__.startswith("watchdog") else "other threads"
            fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rsplit(")", 1)[1].split()
            spent[kind] += (int(fields[11]) + int(fields[12])) / _TICKS
    return spent


def _keep(file: Path) -> None:
    known = dict(_spent)
    known["rest"] = time.thread_time() - sum(known.values())
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(known | _threads()))
    temporary.replace(file)


def observe(file: Path) -> None:
    """Put the stopwatches in place."""
    for owner, name, stage in STAGES:
        setattr(owner, name, _timed(getattr(owner, name), stage))
    publish = Reporter.publish  # once a second, in the main thread

    def publish_and_keep(self: Reporter, *arguments: Any) -> None:
        publish(self, *arguments)
        _keep(file)

    Reporter.publish = publish_and_keep  # type: ignore[method-assign]


if __name__ == "__main__":
    observe(Path(sys.argv[sys.argv.index("--config") + 1]).with_name("observed.json"))
    main()
