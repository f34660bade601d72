"""The real daemon with hostile surroundings: kernels that lack protection, no network, bombs, mutants."""

import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from imageguard_daemon.core.names import printable
from tests.e2e import daemon_process
from tests.e2e.daemon_process import COMMAND, command, wait_until
from tests.helpers.bombs import bombs
from tests.helpers.children import children
from tests.helpers.corpus import WHY_SKIPPED, corpus
from tests.helpers.images import jpeg, photo
from tests.helpers.poisoned import POISONS

SPAWNED = True

GOOD = jpeg(photo(200, 150))
ROOT = Path(__file__).resolve().parents[2]


def test_without_landlock_it_warns_and_works_on(ingest):
    """A kernel that lacks Landlock is told at the start and by `status`, and images are judged all the same."""
    one = ingest()
    one.put("cat/good.jpg", GOOD)
    wrapped = [sys.executable, "-m", "tests.helpers.without_landlock", *COMMAND, "run", "--config", one.config_file]
    with one.log_file.open("ab") as log:
        one.process = subprocess.Popen(wrapped, stderr=log, stdout=log, cwd=ROOT)
    assert [row["reason"] for row in one.wait_for_decisions(1)] == ["low_resolution"]
    assert "Landlock" in one.events("image decoders are not fully confined")[0]["lacking"]
    wait_until(lambda: "image decoders lack Landlock" in command("status", "--config", one.config_file).stdout, "told")
    assert one.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make a network namespace")
def test_it_needs_no_network(ingest):
    """In a network namespace without any interface it starts, judges and stops as ever."""
    one = ingest()
    one.put("cat/good.jpg", GOOD)
    wrapped = ["unshare", "--net", *COMMAND, "run", "--config", str(one.config_file), "--once"]
    assert subprocess.run(wrapped, capture_output=True, timeout=60, check=False).returncode == 0
    assert len(one.decisions()) == 1
    one.check_books()


def test_sparse_files_hold_up_nobody(ingest):
    """Sixty files that claim 8 TB each cost nothing: all good ones are filed, and `status` says what the sixty are."""
    one = ingest(spawned=False)
    for number in range(60):
        with (one.inbox / f"huge{number}.jpg").open("wb") as file:
            try:
                file.truncate(8 << 40)
            except OSError as error:
                pytest.skip(f"no such files here: {error.strerror}")
        one.put(f"cat/{number}.jpg", GOOD + b"%d" % number)
    assert one.start("--once").wait(120) == os.EX_TEMPFAIL
    assert len(one.decisions()) == 60
    assert not one.events("source paused")
    told = json.loads(command("status", "--config", one.config_file, "--format", "json").stdout)["daemon"]["failures"]
    assert len(told) == 60
    size = "too_large: the file has 8796093 MB (limit 537 MB), of which 0 MB are on the disk"
    assert {failure["error"] for failure in told} == {f"{size}; it is not read, and stays here"}


def test_bombs_of_each_format_are_too_large_in_milliseconds(ingest):
    """A header that claims billions of pixels is `too_large` with the size it claims, before anything is decoded."""
    one = ingest()
    for name, data in bombs().items():
        for number in range(3):  # a busy machine may let one of them wait
            one.put(f"bombs/{number}.{name}", data + b"%d" % number)
    assert one.start("--once").wait(60) == 0
    rows = one.decisions()
    assert {row["reason"] for row in rows} == {"too_large"}
    claims = {name: "16383 x 16383 = 268" if name == "webp" else "60000 x 60000 = 3600" for name in bombs()}
    for name, claim in claims.items():
        of_format = [row for row in rows if row["relative_path"].endswith(f".{name}")]
        assert [f"{claim} megapixels" in row["detail"] for row in of_format] == [True] * 3
        assert min(row["duration_ms"] for row in of_format) < 100
    one.check_books()


