"""What README.md and docs/ show is run as it is shown, in a folder made for it.

tests/helpers/documented.py has what is tried otherwise, or not at all, each with its reason.
"""

import configparser
import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest
import typer
from pyarrow import parquet

from imageguard_daemon.cli.app import app
from imageguard_daemon.config_file import parse
from tests.helpers import documented, images
from tests.helpers.documents import ROOT, Block, Shown, blocks, commands, documents, has_shape_of, prose
from tests.helpers.playground import Playground
from tests.helpers.quick_commands import Done, Launcher

BLOCKS = [block for path in documents() for block in blocks(path)]
COMMANDS = [command for block in BLOCKS for command in commands(block)]
WITH_COMMANDS = sorted({command.block.document for command in COMMANDS})
PROGRAM = typer.main.get_command(app)
WIDE = os.environ | {"COLUMNS": "200"}
PYTHON = [block for block in BLOCKS if block.language == "python"]


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    """Give the process that commands are forked from."""
    with Launcher() as started:
        yield started


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    """Give a few small pictures."""
    return [images.jpeg(images.photo(320, 240, seed)) for seed in range(4)]


@pytest.fixture(scope="module")
def webhook() -> Iterator[str]:
    """Give the address of a server that takes whatever is posted."""

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Taking)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    thread.join()
    server.server_close()


@functools.cache
def _large_photo() -> bytes:
    """Give a photo that is good enough for every preset."""
    return images.jpeg(images.photo(1600, 1200))


def playground(folder: Path, document: str, pictures: list[bytes], webhook: str = "") -> Playground:
    """Give a folder with all that the commands of a document take for granted."""
    made = Playground(folder, documented.lots_for(document), pictures)
    alerts = {"command": ["/bin/cat"]} | ({"webhook": webhook} if webhook else {})
    made.configure("etc/config.yaml", sources=[{"thresholds": {"blur_score": 0, "noise_score": 5}}], alerts=alerts)
    made.configure("next.yaml", sources=[{"thresholds": {"blur_score": 60}}])
    made.put("photo.jpg", "data/train/cat/1.jpg", *(f"dataset/cat/{n}.jpg" for n in range(12)))
    (folder / "data/train/cat/1.jpg").write_bytes(_large_photo())
    made.put("cat/012.jpg", *(f"dataset/dog/{n}.jpg" for n in range(12)), blur=8.0)
    (folder / "dataset/dog/11.jpg").write_bytes(pictures[0][:2000])
    made.put(*(f"good/{n}.jpg" for n in range(12)), "bad/1.jpg")
    made.put("good/12.jpg", blur=1.4)
    made.put("bad/2.jpg", "bad/3.jpg", blur=8.0)
    listed = [str(path) for path in sorted(folder.glob("dataset/*/*.jpg"))]
    parquet.write_table(pa.table({"path": listed}), folder / "list.parquet")
    for name in (".cache", "backup"):
        (folder / name).mkdir()
    (folder / "samples.jsonl").touch()
    return made


@pytest.mark.parametrize("document", WITH_COMMANDS)
def test_every_command_shown_works(document, tmp_path, launcher, pictures, webhook):
    """Who types what a document shows gets no error, and sees what the document shows."""
    ground = playground(tmp_path, document, pictures, webhook)
    for command in (one for one in COMMANDS if one.block.document == document):
        if documented.why_not_run(command.text):
            continue
        if documented.only_asked_for_help(command.text):
            _ask_for_help(launcher, command, tmp_path)
        else:
            _run_as_shown(launcher, command, ground)


def _run_as_shown(launcher: Launcher, command: Shown, ground: Playground) -> None:
    if command.text in documented.BEFORE:
        assert _run(launcher, documented.BEFORE[command.text], ground).exit_code == 0
    done = _run(launcher, command.text, ground)
    outputs = [ground.shown(one) for one in (done.stdout + done.stderr, done.stderr + done.stdout, done.stderr)]
    told = f"{command.block.place}: {command.text}\n{outputs[0]}"
    assert done.exit_code == documented.EXIT_CODES.get(command.text, 0), told
    if command.output is not None:
        alike = any(has_shape_of(one, command.output) for one in outputs)
        assert alike, f"{told}\nbut the document shows\n{command.output}"


def _run(launcher: Launcher, text: str, ground: Playground) -> Done:
    real = ground.real(text)
    if text in documented.UNTIL_STOPPED:
        words = shlex.split(real)
        arguments = words[words.index("web") :] + _free_port() if "web" in words else words[words.index("run") :]
        until = documented.UNTIL_STOPPED[text]
        return launcher.run("imageguard_daemon", arguments, ground.folder, until, WIDE)
    words = shlex.split(real)
    if words[0] == "imageguard-daemon" and not re.search(r"[|&><*$]", real):
        return launcher.run("imageguard_daemon", words[1:], ground.folder, environment=WIDE)
    if words[0] in {"imageguard-daemon", "sqlite3", "mkdir", "for"}:
        return _in_a_shell(real, ground.folder)
    raise AssertionError(f"nobody has said how to try this: {text}")


