"""The pages behind a proxy with TLS, by the command and with what such a proxy sends."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from imageguard_daemon.web.tokens import TOKEN_FILE, add
from tests.e2e.daemon_process import wait_until
from tests.helpers.rejections import Rejections


@contextmanager
def _served(folder: Path, proxies: list[str]) -> Iterator[tuple[httpx.Client, str]]:
    made = Rejections(folder / "root")
    made.close()
    token = add(made.settings.state_folder / TOKEN_FILE, "carla")
    config = folder / "config.yaml"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    web = {"port": port, "allow_hosts": ["images.example"], "trusted_proxies": proxies}
    config.write_text(yaml.safe_dump({"root": str(folder / "root"), "web": web}))
    process = subprocess.Popen([sys.executable, "-m", "imageguard_daemon", "web", "--config", str(config)])
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Host": "images.example"}) as client:
            wait_until(lambda: _is_there(client), "the pages")
            yield client, token
    finally:
        process.terminate()
        process.wait(60)


def _is_there(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _login(client: httpx.Client, token: str, address: str) -> httpx.Response:
    sent = {"X-Forwarded-For": address, "X-Forwarded-Proto": "https", "Origin": "https://images.example"}
    return client.post("/login", data={"token": token}, headers=sent)


@pytest.mark.parametrize("proxies", [["127.0.0.1"], ["127.0.0.0/8", "10.0.0.7"]])
def test_what_a_trusted_proxy_says_of_its_client_counts(tmp_path: Path, proxies: list[str]) -> None:
    """The cookie goes over TLS only, and one who guesses tokens keeps nobody else out."""
    with _served(tmp_path, proxies) as (client, token):
        guesses = [_login(client, "wrong", "192.0.2.1").status_code for _ in range(12)]
        assert guesses[0] == 403
        assert guesses[-1] == 429
        answer = _login(client, token, "192.0.2.2")
    assert answer.status_code == 303
    assert {"Secure", "HttpOnly"} <= {part.strip() for part in answer.headers["set-cookie"].split(";")}


def test_what_anybody_else_says_of_its_client_does_not(tmp_path: Path) -> None:
    """Who guesses tokens cannot do so under another address for each guess."""
    with _served(tmp_path, ["192.0.2.9"]) as (client, _token):
        guesses = [_login(client, "wrong", f"198.51.100.{number}").status_code for number in range(12)]
    assert guesses[0] == 403
    assert guesses[-1] == 429
