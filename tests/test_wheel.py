"""The package as it is given away: built once, from the source distribution, and tried outside of the checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from tests.helpers import images

ROOT = Path(__file__).parent.parent
LET_THROUGH = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@dataclass(frozen=True)
class Built:
    """A source distribution, and the wheel made of it."""

    source: Path
    wheel: Path


@dataclass(frozen=True)
class Environment:
    """An environment with the wheel, and, by path, the dependencies of the one that tests run in."""

    folder: Path

    def run(self, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, far from the checkout."""
        program, *others = arguments
        command = [str(self.folder / "bin" / str(program)), *map(str, others)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
        return _run(command, cwd, environment)


def _run(command: Sequence[str], cwd: Path, environment: dict[str, str] | None = None):
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done


def build(source: Path, folder: Path, *options: str, **environment: str) -> list[Path]:
    """Build without fetching anything; `options` say what."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *options, str(source)]
    _run(command, folder.parent, os.environ | environment)
    return sorted(folder.iterdir())


def environment_with(wheel: Path, folder: Path) -> Environment:
    """Install a wheel, and nothing else, into a new environment."""
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    _run([*pip, str(wheel)], folder.parent)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    # Read as a plain folder: what the checkout put there to be found itself is not followed.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Environment(folder)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Build the source distribution from what an image is built of, and the wheel from that."""
    folder = tmp_path_factory.mktemp("built")
    for name in LET_THROUGH:
        (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, folder / "checkout" / name, ignore=shutil.ignore_patterns("*.so", "__pycache__")
            )
        else:
            shutil.copy(ROOT / name, folder / "checkout" / name)
    wheel, source = sorted(build(folder / "checkout", folder / "dist"), key=lambda path: path.suffix, reverse=True)
    return Built(source, wheel)


@pytest.fixture(scope="module")
def environment(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Install the wheel where nothing of the checkout is."""
    return environment_with(built.wheel, tmp_path_factory.mktemp("environment") / "venv")


def test_the_wheel_fits_every_python_and_names_what_it_needs(built):
    """One file for all Python versions from 3.11 on, with the dependencies, extras and command of pyproject.toml."""
    assert re.fullmatch(r"imageguard_daemon-[\d.rc]+-cp311-abi3-linux_\w+\.whl", built.wheel.name)
    metadata = _metadata(built.wheel)
    required = {re.split(r"[^\w-]", line)[0] for line in metadata.get_all("Requires-Dist") if "extra ==" not in line}
    assert required == {re.split(r"[^\w-]", one)[0] for one in PROJECT["dependencies"]}
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])


def test_the_wheel_has_everything_and_nothing_else(built):
    """All modules, templates, migrations, networks and static files are in it; sources in C and tests are not."""
    package = ROOT / "imageguard_daemon"
    ours = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    wanted = {str(path.relative_to(ROOT)) for path in ours if path.suffix not in {".c", ".h", ".so"}}
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
    found = {name for name in names if not re.match(r"imageguard_daemon-[\d.rc]+\.(data|dist-info)/", name)}
    compiled = {
        f"imageguard_daemon/quality/{name}.abi3.so"
        for name in ("features/_native", "features/_native_avx2", "decode/_jpeg")
    }
    assert found - compiled == wanted
    given = {name.split(".data/data/")[1] for name in names if ".data/data/" in name}
    assert given == {"share/man/man1/imageguard-daemon.1"} | {f"share/imageguard-daemon/{name}" for name in _told()}


def _told():
    """Give the names of all files that people are told to install or to read: the units' own, and what pages name."""
    texts = [path.read_text() for path in (*ROOT.glob("docs/*.md"), ROOT / "README.md", *ROOT.glob("systemd/*"))]
    named = re.findall(r"(?:systemd|contrib)/([\w.-]+\.(?:service|conf|ya?ml|json))", "\n".join(texts))
    ours = {path.name for path in ROOT.glob("systemd/*")} | {"config.example.yaml"}
    return ours | set(named) - {"prometheus-rules-test.yaml"}


def test_the_source_distribution_is_complete(built):
    """It has what building and running takes, the licence, the unit, and no half of the tests."""
    with tarfile.open(built.source) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "config.example.yaml", "systemd/imageguard-daemon.service"}
    wanted |= {"imageguard_daemon/quality/features/native/pixels.h", "imageguard_daemon/quality/readout.npz"}
    assert wanted <= names
    assert not any(name.startswith("tests") for name in names)


def test_the_installed_command_judges_images(environment, tmp_path):
    """Far from the checkout: help, a configuration, a log that is made, images judged and moved, a report as a page."""
    for name, picture in (("cat/1.jpg", images.photo()), ("cat/2.jpg", images.blurred(images.photo(), 6.0))):
        path = tmp_path / "ingest/inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.jpeg(picture))
    command = "imageguard-daemon"
    assert PROJECT["version"] in environment.run(command, "--version", cwd=tmp_path).stdout
    assert "quarantine" in environment.run(command, "--help", cwd=tmp_path).stdout
    environment.run(command, "config", "init", "config.yaml", cwd=tmp_path)
    environment.run(command, "config", "check", "config.yaml", cwd=tmp_path)
    environment.run(command, "run", "--config", "config.yaml", "--once", cwd=tmp_path)
    assert (tmp_path / "ingest/accepted/cat/1.jpg").exists()
    assert (tmp_path / "ingest/quarantine/cat/2.jpg").exists()
    environment.run(command, "report", "ingest", "--format", "html", "--output", "report.html", cwd=tmp_path)
    assert "blurry" in (tmp_path / "report.html").read_text()


def test_the_installed_library_judges_an_image(environment, tmp_path):
    """`validate` of the wheel works, with the features in C, and it is the wheel's and not the checkout's."""
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("needs a C compiler")
    (tmp_path / "photo.jpg").write_bytes(images.jpeg(images.photo()))
    program = (
        "import imageguard_daemon as i; from imageguard_daemon.quality.features.vector import _native;"
        "from imageguard_daemon.web import app; print(i.validate('photo.jpg').verdict, i.__file__)"
    )
    verdict, where = environment.run("python", "-c", program, cwd=tmp_path).stdout.split()
    assert verdict == "accepted"
    assert where.startswith(str(environment.folder))


def add_packages(environment: Environment, *wanted: str) -> None:
    """Put some packages of the environment that tests run in into another one."""
    (site_packages,) = environment.folder.glob("lib/python*/site-packages")
    for name in wanted:
        for found in Path(sysconfig.get_path("purelib")).glob(name):
            if found.is_dir():  # no symbolic links: OpenCV looks for its own folder, and must find this one
                shutil.copytree(found, site_packages / found.name, copy_function=_linked)
            else:
                _linked(found, site_packages / found.name)


def _linked(source: str | Path, destination: str | Path) -> None:
    try:
        os.link(source, destination)
    except OSError:  # on another disk
        shutil.copy(source, destination)


def test_a_library_user_needs_few_packages(built, tmp_path):
    """With the packages that docs/installing.md names, `validate` and what PyTorch datasets use work, and no others."""
    text = (ROOT / "docs/installing.md").read_text()
    lists = re.findall(r"--no-deps imageguard-daemon && pip install ([\w '\[\]-]+)$", text, re.MULTILINE)
    pydantics = "pydantic* annotated_types typing_extensions* typing_inspection"
    folders = {"opencv-python-headless": "cv2 opencv_*", "pillow": "PIL pillow*", "pydantic": pydantics}
    few, more = (" ".join(folders.get(name, f"{name}*") for name in one.split()).split() for one in lists)
    (tmp_path / "photo.jpg").write_bytes(images.jpeg(images.blurred(images.photo(), 6.0)))
    alone = environment_with(built.wheel, tmp_path / "venv")
    next(alone.folder.glob("lib/python*/site-packages/dependencies.pth")).unlink()
    add_packages(alone, *few)
    program = "import imageguard_daemon as i; print(i.validate('photo.jpg').reason)"
    assert alone.run("python", "-c", program, cwd=tmp_path).stdout.strip() == "blurry"
    command = [alone.folder / "bin/imageguard-daemon", "--version"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stderr.count("\n")) == (os.EX_UNAVAILABLE, 1)
    assert "pip install imageguard-daemon" in told.stderr
    add_packages(alone, *more)
    program = (
        "from imageguard_daemon.integrations.verdicts import Judging, verdicts_on;"
        "print([one.reason for one in verdicts_on(['photo.jpg'], Judging(cache='cache.state', workers=1))])"
    )
    assert alone.run("python", "-c", program, cwd=tmp_path).stdout.strip() == "['blurry']"


def test_without_a_compiler_the_package_is_built_and_works(built, tmp_path):
    """Where nothing can be compiled, the wheel has no part in C, and gives the same verdicts."""
    with tarfile.open(built.source) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    (wheel,) = build(source, tmp_path / "dist", "--wheel", CC="/bin/false")
    with zipfile.ZipFile(wheel) as opened:
        assert not [name for name in opened.namelist() if name.endswith(".so")]
    environment = environment_with(wheel, tmp_path / "venv")
    (tmp_path / "photo.jpg").write_bytes(images.jpeg(images.blurred(images.photo(), 6.0)))
    program = "import imageguard_daemon as i; print(i.validate('photo.jpg').reason)"
    assert environment.run("python", "-c", program, cwd=tmp_path).stdout.strip() == "blurry"


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(opened.read(name).decode())
