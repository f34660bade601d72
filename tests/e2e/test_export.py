"""`export`: manifests that the real libraries read, where they are installed."""

import json
import os
import shutil
import warnings
from pathlib import Path

import pytest

from tests.e2e.daemon_process import command
from tests.helpers.images import blurred, jpeg, photo


@pytest.fixture(scope="module")
def filed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which the daemon has filed five images of two classes: three accepted, two quarantined."""
    return _file_five(tmp_path_factory.mktemp("filed"))


def _file_five(root: Path) -> Path:
    for number in range(5):
        rgb = photo(280, 200, number)
        path = root / "inbox" / ("cat" if number < 3 else "dog") / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(blurred(rgb, 6) if number in (2, 4) else rgb))
    config = root / "quick.yaml"
    config.write_text(f"root: {root}\nintake: {{settle_seconds: 0.2}}\n")
    made = command("run", "--config", config, "--once")
    assert made.returncode == 0, made.stderr
    return root


@pytest.fixture(scope="module")
def scanned(filed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same images in one folder, one with a name that is no UTF-8 and has a line break; and a scan's results."""
    folder = tmp_path_factory.mktemp("scanned")
    for name in ("accepted", "quarantine"):
        shutil.copytree(filed / name, folder / "data", dirs_exist_ok=True)
    shutil.copy(folder / "data/cat/0.jpg", folder / "data/dog/odd\n\udcff.jpg")
    made = command("scan", folder / "data", "--jsonl", folder / "results.jsonl")
    assert made.returncode == 0, made.stderr
    return folder / "data", folder / "results.jsonl"


def _lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_hugging_face_loads_the_accepted_images(filed, tmp_path):
    """`metadata.jsonl` beside the images makes an image folder with labels and scores."""
    datasets = pytest.importorskip("datasets", reason="needs datasets (.ci/run installs it in a step of its own)")
    made = command("export", filed, "--to", "huggingface", "--output", filed / "accepted" / "metadata.jsonl")
    assert made.returncode == 0, made.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own
        loaded = datasets.load_dataset("imagefolder", data_dir=filed / "accepted", cache_dir=tmp_path, split="train")
        assert loaded.num_rows == 3
        assert sorted(loaded["label"]) == ["cat", "cat", "dog"]
        assert min(loaded["quality_score"]) >= 0.5
        assert loaded[0]["image"].size == (280, 200)
        assert set(loaded["quality_reason"]) == {""}
        typed = loaded.class_encode_column("label")
        typed = typed.cast_column("quality_issues", datasets.List(datasets.Value("string")))
        assert typed.features["label"].names == ["cat", "dog"]
        assert typed[0]["quality_issues"] == []
    again = command("export", filed, "--to", "huggingface", "--output", filed / "accepted" / "metadata.jsonl")
    assert (again.returncode, "already exists" in again.stderr) == (64, True)


def test_hugging_face_needs_the_manifest_above_the_images(filed, tmp_path):
    """A manifest that the loader could not follow is refused, and nothing is left behind."""
    for output in (tmp_path / "metadata.jsonl", tmp_path / "other.jsonl", "-"):
        assert command("export", filed, "--to", "huggingface", "--output", output).returncode == 64
    assert list(tmp_path.iterdir()) == []


def test_fiftyone_gets_arguments_of_its_samples(scanned, tmp_path):
    """Each line has an absolute `filepath`, `tags` that are texts, and fields with names and values that it takes."""
    output = tmp_path / "samples.jsonl"
    made = command("export", "--from", scanned[1], "--to", "fiftyone", "--only", "all", "--output", output)
    assert made.returncode == 66
    assert "1 left out: a name that is not UTF-8" in made.stderr
    samples = _lines(output)
    assert len(samples) == 5
    reserved = {"id", "metadata", "created_at", "last_modified_at", "media_type", "group", "frames"}
    for sample in samples:
        assert Path(sample["filepath"]).is_absolute()
        assert Path(sample["filepath"]).is_file()
        assert all(isinstance(tag, str) for tag in sample["tags"])
        assert not reserved & set(sample)
        fields = {name: value for name, value in sample.items() if name not in {"filepath", "tags"}}
        assert all(name.isidentifier() and not name.startswith("_") for name in fields)
        assert all(value is None or isinstance(value, str | float | int | list) for value in fields.values())
    assert sorted(tuple(sample["tags"]) for sample in samples) == [("accepted",)] * 3 + [("rejected", "blurry")] * 2


def test_coco_keeps_accepted_images_and_their_annotations(scanned, tmp_path):
    """Images that were rejected go with their annotations; categories and all else stay, and the real API reads it."""
    names = ["cat/0.jpg", "cat/1.jpg", "cat/2.jpg", "3.jpg", "dog/never seen.jpg"]
    coco = {
        "info": {"year": 2026},
        "images": [{"id": n, "file_name": name, "width": 280, "height": 200} for n, name in enumerate(names, 1)],
        "annotations": [
            {"id": n, "image_id": n % 5 + 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81, "iscrowd": 0}
            for n in range(10)
        ],
        "categories": [{"id": 1, "name": "animal"}],
    }
    given, output = tmp_path / "instances.json", tmp_path / "good.json"
    given.write_text(json.dumps(coco))
    made = command("export", "--from", scanned[1], "--to", "coco", "--coco", given, "--output", output)
    assert made.returncode == 66
    assert "1 left out: an image of the COCO file that was not judged" in made.stderr
    kept = json.loads(output.read_text())
    assert [image["file_name"] for image in kept["images"]] == ["cat/0.jpg", "cat/1.jpg", "3.jpg"]
    assert sorted(one["image_id"] for one in kept["annotations"]) == [1, 1, 2, 2, 4, 4]
    assert (kept["info"], kept["categories"]) == (coco["info"], coco["categories"])
    api = pytest.importorskip("pycocotools.coco", reason="needs pycocotools (.ci/run installs it in a step of its own)")
    read = api.COCO(str(output))
    assert sorted(read.getImgIds()) == [1, 2, 4]
    assert len(read.getAnnIds(imgIds=[4])) == 2


