"""A decoder that was taken over can compute, answer and die; nothing else."""

import ctypes
import errno
import fcntl
import logging
import mmap
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality import measurement
from imageguard_daemon.sandbox import confinement
from imageguard_daemon.sandbox import decoder as decoders
from imageguard_daemon.sandbox.decoder import Decoder, DecoderLostError
from imageguard_daemon.sandbox.losses import Cause
from imageguard_daemon.sandbox.tasks.measure import measuring
from imageguard_daemon.sandbox.wire import sealed_copy
from tests.helpers import escapes
from tests.helpers.images import encoded, jpeg, photo, png

MEMORY_BYTES = 4 << 30
needs_both_layers = pytest.mark.skipif(bool(confinement.lacking()), reason=f"the kernel lacks {confinement.lacking()}")


def _in_decoder(work=measurement.measure_bytes, data=b"x", limits=Limits()):  # noqa: B008 - it is frozen
    decoder = Decoder(MEMORY_BYTES, measuring(work))
    contents = sealed_copy(data)
    try:
        return decoder.ask(contents, limits)
    finally:
        os.close(contents)
        decoder.close()


@needs_both_layers
def test_every_attempt_to_escape_is_denied(tmp_path, monkeypatch):
    """Opening, listing, connecting, executing, forking, signalling, tracing and more fail inside a real decoder."""
    monkeypatch.chdir(tmp_path)
    assert _in_decoder(escapes.attempt_all).detail == "all denied"
    assert os.listdir(tmp_path) == []


def test_the_attempts_would_succeed_elsewhere(tmp_path):
    """The test of the test: outside of a decoder the same attempts go through."""
    code = (
        "from tests.helpers.escapes import ATTEMPTS\n"
        "for name in ('open a file for writing', 'open a file elsewhere for reading', 'list a folder', "
        "'make a socket', 'make a local socket', 'write and execute memory'):\n    ATTEMPTS[name]()\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[3]}"}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert os.listdir(tmp_path) == ["escaped"]


def test_landlock_alone_denies_every_file(tmp_path, monkeypatch):
    """With the filter of system calls and the limits off, no file is opened, made or listed: this layer holds."""
    if confinement._landlock_version() <= 0:
        pytest.skip("the kernel has no Landlock")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(confinement, "_filter_known", lambda: False)
    monkeypatch.setattr(confinement, "_limit", lambda _memory, **_named: None)
    files = ("open a file for writing", "open a file elsewhere for reading", "open with openat2", "list a folder")
    assert _in_decoder(escapes.attempting(*files)).detail == "all denied"
    assert os.listdir(tmp_path) == []


def test_the_filter_alone_denies_every_call_that_is_not_needed(tmp_path, monkeypatch):
    """With Landlock and the limits off, nothing is opened, connected, executed or forked: this layer holds."""
    if not confinement._filter_known():
        pytest.skip("there is no filter for this machine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(confinement, "_landlock_version", lambda: 0)
    monkeypatch.setattr(confinement, "_limit", lambda _memory, **_named: None)
    unsafe = {"exhaust the memory", "raise its limits", "write and execute memory", "hold many files open"}
    safe = [name for name in escapes.ATTEMPTS if name not in unsafe and "kill" not in name]
    assert _in_decoder(escapes.attempting(*safe)).detail == "all denied"
    assert os.listdir(tmp_path) == []


def test_the_limits_alone_hold(monkeypatch):
    """With both other layers off, a decoder still cannot hold more than a few files open."""
    monkeypatch.setattr(confinement, "_landlock_version", lambda: 0)
    monkeypatch.setattr(confinement, "_filter_known", lambda: False)
    assert _in_decoder(escapes.attempting("hold many files open")).detail == "all denied"


def test_the_copy_a_decoder_gets_is_sealed():
    """Whoever holds it can neither write to it, nor map it for writing, nor change its length, nor take the seals."""
    contents = sealed_copy(b"image")
    attempts = {
        "write": lambda: os.pwrite(contents, b"I", 0),
        "shrink": lambda: os.ftruncate(contents, 1),
        "grow": lambda: os.ftruncate(contents, 10),
        "map": lambda: mmap.mmap(contents, 5),
        "seal": lambda: fcntl.fcntl(contents, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE),
    }
    for attempt in attempts.values():
        with pytest.raises(PermissionError):
            attempt()
    assert os.pread(contents, 10, 0) == b"image"
    os.close(contents)


def test_a_decoder_holds_no_file_that_it_could_write():
    """What it is given is a sealed copy, and it has nothing else open."""
    assert _in_decoder(escapes.change_the_image).detail == "wrote to []"


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (escapes.burn, "took more than 1 s of processor time"),
        (escapes.fault, "ended its decoder with code -11"),
        (escapes.abort, "ended its decoder with code -6"),
        (escapes.say_nonsense, "gave an invalid answer"),
        (escapes.claim_too_much, "gave an invalid answer"),
        (escapes.hang_up, "stopped answering"),
    ],
)
def test_a_decoder_that_ends_or_lies_is_ended_and_told_of(work, words, caplog):
    """Using up its time, crashing, hanging up or answering nonsense is told in words; nothing is unpickled."""
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(DecoderLostError, match=words):
        _in_decoder(work, limits=Limits(cpu_seconds=1))


