"""Names of any kind through everything: scan, its results as a list, back-fill, export, and who loads that."""

import json
import os
import random
import unicodedata
import warnings
from pathlib import Path

import pytest

from tests.e2e.daemon_process import command
from tests.helpers.images import jpeg, photo

ODD = [
    *(
        "Screenshot 9.41\u202fAM.jpg",
        "\U0001f600.jpg",
        "a\xa0b.jpg",
        "back\\slash.jpg",
        "back\\x41.jpg",
        "line\nbreak.jpg",
    ),
    *("carriage\rreturn.jpg", "tab\t.jpg", "=1+1.jpg", "-rf.jpg", "@home.jpg", "+.jpg", "'=quoted.jpg", '"double".jpg'),
    *("comma,semi;colon.jpg", " leading.jpg", "trailing .jpg", "%41.jpg", "#1.jpg", "what?.jpg", "[x].jpg", "*.jpg"),
    *(
        "a::b.jpg",
        "{brace}.jpg",
        "\x1b[31m.jpg",
        "\u202egpj.jpg",
        "\u2028.jpg",
        "\ufeffbom.jpg",
        "~home.jpg",
        "$HOME.jpg",
    ),
    *(unicodedata.normalize(form, "caf\xe9.jpg") for form in ("NFC", "NFD")),
    *("caf\udce9.jpg", "\udcff\n=.jpg"),
]
CLASSES = ["cat", "=cls", "caf\u0301", "\udcfe"]


def _some_names(count: int) -> list[str]:
    """Give names of random bytes: another draw each time, told when it fails."""
    draw = random.Random()  # noqa: S311 - names, not secrets
    raw = (draw.randbytes(draw.randrange(1, 60)).replace(b"/", b"").replace(b"\0", b"") for _ in range(count))
    return [f"{os.fsdecode(one)}x.jpg" for one in raw if not one.startswith((b".", b"~", b"#"))]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which each odd name is in some class; all images are good ones."""
    folder = tmp_path_factory.mktemp("names") / "data"
    content = jpeg(photo(280, 200))
    for number, name in enumerate([*ODD, *_some_names(8)]):
        place = folder / CLASSES[number % len(CLASSES)]
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def results(data: Path) -> Path:
    """Results of a scan in all forms."""
    pytest.importorskip("pyarrow", reason="needs the extra `parquet`")
    folder = data.parent
    forms = [word for form in ("csv", "jsonl", "parquet") for word in (f"--{form}", folder / f"results.{form}")]
    made = command("scan", data, *forms, "--config", _everything(folder), "--format", "json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["total"] == len(_files(data))
    return folder


def _everything(folder: Path) -> Path:
    config = folder / "all.yaml"
    config.write_text("intake: {ignore: []}\n")
    return config


def _files(data: Path) -> set[bytes]:
    return {os.path.join(os.fsencode(place), name) for place, _, names in os.walk(os.fsencode(data)) for name in names}


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_back_fill_finds_every_file_by_the_results_of_a_scan(data, results, form):
    """No name is lost on the way, and classes are those of the folders."""
    from pyarrow import dataset

    from imageguard_daemon.batch.judging import real_name

    out = results / f"out-{form}"
    made = command("backfill", "--manifest", results / f"results.{form}", "--out", out, "--executor", "thread")
    assert made.returncode == 0, made.stderr
    rows = dataset.dataset(out, format="parquet").to_table().to_pylist()
    assert {os.path.normpath(os.fsencode(real_name(row, "path"))) for row in rows} == _files(data)
    assert {real_name(row, "class") for row in rows} == set(CLASSES)
    assert {row["verdict"] for row in rows} == {"accepted"}


def test_a_list_has_every_name_byte_for_byte(data, results):
    """`export --to list --null` opens each file."""
    made = command("export", "--from", results / "results.jsonl", "--to", "list", "-0", "-o", results / "list")
    assert made.returncode == 0, made.stderr
    assert set((results / "list").read_bytes().split(b"\0")[:-1]) == _files(data)


def test_hugging_face_loads_images_of_any_name(data, results, tmp_path):
    """Each name that is text is loaded by the real library; those that it cannot load are counted, and said why."""
    datasets = pytest.importorskip("datasets", reason="needs datasets (.ci/run installs it in a step of its own)")
    made = command("export", "--from", results / "results.jsonl", "--to", "huggingface", "-o", data / "metadata.jsonl")
    assert made.returncode == 66, made.stderr
    assert "which keeps `datasets` from loading its folder: rename it" in made.stderr
    lines = (data / "metadata.jsonl").read_text().splitlines()
    for path in data.rglob("*"):
        if "::" in path.name or "$" in path.name:
            path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        loaded = datasets.load_dataset("imagefolder", data_dir=data, cache_dir=tmp_path, split="train")
    assert loaded.num_rows == len(lines)
    assert loaded[0]["image"].size == (280, 200)
