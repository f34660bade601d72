"""Tells people of new findings, while the daemon goes on.

One thread looks for findings on a read-only connection, and one for each channel tells people; they may take their
time, and none waits for another. The daemon's loop hands them work and records what they report: an alert before
anybody is told, each try after it was made. So no try goes unrecorded but one that was made in the moment of a crash,
which is then made again.
"""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog

from imageguard_daemon.audit.alerts import Alert, AlertLog, Attempt, recorded_alerts
from imageguard_daemon.audit.counts import Dimension, Scope
from imageguard_daemon.audit.opening import open_log
from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.config import Alerts, Settings
from imageguard_daemon.core.errors import ImageguardError, StalledError
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import seconds_timestamp, utc_now
from imageguard_daemon.daemon.parts import Part, Snapshot
from imageguard_daemon.daemon.rules.alert_state import AlertState
from imageguard_daemon.reporting.finding import Finding
from imageguard_daemon.reporting.query import report_on, risen_in

_SHOWN_BYTES = 300
_STEERS_CHATS = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "\uff20", "`": "'", "*": "\u2217"})
"""What chat programs take as mentions, links and formatting; a class may be called `<!channel>`."""
STOP_SECONDS = 2.0
_REMEMBERED = timedelta(days=400)
"""What was told longer ago and still goes on is told again after a restart."""
RECORD_AGAIN_SECONDS = 5.0
log = structlog.get_logger(__name__)


class DeliveryError(Exception):
    """Nobody was told; the message says why."""


def content_of(alert: Alert, root: Path) -> dict[str, Any]:
    """Give what is told, as it is written in JSON; `text` is for chat programs, which interpret it."""
    host = socket.gethostname()
    return {
        "text": f"imageguard-daemon on {host}: {alert.message}".translate(_STEERS_CHATS),
        "kind": alert.kind,
        "subject": alert.subject,
        "message": alert.message,
        "state": "over" if alert.is_over else "new",
        "evidence": dict(alert.evidence),
        "found_at": seconds_timestamp(alert.found_at),
        "host": host,
        "root": os.fspath(root),
    }


class Command:
    """Runs a program for each alert, without a shell, with the alert as JSON on its standard input."""

    def __init__(self, arguments: Sequence[str], timeout_seconds: float) -> None:
        self._arguments = list(arguments)
        self._timeout_seconds = timeout_seconds
        self._running: subprocess.Popen[bytes] | None = None
        self._ending = threading.Lock()

    def send(self, content: dict[str, Any]) -> None:
        """Run it to its end; DeliveryError when it cannot be run, fails or takes too long."""
        with tempfile.TemporaryFile() as errors:
            try:
                process = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell
                    self._arguments,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    start_new_session=True,
                )
            except OSError as error:
                raise DeliveryError(f"cannot run {self._arguments[0]}: {error.strerror}") from error
            self._running = process
            try:
                process.communicate(json.dumps(content).encode(), self._timeout_seconds)
            except subprocess.TimeoutExpired as error:
                self.kill()
                process.wait()
                raise DeliveryError(f"took longer than {self._timeout_seconds:g} s") from error
            finally:
                self._running = None
            if process.returncode != 0:
                raise DeliveryError(f"exit code {process.returncode}{_tail(errors)}")

    def kill(self) -> None:
        """End the command that is running, with all it has started."""
        with self._ending:
            process = self._running
            if process is not None and process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _tail(errors: Any) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _SHOWN_BYTES))
    text = errors.read().decode(errors="replace").strip()
    return f": {text}" if text else ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere: a POST would arrive there as a GET, without what is told, and be called delivered."""

    def redirect_request(self, *_arguments: Any) -> None:
        """Give no request to go on with: the answer is an error as any other that is not a success."""
        return


class Webhook:
    """Posts each alert as JSON to an address; the whole exchange has one deadline."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._exchange: threading.Thread | None = None

    def send(self, content: dict[str, Any]) -> None:
        """Post it; DeliveryError unless the answer is a success, or when it takes too long."""
        if self._exchange is not None and self._exchange.is_alive():
            raise DeliveryError("the request before this one has not ended yet")
        errors: list[DeliveryError] = []
        # The library's time limit is for each step of its own: a name server that hangs, or an answer that comes byte
        # by byte, would take any time.
        self._exchange = threading.Thread(target=self._post, args=(content, errors), name="webhook", daemon=True)
        self._exchange.start()
        self._exchange.join(self._timeout_seconds)
        if self._exchange.is_alive():
            raise DeliveryError(f"timed out: took longer than {self._timeout_seconds:g} s")
        if errors:
            raise errors[0]

    def _post(self, content: dict[str, Any], errors: list[DeliveryError]) -> None:
        request = urllib.request.Request(  # noqa: S310 - http and https only, by the configuration
            self._url, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=self._timeout_seconds) as answer:
                answer.read(_SHOWN_BYTES)
        except urllib.error.HTTPError as error:
            errors.append(DeliveryError(_refusal(error)))
        except (OSError, ValueError) as error:  # URLError, timeouts, an answer that is not HTTP
            errors.append(DeliveryError(str(getattr(error, "reason", error)) or type(error).__name__))
        except http.client.HTTPException as error:
            errors.append(DeliveryError(f"{type(error).__name__}: {error}"))

    def kill(self) -> None:
        """A request cannot be ended from outside; it is left to its time limit."""


