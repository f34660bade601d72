"""The library in somebody else's program: nothing of it is changed, and nothing in it changes a verdict."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.images import encoded, jpeg, photo, png

RGB = photo(320, 240)
PICTURE = Image.fromarray(RGB)

SNAPSHOT = """
import ctypes, json, logging, os, random, signal, sys, threading, warnings
import cv2, numpy, simplejpeg
import PIL.Image, PIL.ImageFile, PIL.AvifImagePlugin, PIL.TiffImagePlugin
libtiff = ctypes.CDLL(PIL.Image.core.__file__)
libtiff.TIFFSetErrorHandler.restype = ctypes.c_void_p
libtiff.TIFFSetErrorHandler.argtypes = [ctypes.c_void_p]
PIL.Image.init()

def libtiffs_handler():
    handler = libtiff.TIFFSetErrorHandler(None)
    libtiff.TIFFSetErrorHandler(handler)
    return handler

def pillows():
    return {
        f"{name}.{key}": repr(value)
        for name, module in list(sys.modules.items())
        if name == "PIL" or name.startswith("PIL.")
        for key, value in vars(module).items()
        if key.isupper() or callable(value) or key in {"warnings", "logger"}
    }

def snapshot():
    return {
        "environment": dict(os.environ),
        "filters": [repr(one) for one in warnings.filters],
        "warnings": [repr(warnings.showwarning), repr(warnings.catch_warnings)],
        "random": hash(random.getstate()),
        "numpy": [repr(numpy.geterr()), hash(numpy.random.get_state()[1].tobytes())],
        "signals": [repr(signal.getsignal(one)) for one in signal.valid_signals()],
        "cv2": [cv2.getNumThreads(), getattr(cv2.utils, "logging", cv2).getLogLevel(), cv2.ocl.useOpenCL()],
        "pillow": pillows(),
        "libtiff": libtiffs_handler(),
        "threads": sorted(one.name for one in threading.enumerate()),
        "logging": [logging.root.level, repr(logging.root.handlers), logging.getLogger("PIL").level],
        "children": open(f"/proc/self/task/{os.getpid()}/children").read(),
        "folder": os.getcwd(),
        "umask": [os.umask(0o22), os.umask(0o22)][1],
        "open": len(os.listdir("/proc/self/fd")),
        "streams": [id(sys.stdout), id(sys.stderr), os.fstat(1).st_ino, os.fstat(2).st_ino],
    }

def compare(what, before):
    now = snapshot()
    for key in before:
        if key == "pillow":
            differing = {name for name in before[key] if before[key][name] != now[key].get(name)}
            assert not differing, (what, differing)
        else:
            assert before[key] == now[key], (what, key, before[key], now[key])
"""


def _files(tmp_path: Path) -> list[Path]:
    """Give images of all kinds, whole, cut off and with flipped bytes."""
    deep = Image.fromarray(RGB[:, :, 0].astype(np.uint16) * 257)
    palette = PICTURE.convert("P")
    palette.info["transparency"] = bytes(range(256))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    made = {
        "a.jpg": jpeg(RGB, exif=exif.tobytes()[:-9]),
        "a.png": png(RGB),
        "p.png": encoded(palette, "PNG"),
        "d.png": encoded(deep, "PNG"),
        "a.gif": encoded(PICTURE.convert("P"), "GIF"),
        "a.bmp": encoded(PICTURE, "BMP"),
        "a.webp": encoded(PICTURE, "WEBP", exif=exif.tobytes()[:-9]),
        "a.tif": encoded(PICTURE, "TIFF"),
        "z.tif": encoded(PICTURE, "TIFF", compression="tiff_adobe_deflate"),
        "l.tif": encoded(PICTURE, "TIFF", compression="tiff_lzw"),
        "g.tif": encoded(PICTURE.convert("1"), "TIFF", compression="group4"),
        "d.tif": encoded(deep, "TIFF"),
        "a.avif": encoded(PICTURE, "AVIF"),
    }
    paths = []
    for name, data in made.items():
        flipped = bytearray(data)
        for at in (len(data) // 2, len(data) * 2 // 3, len(data) - 40):
            flipped[at] ^= 0xFF
        for kind, content in (("whole", data), ("cut", data[: len(data) * 6 // 10]), ("flipped", bytes(flipped))):
            paths.append(tmp_path / f"{kind}-{name}")
            paths[-1].write_bytes(content)
    for name, content in {**_odd_pngs(), "text": b"no image"}.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(content)
    return paths


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def _odd_pngs() -> dict[str, bytes]:
    """Give PNGs that libpng has something to say of, though all their checksums are right."""
    rows = b"".join(b"\0" + RGB[row, :, 0].tobytes() for row in range(240))
    packed, colours, palette = zlib.compress(rows), bytes(range(256)) * 3, b"\3"
    shapes: dict[str, tuple[bytes, list[bytes], bytes]] = {
        "row missing": (b"\0", [], zlib.compress(rows[:-321])),
        "row more": (b"\0", [], zlib.compress(rows + rows[:321])),
        "garbled": (b"\0", [], packed[:99] + b"\xff" * 40 + packed[139:]),
        "wrong sum": (b"\0", [], packed[:-4] + b"sum?"),
        "words behind": (b"\0", [], packed + b"words"),
        "filter": (b"\0", [], zlib.compress(rows[:-321] + b"\x09" + rows[-320:])),
        "colour of none": (palette, [_chunk(b"PLTE", colours[:30])], packed),
        "part of a colour": (palette, [_chunk(b"PLTE", colours[:31])], packed),
        "no palette": (palette, [], packed),
        "palette in grey": (b"\0", [_chunk(b"PLTE", colours)], packed),
        "opacity": (palette, [_chunk(b"PLTE", colours), _chunk(b"tRNS", bytes(300))], packed),
        "end": (b"\0", [], packed),
    }
    size = (320).to_bytes(4, "big") + (240).to_bytes(4, "big")
    return {
        f"{name}.png": b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", size + b"\x08" + kind + bytes(3))
        + b"".join([*before, _chunk(b"IDAT", pixels), _chunk(b"IEND", b"long" if name == "end" else b"")])
        for name, (kind, before, pixels) in shapes.items()
    }


def _run(program: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *options, "-c", program]
    # What an earlier test has set for workers is not the program's own.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV")}
    made = subprocess.run(command, capture_output=True, text=True, check=False, env=clean | environment)
    assert made.returncode == 0, made.stderr[-3000:]
    return made


JUDGE = """
import json, sys
from imageguard_daemon import validate
def told(path):
    decision = validate(path)
    return [decision.reason, decision.detail, decision.score, decision.measures]