def test_a_decoder_that_is_killed_is_not_the_images_fault():
    """A kernel short of memory, or a person, has ended it."""
    with pytest.raises(DecoderLostError) as told:
        _in_decoder(escapes.be_killed)
    assert told.value.loss.cause is Cause.killed


def test_a_decoder_that_hangs_is_ended_in_time():
    """It is waited for no longer than it is told, and does not run on."""
    decoder = Decoder(MEMORY_BYTES, measuring(escapes.sleep))
    with pytest.raises(DecoderLostError, match=r"took longer than 0\.1 s"):
        decoder.ask(sealed_copy(b"x"), Limits(), seconds=0.1)
    with pytest.raises(ProcessLookupError):
        os.kill(decoder.pid, 0)


def test_a_decoder_that_gets_no_processor_is_not_the_images_fault(monkeypatch):
    """On a machine with too much to do an image is not called too large for it."""
    monkeypatch.setattr(decoders, "_STARVED_SHARE", 0.5)
    decoder = Decoder(MEMORY_BYTES, measuring(escapes.burn))
    others = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        processor = {min(os.sched_getaffinity(0))}
        for process in (others.pid, decoder.pid):
            os.sched_setaffinity(process, processor)
        os.sched_setscheduler(decoder.pid, os.SCHED_IDLE, os.sched_param(0))
        with pytest.raises(DecoderLostError, match="nearly all of it waiting for a processor") as told:
            decoder.ask(sealed_copy(b"x"), Limits(), seconds=1.0)
    finally:
        others.kill()
        others.wait()
    assert told.value.loss.cause is Cause.starved


def test_what_a_decoder_logs_cannot_steer_a_terminal(caplog):
    """Log lines of decoders are escaped, line by line."""
    assert _in_decoder(escapes.log_escapes).detail == "logged"
    assert all(message.isprintable() for message in caplog.messages)
    assert "\\u001b]0;owned" in caplog.messages[0]


SAMPLES = {
    "jpeg": jpeg(photo(200, 150)),
    "progressive": jpeg(photo(200, 150), progressive=True),
    "png": png(photo(200, 150)),
    **{
        name: encoded(measurement.Image.fromarray(photo(200, 150)), name)
        for name in ("WEBP", "TIFF", "GIF", "BMP", "AVIF")
    },
    "jpeg in tiff": encoded(measurement.Image.fromarray(photo(200, 150)), "TIFF", compression="jpeg"),
    "deflate in tiff": encoded(measurement.Image.fromarray(photo(200, 150)), "TIFF", compression="tiff_adobe_deflate"),
    "cmyk": encoded(measurement.Image.fromarray(photo(200, 150)).convert("CMYK"), "JPEG"),
    "palette": encoded(measurement.Image.fromarray(photo(200, 150)).convert("P"), "PNG"),
    "broken": b"\xff\xd8 broken",
}


def test_nothing_that_decoding_needs_is_locked_away():
    """Every format is measured by a confined decoder as by the library, whatever was not loaded before."""
    program = (
        "import sys\nfrom dataclasses import replace\n"
        "from imageguard_daemon.quality.measurement import prepare_worker, measure_bytes\n"
        "prepare_worker()\n"
        "from tests.unit.sandbox.test_confinement import SAMPLES, _in_decoder, Limits\n"
        "for name, data in SAMPLES.items():\n"
        "    free, confined = measure_bytes(data, Limits()), _in_decoder(data=data)\n"
        "    same = replace(free, sha256='', duration_ms=0) == replace(confined, sha256='', duration_ms=0)\n"
        "    print(name, same, free.issue)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[3]}", "OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, timeout=100, capture_output=True, text=True
    )
    expected = [f"{name} True {'corrupt' if name == 'broken' else ''}".rstrip() for name in SAMPLES]
    assert [line.rstrip() for line in told.stdout.splitlines()] == expected, told.stderr


def test_a_decoder_ends_with_its_worker(tmp_path):
    """When a worker is killed, as for taking too long, the decoder that hangs in it goes too."""
    program = (
        "from imageguard_daemon.sandbox.decoder import Decoder\n"
        "from imageguard_daemon.sandbox.tasks.measure import measuring\n"
        "from imageguard_daemon.sandbox.wire import sealed_copy\n"
        "from imageguard_daemon.quality.decode.decoder import Limits\nfrom tests.helpers import escapes\n"
        "decoder = Decoder(4 << 30, measuring(escapes.burn))\nprint(decoder.pid, flush=True)\n"
        "decoder.ask(sealed_copy(b'x'), Limits())\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[3]}"}
    worker = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)
    decoder = int(worker.stdout.readline())
    ended = os.pidfd_open(decoder)
    worker.kill()
    worker.wait(60)
    worker.stdout.close()
    assert select.select([ended], [], [], 20)[0], "it runs on"
    os.close(ended)


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSYS, "needs Linux 5.13"), (errno.EPERM, "refused")])
def test_who_lacks_landlock_is_told_why(monkeypatch, number, words):
    """An old kernel is told from a runtime that refuses it: each has another cure."""

    def refused() -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(confinement, "_landlock_version", refused)
    assert words in confinement.lacking()[0]
