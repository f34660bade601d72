"""Telling people of a finding: by a command of theirs, or by a web request. Blocks; never in the daemon's loop."""

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

_TOLD_BYTES = 300
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
        "evidence": dict(alert.evidence),
        "found_at": alert.found_at.isoformat(timespec="seconds"),
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

    def tell(self, content: dict[str, Any]) -> None:
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
    errors.seek(max(0, size - _TOLD_BYTES))
    told = errors.read().decode(errors="replace").strip()
    return f": {told}" if told else ""


class Webhook:
    """Posts each alert as JSON to an address."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds

    def tell(self, content: dict[str, Any]) -> None:
        """Post it; DeliveryError unless the answer is a success."""
        request = urllib.request.Request(  # noqa: S310 - http and https only, by the configuration
            self._url, json.dumps(content).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_seconds) as answer:  # noqa: S310
                answer.read(_TOLD_BYTES)
        except urllib.error.HTTPError as error:
            told = error.read(_TOLD_BYTES).decode(errors="replace").strip()
            raise DeliveryError(f"answered {error.code} {error.reason}{': ' if told else ''}{told}") from error
        except (OSError, ValueError) as error:  # URLError, timeouts, an answer that is no HTTP
            raise DeliveryError(str(getattr(error, "reason", error)) or type(error).__name__) from error
        except Exception as error:  # http.client's own
            raise DeliveryError(f"{type(error).__name__}: {error}") from error

    def kill(self) -> None:
        """A request cannot be ended from outside; it is left to its time limit."""