def test_a_decoder_taken_over_costs_only_its_file(ingest, monkeypatch):
    """Files that crash, hang, end or take over their decoder are rejected with what happened, good ones accepted."""
    one = ingest(scoring={"workers": 2, "timeout_seconds": 1.0})
    monkeypatch.setattr(daemon_process, "COMMAND", [sys.executable, "-m", "tests.helpers.poisoned"])
    one.start()
    good = jpeg(photo(640, 480), 95)
    one.put("cat/first.jpg", good)
    one.wait_for_decisions(1)
    before = len(os.listdir(f"/proc/{one.process.pid}/fd"))
    for poison in POISONS:
        one.put(f"evil/{poison.decode()}.jpg", good + poison)
    one.put("cat/last.jpg", good)
    rows = {row["relative_path"]: row for row in one.wait_for_decisions(len(POISONS) + 2)}
    told = {
        "crash": ("corrupt", "code -11"),
        "hang": ("too_large", "longer than 1 s"),
        "spin": ("too_large", "1 s"),
        "leave": ("corrupt", "code 3"),
    }
    for name, (reason, words) in told.items():
        row = rows[f"evil/poison:{name}.jpg"]
        assert (row["reason"], row["detail"].count(words)) == (reason, 2), row["detail"]
    assert rows["evil/poison:rave.jpg"]["detail"].startswith("tried twice")
    assert rows["cat/first.jpg"]["verdict"] == rows["cat/last.jpg"]["verdict"] == "accepted"
    wait_until(lambda: _zombies_of(one.process.pid) == 0, "nothing dead is left")
    assert len(os.listdir(f"/proc/{one.process.pid}/fd")) <= before
    assert one.stop() == 0
    assert "\x1b" not in one.log_file.read_text()
    one.check_books()


def _zombies_of(pid: int) -> int:
    return sum(_is_zombie(child) for child in children(pid))


def _is_zombie(pid: int) -> bool:
    try:
        return "(zombie)" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it is waited for meanwhile
        return False