def _free_port() -> list[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return ["--port", str(probe.getsockname()[1])]


def _in_a_shell(script: str, folder: Path) -> Done:
    if script.startswith("sqlite3") and not shutil.which("sqlite3"):
        pytest.skip("sqlite3 is not installed")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=WIDE | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Done(ended.returncode, ended.stdout, ended.stderr)


def _ask_for_help(launcher: Launcher, command: Shown, folder: Path) -> None:
    words = shlex.split(command.text.split(" | ")[0])
    done = launcher.run(words[words.index("-m") + 1], ["--help"], folder, environment=WIDE)
    assert done.exit_code == 0, f"{command.block.place}: {command.text}\n{done.stderr}"
    for word in re.findall(r"(?<= )--?[a-z][a-z-]*(?= |$)", command.text.split("-m ", 1)[1]):
        assert word in done.stdout, f"{command.block.place}: {word} is unknown to {command.text}"


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.place)
def test_every_program_shown_works(block, tmp_path, launcher, pictures):
    """Python in a document runs as it stands, as far as its libraries are installed."""
    compile(block.text, block.place, "exec")
    missing = [name for name in documented.NOT_INSTALLED if re.search(rf"\b(?:py)?{name}\b", block.text)]
    if any(importlib.util.find_spec(name) is None for name in missing):
        pytest.skip(f"{missing[0]} is not installed: {documented.NOT_INSTALLED[missing[0]]}")
    ground = playground(tmp_path, block.document, pictures)
    program = tmp_path / "program.py"
    prelude = documented.PRELUDES.get(block.document, "")
    program.write_text(ground.real(f"{prelude}\n{block.text}"), encoding="utf-8")
    done = launcher.run(str(program), [], tmp_path)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("block", [one for one in BLOCKS if not commands(one)], ids=lambda block: block.place)
def test_every_other_block_is_read_by_somebody(block):
    """A configuration is valid, JSON and INI can be parsed, and of all else it is said who tries it."""
    known = [key for key in documented.OTHER_BLOCKS if key[0] == block.document and block.text.startswith(key[1])]
    if known or block.language == "python":
        return
    match block.language:
        case "yaml":
            parse(block.text)
        case "json":
            json.loads(block.text)
        case "ini":
            configparser.ConfigParser(strict=False).read_string(block.text)
        case language:
            pytest.fail(f"{block.place}: nobody has said how to try this block of {language or 'no language'}")


def test_no_exception_outlives_its_command():
    """Each line of the tables is about something that a document still shows."""
    texts = [command.text for command in COMMANDS]
    for beginning in (*documented.NOT_RUN, *documented.EXIT_CODES, *documented.UNTIL_STOPPED, *documented.BEFORE):
        assert any(text.startswith(beginning) for text in texts), beginning
    for document, beginning in documented.OTHER_BLOCKS:
        assert any(one.document == document and one.text.startswith(beginning) for one in BLOCKS), beginning


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_every_option_in_the_text_exists(path):
    """A command that is named in a sentence exists, and has the options that are named with it."""
    for span in re.findall(r"`([^`\n]+)`", prose(path)):
        words = span.removeprefix("imageguard-daemon ").split()
        command = _command(words)
        if command is None:
            continue
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span):
            assert word in known, f"{path.relative_to(ROOT)}: `{span}`"


def _command(words: list[str]) -> Any | None:
    command = PROGRAM
    while words and isinstance(getattr(command, "commands", None), dict):
        if words[0] not in command.commands:
            return None
        command = command.commands[words.pop(0)]
    return command


def test_an_output_that_differs_is_noticed():
    """Numbers, hashes and what dots stand for may differ; a word may not."""
    shown = "13 accepted, 13 quarantined\nhead 7db2e984950b...\n..."
    assert has_shape_of("5 accepted,  1,204 quarantined\nhead 00f3a1b2c3d4\nmore", shown)
    assert not has_shape_of("5 accepted, 1,204 rejected\nhead 00f3a1b2c3d4\nmore", shown)
    assert not has_shape_of("5 accepted", shown)


def test_commands_are_taken_out_of_a_block():
    """A script is its lines without remarks; a session is what stands behind `$`, with its output."""
    script = Block("x.md", 1, "sh", "# a remark\na --b   # why\nc \\\n  d\n")
    assert [one.text for one in commands(script)] == ["a --b", "c d"]
    session = Block("x.md", 1, "console", "$ a\nout\nput\n$ b\n")
    assert [(one.text, one.output) for one in commands(session)] == [("a", "out\nput"), ("b", None)]