def test_a_plain_list_has_every_name(scanned, tmp_path):
    """Paths are bytes as the file system has them; one with a line break needs --null."""
    data, results = scanned
    made = command("export", "--from", results, "--to", "list", "--output", tmp_path / "plain")
    assert (made.returncode, "--null can write it" in made.stderr) == (66, True)
    expected = {os.fsencode(data / name) for name in ("cat/0.jpg", "cat/1.jpg", "dog/3.jpg")}
    assert set((tmp_path / "plain").read_bytes().splitlines()) == expected
    assert command("export", "--from", results, "--to", "list", "-0", "--output", tmp_path / "all").returncode == 0
    with_odd = {*expected, os.fsencode(data / "dog/odd\n\udcff.jpg")}
    assert set((tmp_path / "all").read_bytes().split(b"\0")[:-1]) == with_odd
    rejected = command("export", "--from", results, "--to", "list", "--only", "rejected").stdout.splitlines()
    assert {Path(path).name for path in rejected} == {"2.jpg", "4.jpg"}


def test_what_was_released_counts_as_accepted_and_what_is_gone_is_told(tmp_path):
    """The log says where each image is now; a file that somebody took away is left out, and the exit code says so."""
    root = _file_five(tmp_path / "root")
    config = root / "quick.yaml"
    released = command(
        "quarantine", "release", "--config", config, "--path", "dog/4.jpg", "--why", "it is art", "--yes"
    )
    assert released.returncode == 0, released.stderr
    (root / "accepted/cat/0.jpg").unlink()
    made = command("export", root, "--to", "fiftyone", "--output", tmp_path / "samples.jsonl")
    assert made.returncode == 66
    assert "1 left out: a file that is not there any more" in made.stderr
    samples = {Path(sample["filepath"]).relative_to(root): sample for sample in _lines(tmp_path / "samples.jsonl")}
    assert {str(path) for path in samples} == {"accepted/cat/1.jpg", "accepted/dog/3.jpg", "accepted/dog/4.jpg"}
    assert samples[Path("accepted/dog/4.jpg")]["tags"] == ["accepted", "blurry"]
    rejected = command("export", "--config", config, "--to", "list", "--only", "rejected").stdout.splitlines()
    assert rejected == [str(root / "quarantine/cat/2.jpg")]


@pytest.mark.parametrize("form", ["list", "fiftyone", "huggingface", "coco"])
def test_what_changed_since_it_was_judged_is_in_no_manifest(tmp_path, form):
    """A manifest vouches for what was judged, whatever its form; the file that changed is counted."""
    data, results = tmp_path / "data", tmp_path / "results.jsonl"
    data.mkdir()
    for number in range(2):
        (data / f"{number}.jpg").write_bytes(jpeg(photo(280, 200, number)))
    assert command("scan", data, "--jsonl", results).returncode == 0
    (data / "1.jpg").write_bytes(b"another file")
    coco = tmp_path / "coco.json"
    coco.write_text(json.dumps({"images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(2)]}))
    output = data / "metadata.jsonl"
    words = ["--from", results, "--to", form, "--output", output, *(["--coco", coco] if form == "coco" else [])]
    made = command("export", *words)
    assert made.returncode == 66
    assert "1 left out: a file that changed since it was judged" in made.stderr
    assert ("0.jpg" in output.read_text(), "1.jpg" in output.read_text()) == (True, False)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--from", "nowhere.jsonl", "--to", "list"], 66, "cannot read nowhere.jsonl"),
        (["--from", "{data}/cat/0.jpg", "--to", "list"], 66, "is not text in UTF-8"),
        (["--from", "{results}.partial", "--to", "list"], 66, "did not come to its end"),
        (["--from", "{own}", "--to", "list"], 66, "line 1: this was not written by scan --jsonl"),
        (["--from", "{results}", "--to", "coco"], 64, "go together"),
        (["--from", "{results}", "--to", "coco", "--coco", "{results}"], 66, "is not JSON"),
        (["--from", "{results}", "--to", "coco", "--coco", "{own}"], 66, "no list of `images`"),
        (["--from", "{results}", "--to", "fiftyone", "-0"], 64, "--null goes with --to list"),
        (["{data}", "--from", "{results}", "--to", "list"], 64, "replaces an audit log"),
        (["{data}", "--to", "list"], 66, "audit"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(scanned, tmp_path, arguments, code, told):
    """A wrong file or option ends with its exit code and says why; no half manifest is left."""
    own = tmp_path / "own.json"
    own.write_text('{"path": 1}')
    words = [word.format(data=scanned[0], results=scanned[1], own=own) for word in arguments]
    result = command("export", *words, "--output", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == code, result.stderr
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["own.json"]
