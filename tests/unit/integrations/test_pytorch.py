"""Datasets for the real PyTorch, where it is installed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imageguard_daemon.core.errors import ChangedError
from imageguard_daemon.core.model import SCORE_NAMES
from tests.helpers.images import blurred, jpeg, photo

data = pytest.importorskip("torch.utils.data", reason="needs torch (.ci/run installs it in a step of its own)")
torch = pytest.importorskip("torch", reason="needs torch")

from imageguard_daemon.integrations.pytorch import (  # noqa: E402
    ValidatedImageDataset,
    ValidatedImageFolder,
    pil_loader,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, under newer Pythons


def to_tensor(image: Image.Image):
    """Give what torchvision's transform of this name gives; at the top of a module, so that spawned workers find it."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Three classes of six, one of which is all blurred and one half; and the cache of their measurements."""
    folder = tmp_path_factory.mktemp("folder") / "data"
    for number in range(6):
        good = photo(280, 200, number)
        bad = blurred(good, 6)
        for name, rgb in (("ant", good), ("bee", bad if number % 2 else good), ("cat", bad)):
            path = folder / name / "deep" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(jpeg(rgb))
    return folder, folder.parent / "cache"


def test_what_a_nas_makes_is_no_class(originals):
    """Trash cans and indexes are neither classes nor images, as in the daemon's inbox."""
    root, cache = originals
    copy = shutil.copytree(root, root.parent / "on a NAS")
    for place in ("@eaDir/0.jpg", "#recycle/ant", "ant/@eaDir", "lost+found"):
        (copy / place).mkdir(parents=True)
        shutil.copy(root / "ant/deep/0.jpg", copy / place / "0.jpg")
    dataset = _folder(copy, cache)
    assert dataset.classes == ["ant", "bee", "cat"]
    assert len(dataset) == 9


def _folder(root: Path, cache: Path, **options) -> ValidatedImageFolder:
    with pytest.warns(UserWarning, match="no image was kept in 1 of 3 classes: cat"):
        return ValidatedImageFolder(root, transform=to_tensor, cache=cache, workers=2, **options)


def test_it_is_an_image_folder_of_good_images(originals):
    """Attributes are those of torchvision's ImageFolder; a class keeps its number though all its images are bad."""
    dataset = _folder(*originals)
    assert isinstance(dataset, data.Dataset)
    assert (dataset.classes, dataset.class_to_idx) == (["ant", "bee", "cat"], {"ant": 0, "bee": 1, "cat": 2})
    assert len(dataset) == 9
    assert dataset.targets == [0] * 6 + [1] * 3 == [target for _, target in dataset.samples]
    assert dataset.imgs == dataset.samples == sorted(dataset.samples)
    assert dataset.loader is pil_loader
    assert {entry.reason for entry in dataset.rejected} == {"blurry"}
    assert min(dataset.scores) >= 0.5
    image, target = dataset[8]
    assert (tuple(image.shape), target) == ((3, 200, 280), 1)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_data_loaders_work_with_every_start_method(originals, method):
    """Workers get the dataset, each image once an epoch, and judge nothing anew."""
    dataset = _folder(*originals)
    shutil.move(originals[1], f"{originals[1]}.away")  # whoever judged again would have to make it anew
    try:
        options = {"shuffle": True, "persistent_workers": True, "multiprocessing_context": method}
        loader = data.DataLoader(dataset, batch_size=4, num_workers=2, **options)
        for _epoch in range(2):
            targets = torch.cat([target for _, target in loader])
            assert sorted(targets.tolist()) == [0] * 6 + [1] * 3
        assert not originals[1].exists()
    finally:
        shutil.move(f"{originals[1]}.away", originals[1])


