"""Programs that fetch or copy into the inbox, as people use them: killed in the middle, or sending all again."""

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


def test_a_nightly_rsync_that_removes_nothing_is_filed_once(ingest, tmp_path):
    """With `duplicates: skip` the second night's copies stay and are counted; the third night sends nothing."""
    if shutil.which("rsync") is None:
        pytest.skip("rsync is not installed")
    one = ingest(intake={"duplicates": "skip"})
    source = tmp_path / "camera"
    (source / "cat").mkdir(parents=True)
    for number in range(3):
        (source / f"cat/{number}.jpg").write_bytes(jpeg(photo(seed=number)))
    for night in range(3):
        sent = subprocess.run(["rsync", "-ai", f"{source}/", one.inbox], capture_output=True, text=True, check=True)
        assert sent.stdout.count(".jpg") == (0 if night == 2 else 3)
        assert one.start("--once").wait(60) == 0
        assert len(one.decisions()) == 3
    told = json.loads(command("status", "--config", one.config_file, "--format", "json").stdout)["daemon"]
    assert [part["skipped"] for part in told["sources"]] == [3]
    assert sorted(path.name for path in (one.inbox / "cat").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    skipped = one.events("skipped, filed before")  # by the second start and the third
    assert sorted(event["filed_as"] for event in skipped) == sorted(f"accepted/cat/{n}.jpg" for n in (0, 0, 1, 1, 2, 2))
    (source / "cat/0.jpg").write_bytes(jpeg(photo(seed=10)))
    subprocess.run(["rsync", "-a", f"{source}/", one.inbox], check=True)
    assert one.start("--once").wait(60) == 0
    assert len(one.decisions()) == 4
