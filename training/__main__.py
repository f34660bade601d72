"""python -m training --good FOLDER ... : make the readout anew from good photos; docs/training.md explains."""

import argparse
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path

import numpy as np

from imageguard_daemon import __version__
from imageguard_daemon.errors import ImageguardError
from imageguard_daemon.quality import network
from imageguard_daemon.quality.features import NAMES
from imageguard_daemon.quality.network import Panel
from imageguard_daemon.quality.readout import PANELS, TARGETS
from imageguard_daemon.quality.version import SCORER_VERSION
from imageguard_daemon.writing import NewFile
from training import evaluation
from training.examples import Examples, Job, jobs, make_examples
from training.fitting import Settings, Taught, fit, weights

_LOG = logging.getLogger("training")
_FOLDS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Make examples, tell how good networks trained on three quarters of the pictures are on the rest, train on all."""
    parser = _options()
    options = parser.parse_args(arguments)
    if options.describe:
        return _describe(options.describe)
    if not (options.good and options.out):
        parser.error("--good and --out are needed, or --describe")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings = Settings(epochs=options.epochs)
    try:
        new = NewFile(options.out)  # before hours of work, not after
    except (OSError, ImageguardError) as error:
        sys.exit(f"python -m training: cannot write {options.out}: {error}")
    try:
        _train(options, settings, new)
    except BaseException:
        new.discard()
        raise
    return 0


def _train(options: argparse.Namespace, settings: Settings, new: NewFile) -> None:
    try:
        listed = jobs(options.good, options.labels, options.per_photo, options.drawn, options.seed)
        listed = [job for job in listed if job.data_set not in options.without]
        examples = make_examples(listed, options.processes)
    except (OSError, ValueError) as error:
        sys.exit(f"python -m training: {error}")
    left_out = len(listed) - len(np.unique(examples.group))
    _LOG.info("%d examples of %d pictures; %d left out", len(examples.features), len(listed), left_out)
    _held_out(examples, settings)
    everything = np.ones(len(examples.group), bool)
    panels = _trained(examples, everything, settings, range(options.networks))
    network.save(new.stream, panels, _about(options, listed, examples))
    new.keep()
    _LOG.info("wrote %s, %.0f kB", options.out, options.out.stat().st_size / 1e3)


def _about(options: argparse.Namespace, listed: Sequence[Job], examples: Examples) -> str:
    """Say how a readout is made, for --describe: the same command and pictures make the same again."""
    sets = Counter(job.data_set for job in listed if job.data_set)
    told = {
        "command": {name: value for name, value in vars(options).items() if name not in {"describe", "out"}},
        "versions": {
            "imageguard-daemon": __version__,
            "scorer": SCORER_VERSION,
            **{name: metadata.version(name) for name in ("numpy", "opencv-python-headless", "pillow", "simplejpeg")},
        },
        "data": {
            "pictures": len(listed),
            "left_out": len(listed) - len(np.unique(examples.group)),
            "examples": len(examples.features),
            "examples_by_kind": dict(sorted(Counter(map(str, examples.kinds)).items())),
            "pictures_by_set": dict(sorted(sets.items())),
        },
    }
    return json.dumps(told, default=str)


def _describe(path: Path) -> int:
    try:
        with path.open("rb") as file:
            told = network.about(file)
        words = json.dumps(json.loads(told), indent=2) if told else "nothing is said of how it was made"
    except (OSError, ValueError) as error:
        sys.exit(f"python -m training: {path}: {error}")
    sys.stdout.write(f"{words}\n")
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("--good", type=Path, nargs="+", metavar="FOLDER", help="good photos, in any format")
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="real images with what is known of them (docs/training.md)"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="SET", help="sets, by the column `set`, that are left out to judge"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the readout goes, such as readout.npz")
    parser.add_argument(
        "--per-photo", type=int, default=70, metavar="N", help="examples made of each photo (default 70)"
    )
    parser.add_argument(
        "--drawn", type=int, default=60, metavar="N", help="pages, screens and other drawn scenes (default 60)"
    )
    parser.add_argument("--describe", type=Path, metavar="FILE", help="say how this readout was made, and end")
    parser.add_argument("--networks", type=int, default=4, metavar="N", help="networks that are averaged (default 4)")
    parser.add_argument("--epochs", type=int, default=Settings().epochs, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    return parser


def _trained(examples: Examples, rows: np.ndarray, settings: Settings, seeds: Iterable[int]) -> list[Panel]:
    _LOG.info("training on %d examples", rows.sum())
    labelled = examples.kinds == "labelled"
    weighed = weights(examples.features, examples.truths, labelled)
    spans = ~labelled if not labelled.all() else ~np.zeros_like(labelled)
    made = []
    for features, targets in PANELS:
        columns, told = np.isin(NAMES, features), [TARGETS.index(name) for name in targets]
        taught = Taught(
            examples.features[rows][:, columns], examples.truths[rows][:, told], weighed[rows][:, told], spans[rows]
        )
        made.append(Panel(features, targets, tuple(fit(taught, settings, seed) for seed in seeds)))
    return made


def _held_out(examples: Examples, settings: Settings) -> None:
    held = examples.group % _FOLDS == 0
    if held.all() or not held.any():
        return
    found = np.zeros((held.sum(), len(TARGETS)), np.float32)
    for panel in _trained(examples, ~held, settings, range(1)):
        columns, told = np.isin(NAMES, panel.features), [TARGETS.index(name) for name in panel.targets]
        found[:, told] = panel.networks[0](examples.features[held][:, columns])
    for line in evaluation.lines(found, examples.truths[held]):
        _LOG.info("%s", line)


if __name__ == "__main__":
    sys.exit(main())