def _special_files(folder: Path, outside: Path) -> list[str]:
    """Put everything into a folder that is called like an image and is none."""
    (outside / "secret.jpg").write_bytes(GOOD)
    (folder / "to_file.jpg").symlink_to(outside / "secret.jpg")
    (folder / "to_folder.jpg").symlink_to(outside)
    (folder / "to_nothing.jpg").symlink_to("nothing")
    (folder / "to_itself.jpg").symlink_to("to_itself.jpg")
    (folder / "up").symlink_to("../..")
    os.mkfifo(folder / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket.jpg"))
    if os.geteuid() == 0:
        os.mknod(folder / "zero.jpg", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        os.mknod(folder / "disk.jpg", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    return sorted(os.listdir(folder))


def test_what_only_looks_like_an_image_stays_and_is_told(ingest, tmp_path):
    """Links, pipes, sockets and devices are never opened, stay where they are, and `status` names each."""
    one = ingest(spawned=False)
    outside = tmp_path / "outside"
    outside.mkdir()
    (one.inbox / "odd").mkdir()
    special = _special_files(one.inbox / "odd", outside)
    one.put("odd/good.jpg", GOOD)
    one.start()
    one.wait_for_decisions(1)
    for name in special:
        os.utime(one.inbox / "odd" / name, follow_symlinks=False)  # an event for each, besides the walk
    one.put("odd/later.jpg", GOOD)
    one.wait_for_decisions(2)
    assert one.stop() == 0
    assert sorted(os.listdir(one.inbox / "odd")) == special
    assert [path.name for path in outside.iterdir()] == ["secret.jpg"]
    found = json.loads(command("status", "--config", one.config_file, "--format", "json").stdout)
    assert sum(found["inboxes"]["default"]["left"].values()) == len(special)
    one.check_books()


def test_a_name_of_a_strangers_file_is_filed_as_a_copy(ingest, tmp_path):
    """A hard link to a file elsewhere gives its bytes a place in accepted; what can still be written stays outside."""
    one = ingest(spawned=False)
    foreign = tmp_path / "foreign.jpg"
    foreign.write_bytes(jpeg(photo(640, 480), 95))
    (one.inbox / "cat").mkdir()
    os.link(foreign, one.inbox / "cat" / "linked.jpg")
    assert one.start("--once").wait(60) == 0
    assert (one.accepted / "cat" / "linked.jpg").stat().st_ino != foreign.stat().st_ino
    assert (foreign.stat().st_nlink, (one.accepted / "cat" / "linked.jpg").read_bytes()) == (1, foreign.read_bytes())
    one.check_books()


NAMES = {
    "twins in case": ("Photo.jpg", "photo.jpg", "PHOTO.JPG"),
    "twins in Unicode form": ("caf\u00e9.jpg", "cafe\u0301.jpg"),
    "twins to the eye": ("paypal.jpg", "p\u0430ypal.jpg", "paypal\u200b.jpg", "gpj.\u202etxt.jpg"),
    "no room left": ("x" * 251 + ".jpg", "x" * 250 + "y.jpg", "\U0001f600" * 62 + ".jpg"),
    "dots": ("a..jpg", "..a/..b.jpg", "a/.. /c.jpg", "%2e%2e%2fd.jpg"),
    "shell and options": ("-rf.jpg", "$(reboot).jpg", "`id`;&|.jpg", "* ?.jpg", "con.jpg", "a:b.jpg", "~.jpg"),
}


def test_confusing_names_are_kept_apart_and_kept(ingest):
    """Each file keeps its very name and its own record, also when its place at the destination is taken already."""
    one = ingest(spawned=False, intake={"ignore": []})
    names = [f"{number}/{name}" for number, names in enumerate(NAMES.values()) for name in names]
    for again in (b"first", b"second"):
        for number, name in enumerate(names):
            (one.inbox / name).parent.mkdir(parents=True, exist_ok=True)
            (one.inbox / name).write_bytes(GOOD + again + bytes([number]))
        assert one.start("--once").wait(60) == 0
    rows = {row["sha256"]: row for row in one.decisions()}
    filed = {hashes: str(path.relative_to(one.root)) for hashes, (path,) in one.contents().items()}
    assert {hashes: row["destination"] for hashes, row in rows.items()} == {
        hashes: printable(path) for hashes, path in filed.items()
    }
    assert len(rows) == 2 * len(names)
    assert {f"quarantine/{name}" for name in names} <= set(filed.values())
    assert all(row["relative_path"].isprintable() for row in rows.values())
    assert command("verify", "--config", one.config_file).returncode == 0


def test_mutants_crash_nothing(tmp_path):
    """Seeded mutants of good files of six formats: no crash, no hang, every file accounted for."""
    result = subprocess.run(
        [sys.executable, "-m", "bench.mutants", "--count", "120", "--json", tmp_path / "figures.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["mutants"], figures["filed"], figures["mishaps"]) == (120, 120, 0)
    assert figures["good_rejected"] == 0


def test_a_suffix_that_lies_is_noted_and_decides_nothing(ingest):
    """A good JPEG called .png is accepted as what it is, and its record says so; honest names get no such note."""
    one = ingest(spawned=False)
    good = jpeg(photo(640, 480), 95)
    one.put("cat/liar.png", good)
    one.put("cat/honest.JPEG", good)
    assert one.start("--once").wait(60) == 0
    details = {row["relative_path"]: (row["verdict"], row["detail"]) for row in one.decisions()}
    assert details["cat/liar.png"] == ("accepted", "named .png, but is JPEG")
    assert details["cat/honest.JPEG"] == ("accepted", "")


CORPUS = corpus("hostile")


@pytest.mark.skipif(not CORPUS.is_dir(), reason=WHY_SKIPPED)
def test_the_corpus_of_hostile_files_harms_nothing(ingest):
    """Files that broke decoders elsewhere are each decided; no worker is lost, and a good file beside them accepted."""
    one = ingest()
    files = [path for path in sorted(CORPUS.rglob("*")) if path.is_file()]
    for number, path in enumerate(files):
        one.put(f"hostile/{number}{path.suffix if path.suffix != '.pdf' else '.jpg'}", path.read_bytes())
    one.put("cat/good.jpg", jpeg(photo(640, 480), 95))
    assert one.start("--once").wait(150) == 0
    status = json.loads((one.root / ".imageguard" / "status.json").read_text())
    assert status["worker_mishaps"] == 0
    left = [path for path in one.inbox.rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert len(one.decisions()) + len(left) == len(files) + 1
    assert len(one.decisions()) > len(files) // 2
    assert [row["verdict"] for row in one.decisions() if row["relative_path"] == "cat/good.jpg"] == ["accepted"]
    one.check_books()