"""


def _verdicts(paths: list[Path], before: str = "", *options: str) -> list[object]:
    program = f"{before}\n{JUDGE}\nprint(json.dumps([told(path) for path in {list(map(str, paths))}]))"
    made = _run(program, *options)
    assert made.stderr == ""
    return list(json.loads(made.stdout))


def test_a_program_is_as_it_was_after_each_kind_of_call(tmp_path: Path) -> None:
    """Import, paths, bytes, arrays, Pillow images, good and damaged: no setting, filter, thread or handler changes."""
    paths = list(map(str, _files(tmp_path)))
    program = f"""{SNAPSHOT}
start = snapshot()
import imageguard_daemon
from imageguard_daemon import validate
compare("import", start)
for path in {paths}:
    validate(path)
    compare(path, start)
    with open(path, "rb") as file:
        validate(file.read())
    compare(path, start)
    try:
        with PIL.Image.open(path) as image:
            before = snapshot()
            validate(image)
            compare(("Pillow", path), before)
    except OSError:
        pass
validate(numpy.zeros((40, 40, 3), numpy.uint8))
for wrong in (None, numpy.zeros((3, 3)), "/nowhere"):
    try:
        validate(wrong)
    except (TypeError, OSError):
        pass
compare("arrays and mistakes", start)
"""
    _run(program)


def test_a_program_is_as_it_was_after_a_shard(tmp_path: Path) -> None:
    """`score_shard` leaves no thread, no child and no descriptor behind."""
    (tmp_path / "a.jpg").write_bytes(jpeg(RGB))
    paths = [str(tmp_path / "a.jpg"), "/nowhere"]
    program = f"""{SNAPSHOT}
from imageguard_daemon.batch.backfill.scoring import score_shard
from tests.helpers.shards import shard
start = snapshot()
rows = score_shard(shard({paths}))
assert [row["verdict"] for row in rows] == ["accepted", None], rows
compare("score_shard", start)
"""
    assert _run(program).stderr == ""


def test_a_program_is_as_it_was_after_a_list_of_files(tmp_path: Path) -> None:
    """Verdicts for datasets are taken in processes that are gone afterwards."""
    (tmp_path / "a.jpg").write_bytes(jpeg(RGB))
    program = f"""{SNAPSHOT}