def test_a_list_of_paths_with_and_without_targets(originals):
    """Order is kept; items are images, or pairs with their targets; another minimum keeps others."""
    folder, cache = originals
    paths = [folder / "bee" / "deep" / f"{number}.jpg" for number in range(6)]
    plain = ValidatedImageDataset(paths, to_tensor, cache=cache)
    assert plain.paths == [str(path) for path in paths[::2]]
    assert tuple(plain[0].shape) == (3, 200, 280)
    pairs = ValidatedImageDataset(paths, targets=list("abcdef"), cache=cache)
    assert [pairs[index][1] for index in range(3)] == ["a", "c", "e"]
    assert len(ValidatedImageDataset(paths, min_score=0.0, cache=cache)) == 6
    with pytest.warns(UserWarning, match="3 below min_score, 3 blurry"):
        assert len(ValidatedImageDataset(paths, min_score=1.0, cache=cache)) == 0
    assert len(ValidatedImageDataset(paths, cache=cache, thresholds=dict.fromkeys(SCORE_NAMES, 0.0))) == 6
    for arguments in ({"min_score": 2}, {"on_error": "ignore"}, {"targets": [1]}, {"preset": "genral"}):
        with pytest.raises(ValueError):  # noqa: PT011 - four messages
            ValidatedImageDataset(paths, cache=cache, **arguments)
    with pytest.raises(TypeError):
        ValidatedImageDataset(paths, cache=cache, presett="general")


def test_a_sample_that_turned_bad_is_replaced_by_the_next(originals, tmp_path):
    """Training goes on with batches of full size, a warning, and the other sample's own target."""
    folder, cache = tmp_path / "data", tmp_path / "cache"
    shutil.copytree(originals[0], folder)
    dataset = _folder(folder, cache)
    last, first = Path(dataset.samples[8][0]), Path(dataset.samples[0][0])
    last.write_bytes(last.read_bytes()[:500])
    with pytest.warns(RuntimeWarning, match="can no longer be loaded"):
        image, target = dataset[8]
    assert target == 0
    assert torch.equal(image, dataset[0][0])
    first.unlink()
    with pytest.warns(RuntimeWarning, match="can no longer be loaded"):
        assert torch.equal(dataset[8][0], dataset[1][0])
    strict = _folder(originals[0], originals[1], on_error="raise")
    strict.samples[0] = (str(first), 0)
    with pytest.raises(FileNotFoundError):
        strict[0]


def test_a_lost_disk_ends_the_training(originals):
    """Eleven samples in a row that are gone are no bad samples any more."""
    dataset = ValidatedImageDataset(list(originals[0].rglob("*.jpg")), min_score=0.0, cache=originals[1])
    dataset.samples = [(f"/nowhere/{number}.jpg", None) for number in range(50)]
    with pytest.raises(RuntimeError, match="is their disk or mount in order"), pytest.warns(RuntimeWarning):
        dataset[7]
    with pytest.raises(IndexError):
        dataset[50]


def test_a_mistake_in_a_transform_is_not_taken_for_a_bad_sample(originals):
    """Only loading is forgiven."""

    def broken(_image):
        raise ValueError("a bug of ours")

    with pytest.raises(ValueError, match="a bug of ours"):
        ValidatedImageDataset([originals[0] / "ant/deep/0.jpg"], broken, cache=originals[1])[0]


@pytest.mark.parametrize("names", [(), ("empty",)])
def test_a_folder_without_classes_or_images_is_an_error(tmp_path, names):
    """As in torchvision, a wrong path is told at once."""
    for name in names:
        (tmp_path / name).mkdir()
    with pytest.raises(FileNotFoundError, match=r"no class folder|no image of class empty"):
        ValidatedImageFolder(tmp_path, cache=tmp_path / "cache")


def test_a_single_path_is_no_list_of_paths(originals):
    """A string has letters, and none of them is an image."""
    path = originals[0] / "ant/deep/0.jpg"
    for one in (str(path), path, bytes(path)):
        with pytest.raises(TypeError, match="a list of paths"):
            ValidatedImageDataset(one, cache=originals[1])


def test_keeping_nothing_is_told_with_the_reasons(originals):
    """An empty dataset is no silent result: how many there were, and why none is kept."""
    with pytest.warns(UserWarning, match="none of 6 images was kept: 6 blurry"):
        assert len(ValidatedImageDataset(sorted((originals[0] / "cat").rglob("*.jpg")), cache=originals[1])) == 0
    with pytest.warns() as told:
        ValidatedImageDataset(["/nowhere.jpg"], cache="/dev/null/cache")
    assert [str(one.message).partition(" in /dev")[0] for one in told] == [
        "measurements cannot be kept",
        "none of 1 images was kept: 1 unreadable",
    ]
    assert {one.filename for one in told} == {__file__}


