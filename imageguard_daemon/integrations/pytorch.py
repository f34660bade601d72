"""PyTorch datasets of good images only: each file is judged once, not once per epoch.

    from imageguard_daemon.integrations.pytorch import ValidatedImageFolder

    training = ValidatedImageFolder("data/train", transform=transform)
    loader = torch.utils.data.DataLoader(training, batch_size=64, num_workers=8)

Needs torch; torchvision is not needed, but its transforms and what expects its `ImageFolder` work.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Unpack

from PIL import Image
from torch.utils.data import Dataset

from imageguard_daemon.config import Intake
from imageguard_daemon.core.errors import ChangedError
from imageguard_daemon.core.model import FileIdentity
from imageguard_daemon.core.names import printable
from imageguard_daemon.intake.rules.selection import Selection
from imageguard_daemon.integrations.verdicts import Judging, JudgingOptions, Verdict, verdicts_on
from imageguard_daemon.quality.decode import heif

try:
    from torchvision.datasets import ImageFolder as _Folder  # what expects one, as v2's wrapper does, gets one
except (ImportError, RuntimeError, OSError):  # not there, or made for another torch
    _Folder = Dataset

OnError = Literal["replace", "raise"]
_CANNOT_LOAD = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError, ChangedError)
"""What a loader says of a file that is gone, damaged or no image; and what is said here of one that was overwritten."""
_ENDINGS_OF_TORCHVISION = (".ppm", ".pgm")
"""Those that torchvision's ImageFolder takes, and nothing here judges."""
_MAX_REPLACED_IN_A_ROW = 10
_SELECTION = Selection.from_settings(Intake())
"""Names that the daemon leaves alone, trash cans for instance, are not classes and no images here either."""