from imageguard_daemon.integrations.verdicts import Judging, verdicts_on
start = snapshot()
found = verdicts_on([{str(tmp_path / "a.jpg")!r}], Judging(cache={str(tmp_path / "cache")!r}, workers=1))
assert found[0].score > 0.5
compare("verdicts_on", start)
"""
    assert _run(program).stderr == ""


@pytest.mark.parametrize(
    "settings",
    [
        "from PIL import ImageFile; ImageFile.LOAD_TRUNCATED_IMAGES = True",
        "from PIL import Image; Image.MAX_IMAGE_PIXELS = 10",
        "from PIL import Image; Image.init(); Image.OPEN.clear(); Image.ID.clear()",
        "from PIL import TiffImagePlugin; TiffImagePlugin.READ_LIBTIFF = True",
        "import cv2; cv2.setNumThreads(1); getattr(cv2.utils, 'logging', cv2).setLogLevel(5)",
        "import numpy; numpy.seterr(all='raise')",
    ],
)
def test_settings_of_the_program_decide_no_verdict(tmp_path: Path, settings: str) -> None:
    """Whatever the program has made of Pillow, OpenCV and NumPy, verdicts and their reasons are the same."""
    paths = _files(tmp_path)
    assert _verdicts(paths, settings) == _verdicts(paths)


def test_nothing_is_printed_for_a_program(tmp_path: Path) -> None:
    """Neither Pillow's nor the C libraries' complaints of damaged files reach standard error, and none is missed.

    Where libpng may complain, a worker, whose standard error is its own, comes to the same.
    """
    paths = _files(tmp_path)
    found = _verdicts(paths, "import logging; logging.basicConfig(level=logging.WARNING)")
    assert {reason for reason, *_ in found} >= {"corrupt"}
    program = f"from imageguard_daemon.quality.decode.opencv import prepare_worker\nprepare_worker()\n{JUDGE}"
    made = _run(f"{program}\nprint(json.dumps([told(path) for path in {list(map(str, paths))}]))")
    assert json.loads(made.stdout) == found
    assert made.stderr.count("libpng") >= len(_odd_pngs()) - 3


def test_with_warnings_as_errors_eight_threads_judge_as_one_does(tmp_path: Path) -> None:
    """A strict program gets verdicts, not exceptions, and its own warnings are still errors."""
    paths = _files(tmp_path)
    program = f"""{JUDGE}
import warnings
from concurrent.futures import ThreadPoolExecutor
def warned(_):
    try:
        warnings.warn("mine", stacklevel=1)
    except UserWarning:
        return True
    return False
paths = {list(map(str, paths))}
with ThreadPoolExecutor(8) as judging, ThreadPoolExecutor(2) as warning:
    own = warning.map(warned, range(2000))
    found = list(judging.map(told, paths * 4))
    assert all(own)
print(json.dumps(found))
"""
    made = _run(program, "-W", "error")
    assert made.stderr == ""
    assert json.loads(made.stdout) == _verdicts(paths) * 4


def test_a_programs_own_pillow_still_warns(tmp_path: Path) -> None:
    """What the program does with Pillow is as without this package: its warnings and libtiff's words come."""
    (tmp_path / "g.tif").write_bytes(encoded(PICTURE.convert("1"), "TIFF", compression="group4")[:-400])
    flipped = bytearray(encoded(PICTURE.convert("1"), "TIFF", compression="group4"))
    for at in range(200, 260):
        flipped[at] ^= 0x55
    (tmp_path / "f.tif").write_bytes(flipped)
    program = """
import sys
from PIL import Image, ImageFile
ImageFile.LOAD_TRUNCATED_IMAGES = True
def load():
    for name in ("f", "g"):
        try:
            Image.open(f"{sys.argv[1]}/{name}.tif").load()
        except Exception as error:
            print(type(error).__name__, error)
"""
    judging = "from imageguard_daemon import validate\nvalidate(f'{sys.argv[1]}/f.tif')\n"
    told = [
        subprocess.run(
            [sys.executable, "-c", f"{program}{extra}load()", str(tmp_path)], capture_output=True, text=True, check=True
        )
        for extra in ("", judging)
    ]
    assert (told[0].stdout, told[0].stderr) == (told[1].stdout, told[1].stderr)
    assert "Fax4Decode" in told[0].stderr + told[0].stdout or not told[0].stderr


def test_a_large_png_can_still_be_read_by_the_programs_own_opencv() -> None:
    """The package sets no limit for others: not in the environment, not in children."""
    program = """
import os, subprocess, sys
from imageguard_daemon import validate
import numpy
validate(numpy.zeros((9, 9), numpy.uint8))
assert not [name for name in os.environ if name.startswith("OPENCV")]
"""
    _run(program)


def test_a_child_forked_while_a_file_is_decoded_has_libtiff_as_it_was() -> None:
    """The thread that would put the handler back is not in the child; what the child decodes prints as ever."""
    program = f"""{SNAPSHOT}
import warnings
from imageguard_daemon import validate
from imageguard_daemon.quality.decode.pillow import QUIET_TIFF
warnings.simplefilter("ignore")
before = snapshot()["libtiff"], getattr(cv2.utils, "logging", cv2).getLogLevel()
inside, leave = threading.Event(), threading.Event()
def decode():
    with QUIET_TIFF:
        inside.set()
        leave.wait(60)
thread = threading.Thread(target=decode)
thread.start()
assert inside.wait(60)
assert libtiffs_handler() != before[0]
child = os.fork()
if not child:
    with QUIET_TIFF:
        pass
    os._exit((libtiffs_handler(), getattr(cv2.utils, "logging", cv2).getLogLevel()) != before)
assert os.waitpid(child, 0)[1] == 0
leave.set()
thread.join()
assert (libtiffs_handler(), getattr(cv2.utils, "logging", cv2).getLogLevel()) == before
"""
    _run(program)
