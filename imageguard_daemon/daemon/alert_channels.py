"""Telling people of a finding: by a command of theirs, or by a web request. Blocks; never in the daemon's loop."""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from imageguard_daemon.audit.alerts import Alert
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.timestamps import seconds_timestamp

_SHOWN_BYTES = 300
_STEERS_CHATS = str.maketrans({"<": "\u2039", ">": "\u203a", "@": "\uff20", "`": "'", "*": "\u2217"})
"""What chat programs take as mentions, links and formatting; a class may be called `<!channel>`."""


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