def pil_loader(path: str) -> Image.Image:
    """Open an image as RGB, as torchvision's loader of this name does, and HEIC where the extra is installed."""
    if path.lower().endswith((".heic", ".heif")) and heif.is_available():
        with open(path, "rb") as file:
            opened: Image.Image = heif.opened_heic(file.read()).to_pillow()
            return opened.convert("RGB")
    with open(path, "rb") as file, Image.open(file) as image:
        return image.convert("RGB")


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that was left out: its overall score, what is wrong with it, and that in words."""

    path: str
    score: float
    reason: str
    detail: str


class _ValidatedImages(Dataset[Any]):
    """What both datasets share. Picklable, with nothing open: it works in workers of any start method."""

    def __init__(
        self,
        samples: Sequence[tuple[str, Any]],
        min_score: float,
        judging: Judging,
        *,
        loader: Callable[[str], Any],
        on_error: OnError,
    ) -> None:
        if not 0 <= min_score <= 1:
            raise ValueError(f"min_score must be within 0 and 1, not {min_score}")
        if on_error not in ("replace", "raise"):
            raise ValueError(f"on_error must be 'replace' or 'raise', not {on_error!r}")
        verdicts = verdicts_on([path for path, _ in samples], judging)
        self._states: dict[str, int | None] = {}
        self.samples: list[tuple[str, Any]] = []
        self.scores: list[float] = []
        self.rejected: list[Rejected] = []
        for sample, verdict in zip(samples, verdicts, strict=True):
            self._states[sample[0]] = _state_of(verdict)
            if _is_good(verdict, min_score):
                self.samples.append(sample)
                self.scores.append(verdict.score)
            else:
                self.rejected.append(Rejected(sample[0], verdict.score, verdict.reason, verdict.detail))
        self.loader = loader
        self._on_error = on_error
        self._warned: set[str] = set()
        if samples and not self.samples:
            reasons = Counter(rejected.reason or "below min_score" for rejected in self.rejected)
            message = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
            warnings.warn(f"none of {len(samples):,} images was kept: {message}", UserWarning, stacklevel=3)

    def __len__(self) -> int:
        return len(self.samples)

    def _load(self, index: int) -> tuple[Any, Any]:
        """Load a sample, or the next one that can be loaded in place of one that turned bad since it was judged."""
        if not -len(self.samples) <= index < len(self.samples):
            raise IndexError(f"index {index} is out of range for {len(self.samples)} images")
        for step in range(min(_MAX_REPLACED_IN_A_ROW, len(self.samples)) + 1):
            path, target = self.samples[(index + step) % len(self.samples)]
            try:
                self._require_unchanged(path)
                return self.loader(path), target
            except _CANNOT_LOAD as error:
                if self._on_error == "raise":
                    raise
                self._warn(path, error)
        raise RuntimeError(
            f"{printable(path)} and {_MAX_REPLACED_IN_A_ROW} samples before it can no longer be loaded; "
            "is their disk or mount in order?"
        )

    def _require_unchanged(self, path: str) -> None:
        """Leave out a file that is no longer the one that was judged: nobody knows whether it is good."""
        state = self._states.get(path)  # none of a path that the caller has put there
        if state is not None and state != _hash_of(FileIdentity.from_stat(os.stat(path))):
            raise ChangedError("it was overwritten since it was judged")

    def _warn(self, path: str, error: Exception) -> None:
        """Say once in each process that a sample is replaced."""
        if path not in self._warned:
            self._warned.add(path)
            message = f"{printable(path)} can no longer be loaded ({error}); the next sample takes its place"
            warnings.warn(message, RuntimeWarning, stacklevel=4)


def _state_of(verdict: Verdict) -> int | None:
    return None if verdict.identity is None else _hash_of(verdict.identity)


def _hash_of(identity: FileIdentity) -> int:
    """Give eight bytes for each of millions: of what a backup by hard links, a chmod and a remount leave as it is."""
    return hash((identity.inode, identity.size_bytes, identity.mtime_ns))


def _is_good(verdict: Verdict, min_score: float) -> bool:
    return verdict.is_readable and verdict.score >= min_score


class ValidatedImageDataset(_ValidatedImages):
    """The good images of a list of paths, in its order.

    An item is the image, after `transform`; with `targets`, one for each path, it is a pair of image and target.
    Kept is what could be measured and has an overall score of at least `min_score`: 0.5 is the line between accepted
    and rejected. `paths`, `scores` and `rejected` tell what was made of it. Further arguments are those of `Judging`:
    `preset`, `thresholds`, `cache`, `audit`, `workers`, `readout`.

    A sample that cannot be loaded any more is replaced by the next one, with a warning (`on_error="raise"` lets the
    error through); when eleven in a row are gone, a RuntimeError says so.

    Raises:
        TypeError, ValueError: an argument makes no sense.
        UnavailableError: the cache, the audit log or the measuring does not work.
    """

    def __init__(  # noqa: PLR0913 - torchvision's own datasets have as many
        self,
        paths: Sequence[str | os.PathLike[str]],
        transform: Callable[[Any], Any] | None = None,
        min_score: float = 0.5,
        *,
        targets: Sequence[Any] | None = None,
        loader: Callable[[str], Any] = pil_loader,
        on_error: OnError = "replace",
        **judging: Unpack[JudgingOptions],
    ) -> None:
        if isinstance(paths, str | bytes | os.PathLike):
            raise TypeError(f"paths must be a list of paths, not a single {type(paths).__name__}")
        names = [os.fsdecode(path) for path in paths]
        if targets is not None and len(targets) != len(names):
            raise ValueError(f"{len(targets)} targets for {len(names)} paths")
        samples = list(zip(names, targets if targets is not None else [None] * len(names), strict=True))
        super().__init__(samples, min_score, Judging(**judging), loader=loader, on_error=on_error)
        self.transform = transform
        self._has_targets = targets is not None

    @property
    def paths(self) -> list[str]:
        """The paths that were kept."""
        return [path for path, _ in self.samples]

    def __getitem__(self, index: int) -> Any:
        image, target = self._load(index)
        if self.transform is not None:
            image = self.transform(image)
        return (image, target) if self._has_targets else image


class ValidatedImageFolder(_ValidatedImages, _Folder):
    """The good images of a folder with a sub-folder for each class, as torchvision's `ImageFolder` is of all images.

    It has the attributes of `ImageFolder`: `root`, `classes`, `class_to_idx`, `samples`, `imgs`, `targets`, `loader`,
    `transform`, `target_transform`, `transforms`, and is one where torchvision is installed: its v2 transforms may wrap
    it. `classes` are all sub-folders, whether or not an image of theirs is good: the number of a class does not change
    with the images. `is_valid_file` and `allow_empty` are torchvision's. Otherwise it is like ValidatedImageDataset.

    Raises:
        FileNotFoundError: there is no such folder, no sub-folder, or (but for `allow_empty`) one without any image.
        ValueError, UnavailableError: as ValidatedImageDataset.
    """

    def __init__(  # noqa: PLR0913 - torchvision's own datasets have as many
        self,
        root: str | os.PathLike[str],
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        min_score: float = 0.5,
        *,
        loader: Callable[[str], Any] = pil_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
        on_error: OnError = "replace",
        **judging: Unpack[JudgingOptions],
    ) -> None:
        self.root = os.fsdecode(root)
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.is_valid_file = is_valid_file
        self._allow_empty = allow_empty
        super().__init__(self._found(), min_score, Judging(**judging), loader=loader, on_error=on_error)
        self.targets = [target for _, target in self.samples]
        self.imgs = self.samples
        self.transform = transform
        self.target_transform = target_transform
        self.transforms = _Transforms(transform, target_transform) if transform or target_transform else None
        self._warn_of_empty_classes()

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """Give the names of the sub-folders in order, and the number of each; may be overridden, as torchvision's."""
        with os.scandir(directory) as entries:
            classes = sorted(entry.name for entry in entries if entry.is_dir() and not _SELECTION.ignores(entry.name))
        if not classes:
            raise FileNotFoundError(f"there is no class folder in {printable(directory)}")
        return classes, {name: number for number, name in enumerate(classes)}

    def _found(self) -> list[tuple[str, int]]:
        samples = []
        others: Counter[str] = Counter()
        for name, number in self.class_to_idx.items():
            files = _files_below(os.path.join(self.root, name))
            images = [path for path in files if self._is_image(path, others)]
            if not images and not self._allow_empty:
                raise FileNotFoundError(f"there is no image of class {printable(name)} in {printable(self.root)}")
            samples += [(path, number) for path in images]
        if others:
            message = ", ".join(f"{count:,} {ending}" for ending, count in sorted(others.items()))
            warnings.warn(
                f"left out, though torchvision's ImageFolder takes them: {message}", UserWarning, stacklevel=3
            )
        return samples

    def _is_image(self, path: str, others: Counter[str]) -> bool:
        """Check whether a file is to be judged; endings that only torchvision knows are counted."""
        if self.is_valid_file is not None:
            return self.is_valid_file(path)
        ending = os.path.splitext(path)[1].lower()
        others.update([ending] if ending in _ENDINGS_OF_TORCHVISION else [])
        return _SELECTION.is_image(os.path.basename(path))

    def _warn_of_empty_classes(self) -> None:
        classes_with_images = set(self.targets)
        empty = [name for name, number in self.class_to_idx.items() if number not in classes_with_images]
        if classes_with_images and empty:  # of nothing at all there is a warning already
            message = f"no image was kept in {len(empty)} of {len(self.classes)} classes: "
            warnings.warn(message + ", ".join(map(printable, empty[:10])), UserWarning, stacklevel=3)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, target = self._load(index)
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target


@dataclass(frozen=True, slots=True)
class _Transforms:
    """Both transforms as one, as torchvision's datasets have them."""

    transform: Callable[[Any], Any] | None
    target_transform: Callable[[Any], Any] | None

    def __call__(self, image: Any, target: Any) -> tuple[Any, Any]:
        """Apply both."""
        return (
            image if self.transform is None else self.transform(image),
            target if self.target_transform is None else self.target_transform(target),
        )


def _files_below(folder: str) -> list[str]:
    """Give the files of a class in a fixed order. Links to files count, links to folders are not entered."""
    files = []
    for place, folders, names in os.walk(folder):
        # In place: `os.walk` goes on with what is left in the list. Sorted, as the system has no order of its own.
        folders[:] = sorted(name for name in folders if not _SELECTION.ignores(name))
        files += [os.path.join(place, name) for name in sorted(names) if not _SELECTION.ignores(name)]
    return files
