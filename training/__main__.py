"""python -m training --good FOLDER ... : make the readout from good photos, or go on with one; docs/training.md."""

import argparse
import hashlib
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np

from imageguard_daemon import __version__
from imageguard_daemon.core.errors import ImageguardError
from imageguard_daemon.core.files import NewFile
from imageguard_daemon.quality import network
from imageguard_daemon.quality.features.vector import NAMES
from imageguard_daemon.quality.network import Network, Panel
from imageguard_daemon.quality.readout import PANELS, TARGETS, panels_in
from imageguard_daemon.quality.version import SCORER_VERSION
from training import evaluation
from training.examples import Examples, Job, jobs, make_examples
from training.fitting import FROM_A_START, Settings, Taught, fit, rehearsed, weights

_LOG = logging.getLogger("training")
_FOLDS, _NETWORKS = 4, 4
_TEACHING = 2
"""How many times as much labelled pictures count when a network goes on from another one."""
_EPOCHS_HELP = f"times that each example is shown (default {Settings().epochs}, from --start {FROM_A_START.epochs})"
Starts = Sequence[Sequence[Network | None]]
"""For each panel, what each of its networks starts from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make examples, tell how good networks trained on three quarters of the pictures are on the rest, train on all."""
    parser = _options()
    options = parser.parse_args(arguments)
    if options.describe:
        return _describe(options.describe)
    if not (options.good or (options.start and options.labels)) or not options.out:
        parser.error("--good and --out are needed, or --start, --labels and --out, or --describe")
    if options.start and options.networks:
        parser.error("--networks are as many as the readout of --start has")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    usual = FROM_A_START if options.start else Settings()
    settings = replace(usual, epochs=options.epochs or usual.epochs)
    try:
        start = options.start.read_bytes() if options.start else None
        starts = _starts(options, start)
    except (OSError, ValueError) as error:
        sys.exit(f"python -m training: {error}")
    try:
        new = NewFile(options.out)  # before hours of work, not after
    except (OSError, ImageguardError) as error:
        sys.exit(f"python -m training: cannot write {options.out}: {error}")
    try:
        about = {"start_sha256": hashlib.sha256(start).hexdigest()} if start else {}
        _train(options, settings, starts, about, new)
    except BaseException:
        new.discard()
        raise
    return 0


def _starts(options: argparse.Namespace, start: bytes | None) -> Starts:
    """Give what each network of each panel starts from: those of a readout, or nothing."""
    if start is None:
        return [[None] * (options.networks or _NETWORKS) for _ in PANELS]
    return [panel.networks for panel in panels_in(start, str(options.start))]


def _train(
    options: argparse.Namespace, settings: Settings, starts: Starts, about: dict[str, str], new: NewFile
) -> None:
    try:
        listed = jobs(options.good, options.labels, options.per_photo, options.drawn, options.seed)
        listed = [job for job in listed if job.data_set not in options.without]
        examples = make_examples(listed, options.processes)
    except (OSError, ValueError) as error:
        sys.exit(f"python -m training: {error}")
    left_out = len(listed) - len(np.unique(examples.group))
    _LOG.info("%d examples of %d pictures; %d left out", len(examples.features), len(listed), left_out)
    _held_out(examples, settings, starts)
    panels = _trained(examples, np.ones(len(examples.group), bool), settings, starts)
    network.save(new.stream, panels, json.dumps(about | _about(options, listed, examples), default=str))
    new.keep()
    _LOG.info("wrote %s, %.0f kB", options.out, options.out.stat().st_size / 1e3)


def _about(options: argparse.Namespace, listed: Sequence[Job], examples: Examples) -> dict[str, object]:
    """Say how a readout is made, for --describe: the same command and pictures make the same again."""
    sets = Counter(job.data_set for job in listed if job.data_set)
    return {
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
    parser.add_argument("--good", type=Path, nargs="+", default=[], metavar="FOLDER", help="good photos, in any format")
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="real images with what is known of them (docs/training.md)"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="SET", help="sets, by the column `set`, that are left out to judge"
    )
    parser.add_argument(
        "--start",
        type=Path,
        metavar="FILE",
        help="go on from this readout, near to what it answers",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the readout goes, such as readout.npz")
    parser.add_argument(
        "--per-photo", type=int, default=70, metavar="N", help="examples made of each photo (default 70)"
    )
    parser.add_argument(
        "--drawn", type=int, default=60, metavar="N", help="pages, screens and other drawn scenes (default 60)"
    )
    parser.add_argument("--describe", type=Path, metavar="FILE", help="say how this readout was made, and end")
    parser.add_argument(
        "--networks",
        type=int,
        metavar="N",
        help=f"networks that are averaged (default {_NETWORKS}, or as in --start)",
    )
    parser.add_argument("--epochs", type=int, metavar="N", help=_EPOCHS_HELP)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N")
    return parser


def _trained(examples: Examples, rows: np.ndarray, settings: Settings, starts: Starts) -> list[Panel]:
    _LOG.info("training on %d examples", rows.sum())
    labelled = examples.kinds == "labelled"
    spans = ~labelled if not labelled.all() else ~np.zeros_like(labelled)
    made = []
    for (features, targets), begun in zip(PANELS, starts, strict=True):
        columns, told = np.isin(NAMES, features), [TARGETS.index(name) for name in targets]
        seen, networks = examples.features[rows][:, columns], []
        for seed, start in enumerate(begun):
            truths = examples.truths[rows].copy()
            if start:
                truths[:, told] = rehearsed(truths[:, told], start(seen), labelled[rows])
            weighed = weights(examples.features[rows], truths, labelled[rows])
            if start:
                weighed[labelled[rows]] *= _TEACHING  # nothing else is to change
            taught = Taught(seen, truths[:, told], weighed[:, told], spans[rows])
            networks.append(fit(taught, settings, seed, start))
        made.append(Panel(features, targets, tuple(networks)))
    return made


def _held_out(examples: Examples, settings: Settings, starts: Starts) -> None:
    held = examples.group % _FOLDS == 0
    if held.all() or not held.any():
        return
    found = np.zeros((held.sum(), len(TARGETS)), np.float32)
    for panel in _trained(examples, ~held, settings, [begun[:1] for begun in starts]):
        columns, told = np.isin(NAMES, panel.features), [TARGETS.index(name) for name in panel.targets]
        found[:, told] = panel.networks[0](examples.features[held][:, columns])
    for line in evaluation.lines(found, examples.truths[held]):
        _LOG.info("%s", line)


if __name__ == "__main__":
    sys.exit(main())