def _refusal(error: urllib.error.HTTPError) -> str:
    answer = f"answered {error.code} {error.reason}"
    if 300 <= error.code < 400:
        where = printable(error.headers.get("Location", "nowhere"))
        return f"{answer}: redirects are not followed; if it is meant, configure {where}"
    try:
        body = error.read(_SHOWN_BYTES).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException):
        body = ""
    return f"{answer}{': ' if body else ''}{body}"


Channel = Command | Webhook


def channels_of(settings: Alerts) -> dict[str, Channel]:
    """Give the ways to tell people that the configuration has, by name."""
    channels: dict[str, Channel] = {}
    if settings.command:
        channels["command"] = Command(settings.command, settings.timeout_seconds)
    if settings.webhook:
        channels["webhook"] = Webhook(settings.webhook, settings.timeout_seconds)
    return channels


def current_findings(settings: Settings, now: datetime) -> tuple[Finding, ...]:
    """Give what stands out in the decisions of the configured period, as `report` would tell it, and is not over.

    What rose in the last hours comes first; where a report tells it too, in the report's words.
    """
    # Up to now: a clock that was years ahead must not fill the period with what is yet to come.
    scope = Scope(since=now - timedelta(hours=settings.alerts.period_hours), until=now)
    with open_log(settings.audit.database) as log:
        reported = report_on(log, (Dimension.class_,), scope, settings.reporting, now).findings
        risen = risen_in(log, scope, settings.reporting)
    lasting = [finding for finding in reported if "until" not in finding.evidence]
    reported_too = {(finding.kind, finding.subject) for finding in lasting}
    risen_alone = [finding for finding in risen if (finding.kind, finding.subject) not in reported_too]
    return (*risen_alone, *lasting)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What a look for findings gave; None when it failed."""

    findings: tuple[Finding, ...] | None


@dataclass(frozen=True, slots=True)
class Found:
    """How many findings of each kind there were at the last look, `at` seconds since 1970."""

    at: float
    kinds: Mapping[str, int]


class Alerting(Part):
    """The loop's side: decides what is due and records. Does nothing where neither channels nor metrics tell."""

    def __init__(
        self,
        settings: Settings,
        audit: AuditWriter,
        wake: Callable[[], None],
        wall_clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings = settings
        self._log = AlertLog(audit)
        self._wall_clock = wall_clock
        self._messenger = _Messenger(settings, wake, wall_clock)
        self._unrecorded: list[Attempt] = []
        self._being_sent: set[int] = set()
        self.found: Found | None = None
        self._is_wanted = bool(self._messenger.channels) or settings.metrics.enabled
        self._looking = False
        self._next_look_at = 0.0
        self._record_at = 0.0
        cooldown = timedelta(hours=settings.alerts.cooldown_hours)
        self._state = AlertState(cooldown, self._recorded() if self._messenger.channels else (), self._wall_clock())

    def step(self, now: float) -> None:
        """Take what the thread reports, record it, and give it what is due. Never waits."""
        if not self._is_wanted or now < self._record_at:
            return
        try:
            reports = self._messenger.reports()
            self._unrecorded += [report for report in reports if isinstance(report, Attempt)]
            self._record_attempts()
            for report in reports:
                if isinstance(report, _Looked):
                    self._take(report)
        except StalledError as error:
            log.warning("alerts cannot be recorded", why=str(error))
            self._record_at = now + RECORD_AGAIN_SECONDS
            return
        if not self._next_look_at:
            self._next_look_at = now + self._settings.alerts.check_seconds
        if now >= self._next_look_at and not self._looking:
            self._next_look_at = now + self._settings.alerts.check_seconds
            self._looking = True
            self._messenger.look()
        self._hand_over()

    def next_due(self, now: float) -> float | None:
        """Say when `step` has something to do, were nothing reported before."""
        if not self._is_wanted:
            return None
        times = [self._next_look_at, self._record_at]
        due = self._state.next_due(self._wall_clock(), apart_from=self._being_sent)
        if due is not None:
            times.append(now + (due - self._wall_clock()).total_seconds())
        later = [time for time in times if time > now]
        return min(later, default=now + RECORD_AGAIN_SECONDS)

    def stop(self) -> None:
        """End the threads; what was not delivered is delivered after the next start."""
        self._messenger.stop()

    def snapshot(self, so_far: Snapshot, now: float) -> Snapshot:  # noqa: ARG002 - the protocol's
        """Add what the last look found."""
        if self.found is None:
            return so_far
        return replace(so_far, findings=self.found.kinds, findings_at=self.found.at)

    def _recorded(self) -> list[Alert]:
        with open_log(self._settings.audit.database) as log:
            return recorded_alerts(log, self._wall_clock() - _REMEMBERED)

    def _take(self, report: _Looked) -> None:
        self._looking = False
        if report.findings is None:  # that it was not seen does not mean that it is over
            return
        kinds = Counter(finding.kind for finding in report.findings)
        self.found = Found(self._wall_clock().timestamp(), dict(kinds))
        news = self._state.news(report.findings, list(self._messenger.channels), self._wall_clock())
        if news:
            self._state.add(self._log.record_alerts(news))

    def _record_attempts(self) -> None:
        if not self._unrecorded:
            return
        self._log.record_attempts(self._unrecorded)
        for attempt in self._unrecorded:
            self._state.note(attempt)
            self._being_sent.discard(attempt.alert_id)
        self._unrecorded = []

    def _hand_over(self) -> None:
        for alert in self._state.due(self._wall_clock()):
            if alert.alert_id not in self._being_sent:
                self._being_sent.add(alert.alert_id)
                self._messenger.send(alert)


class _Errands:
    """A thread that does one thing after the other, begun with the first of them."""

    def __init__(self, name: str, wake: Callable[[], None]) -> None:
        self._name = name
        self._wake = wake
        self._orders: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def order(self, work: Callable[[], None]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._orders.put(work)

    def ask_to_stop(self) -> None:
        self._stopping = True
        self._orders.put(None)

    def wait(self, deadline: float) -> None:
        """Wait for its end; what takes longer does not keep us alive."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (work := self._orders.get()) is not None and not self._stopping:
            work()
            self._wake()


class _Messenger:
    """The threads' side: looks, and tells by each channel apart from the others."""

    def __init__(self, settings: Settings, wake: Callable[[], None], wall_clock: Callable[[], datetime]) -> None:
        self.channels = channels_of(settings.alerts)
        self._settings = settings
        self._wall_clock = wall_clock
        self._reports: deque[_Looked | Attempt] = deque()
        self._looks = _Errands("findings", wake)
        self._errands = {name: _Errands(f"alerts by {name}", wake) for name in self.channels}

    def look(self) -> None:
        self._looks.order(self._look)

    def send(self, alert: Alert) -> None:
        self._errands.get(alert.channel, self._looks).order(lambda: self._send(alert))

    def reports(self) -> Sequence["_Looked | Attempt"]:
        taken = []
        while self._reports:
            taken.append(self._reports.popleft())
        return taken

    def stop(self) -> None:
        all_errands = [self._looks, *self._errands.values()]
        for errands in all_errands:
            errands.ask_to_stop()
        for channel in self.channels.values():
            channel.kill()
        deadline = time.monotonic() + STOP_SECONDS
        for errands in all_errands:
            errands.wait(deadline)

    def _look(self) -> None:
        try:
            found = current_findings(self._settings, self._wall_clock())
        except ImageguardError as error:
            log.warning("could not look for findings", why=str(error))
            self._reports.append(_Looked(None))
        except Exception:
            log.exception("could not look for findings")
            self._reports.append(_Looked(None))
        else:
            self._reports.append(_Looked(found))

    def _send(self, alert: Alert) -> None:
        channel = self.channels.get(alert.channel)
        try:
            if channel is None:
                raise DeliveryError("no longer configured")  # noqa: TRY301 - told like the others
            channel.send(content_of(alert, self._settings.root))
        except DeliveryError as error:
            log.warning("alert not delivered", channel=alert.channel, kind=alert.kind, why=str(error))
            self._reports.append(Attempt(alert.alert_id, self._wall_clock(), False, str(error)))
        except Exception as error:
            log.exception("alert not delivered")
            self._reports.append(Attempt(alert.alert_id, self._wall_clock(), False, repr(error)))
        else:
            log.info("alert delivered", channel=alert.channel, kind=alert.kind, subject=alert.subject)
            self._reports.append(Attempt(alert.alert_id, self._wall_clock(), True))
