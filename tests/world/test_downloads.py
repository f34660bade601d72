"""Download programs that write into the inbox under the final name, are killed in the middle, and go on later."""

import json
import shutil
import signal
import subprocess
import time

import pytest

from tests.e2e.daemon_process import command, wait_until
from tests.helpers.images import jpeg, photo
from tests.helpers.slow_web import slow_web

PICTURE = jpeg(photo(1600, 1200, seed=1), quality=98)
CLIENTS = {
    "aria2c": (["aria2c", "--quiet", "--continue", "--file-allocation=none"], ".aria2"),
    "aria2c that reserves": (["aria2c", "--quiet", "--continue", "--file-allocation=prealloc"], ".aria2"),
    "lftp": (["lftp", "-c"], ".lftp-pget-status"),
    "axel": (["axel", "--quiet", "--num-connections=2"], ".st"),
}


def _begin(client: str, address: str, folder) -> subprocess.Popen[bytes]:
    arguments, _ = CLIENTS[client]
    target = f"pget -c -n 2 {address}/x.jpg" if client == "lftp" else f"{address}/x.jpg"
    return subprocess.Popen([*arguments, target], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _left_behind(one) -> dict[str, str]:
    told = json.loads(command("status", "--config", one.config_file, "--format", "json").stdout)["daemon"]["failures"]
    return {failure["relative_path"]: failure["error"] for failure in told}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_download_that_was_cut_off_waits_for_its_end(ingest, client):
    """While the program's own file is beside it nothing is judged, others are; resumed, it is accepted whole."""
    arguments, ending = CLIENTS[client]
    if shutil.which(arguments[0]) is None:
        pytest.skip(f"{arguments[0]} is not installed")
    one = ingest()
    folder = one.inbox / "web"
    folder.mkdir()
    one.start()
    with slow_web(PICTURE) as web:
        cut_off = _begin(client, web.address, folder)
        wait_until(lambda: (folder / "x.jpg").exists() and (folder / f"x.jpg{ending}").exists(), "it begins")
        time.sleep(1.0)  # let it write what it was given
        cut_off.send_signal(signal.SIGKILL)
        cut_off.wait()
        one.put("other/1.jpg", jpeg(photo(seed=2)))
        one.wait_for_decisions(1)
        wait_until(lambda: _left_behind(one), "it is listed")
        assert _left_behind(one) == {"web/x.jpg": f"not complete: x.jpg{ending} is beside it"}
        web.go_on.set()
        assert _begin(client, web.address, folder).wait(60) == 0
    rows = {row["relative_path"]: row["verdict"] for row in one.wait_for_decisions(2)}
    assert rows == {"web/x.jpg": "accepted", "other/1.jpg": "accepted"}
    assert (one.accepted / "web/x.jpg").read_bytes() == PICTURE
    assert list(folder.iterdir()) == []


def test_wget_says_nothing_of_its_end(ingest):
    """Cut off, it leaves half a file and no sign of it: that is quarantined as corrupt, and the docs say so."""
    if shutil.which("wget") is None:
        pytest.skip("wget is not installed")
    one = ingest()
    one.start()
    with slow_web(PICTURE) as web:
        cut_off = subprocess.Popen(["wget", "-q", f"{web.address}/x.jpg"], cwd=one.inbox)
        wait_until(lambda: (one.inbox / "x.jpg").exists() and (one.inbox / "x.jpg").stat().st_size, "it begins")
        time.sleep(1.0)
        assert not one.decisions()  # it has the file open for writing
        cut_off.send_signal(signal.SIGKILL)
        cut_off.wait()
        assert [row["reason"] for row in one.wait_for_decisions(1)] == ["corrupt"]