def test_files_that_only_torchvision_takes_are_named(originals, tmp_path):
    """Who moves from ImageFolder hears which of the files are not there any more."""
    root = shutil.copytree(originals[0] / "ant", tmp_path / "data/ant").parent
    Image.fromarray(photo(280, 200)).save(root / "ant/1.ppm")
    Image.fromarray(photo(280, 200)).convert("L").save(root / "ant/2.PGM")
    with pytest.warns(UserWarning, match=r"ImageFolder takes them: 1 \.pgm, 1 \.ppm"):
        assert len(ValidatedImageFolder(root, cache=tmp_path / "cache")) == 6


def test_which_files_count_and_empty_classes_are_as_in_torchvision(originals, tmp_path):
    """`is_valid_file` is asked of every file in place of its ending; `allow_empty` lets a class have none."""
    root = shutil.copytree(originals[0] / "ant", tmp_path / "data/ant").parent
    (root / "ant/deep/0.jpg").rename(root / "ant/deep/0.dat")
    (root / "bee").mkdir()
    with pytest.raises(FileNotFoundError, match="no image of class bee"):
        ValidatedImageFolder(root, cache=tmp_path / "cache")
    with pytest.warns(UserWarning, match="1 of 2 classes: bee"):
        found = ValidatedImageFolder(
            root,
            cache=tmp_path / "cache",
            allow_empty=True,
            is_valid_file=lambda path: path.endswith(("0.dat", "1.jpg")),
        )
    assert [Path(path).name for path, _ in found.samples] == ["0.dat", "1.jpg"]
    assert found.classes == ["ant", "bee"]


def test_a_file_that_was_overwritten_is_left_out(originals, tmp_path):
    """Nobody knows whether the new one is good: the next sample takes its place, or the error comes through."""
    root = shutil.copytree(originals[0] / "ant", tmp_path / "data/ant").parent
    dataset = ValidatedImageFolder(root, to_tensor, cache=tmp_path / "cache")
    Path(dataset.samples[0][0]).write_bytes(jpeg(blurred(photo(280, 200), 6)))
    with pytest.warns(RuntimeWarning, match="overwritten since it was judged"):
        assert torch.equal(dataset[0][0], dataset[1][0])
    strict = ValidatedImageFolder(root, to_tensor, cache=tmp_path / "cache", on_error="raise")
    assert len(strict) == 5  # a dataset that is made anew judges it
    Path(strict.samples[0][0]).write_bytes(jpeg(photo(280, 200, 9)))
    with pytest.raises(ChangedError, match="overwritten"):
        strict[0]


def test_a_backup_by_hard_links_changes_no_sample(originals, tmp_path):
    """A link more, another mode: the bytes are those that were judged, and a training does not lose its data."""
    root = shutil.copytree(originals[0] / "ant", tmp_path / "data/ant").parent
    dataset = ValidatedImageFolder(root, to_tensor, cache=tmp_path / "cache", on_error="raise")
    for path, _ in dataset.samples:
        os.link(path, f"{path}.backup")
        os.chmod(path, 0o600)
    assert len([image for image, _ in dataset]) == len(dataset.samples)


def test_v2_transforms_of_torchvision_may_wrap_it(originals):
    """Where torchvision is installed, it is an ImageFolder for everything that asks."""
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"needs torchvision, made for this torch: {error}")
    dataset = _folder(*originals)
    assert isinstance(dataset, datasets.ImageFolder)
    expected = dataset[0]
    wrapped = datasets.wrap_dataset_for_transforms_v2(dataset)
    image, target = wrapped[0]
    assert torch.equal(image, expected[0])
    assert (target, len(wrapped)) == (0, 9)
    assert "ValidatedImageFolder" in repr(_folder(*originals))


def test_an_unguarded_script_is_not_run_again(originals, tmp_path):
    """Measuring starts processes, and none of them imports the user's script or notebook."""
    script = tmp_path / "train.py"
    script.write_text(
        "print('begins')\n"
        "from imageguard_daemon.integrations.pytorch import ValidatedImageDataset\n"
        f"made = ValidatedImageDataset([{str(originals[0] / 'ant/deep/0.jpg')!r}], cache={str(tmp_path / 'c')!r})\n"
        "print(len(made))\n"
    )
    made = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert made.stdout.split() == ["begins", "1"]
