"""python -m training --good FOLDER ... : make the readout anew from good photos; docs/training.md explains."""

import argparse
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from imageguard_daemon.quality import network
from imageguard_daemon.quality.features import NAMES
from imageguard_daemon.quality.network import Panel
from imageguard_daemon.quality.readout import PANELS, TARGETS
from training import evaluation
from training.examples import Examples, jobs, make_examples
from training.fitting import Settings, Taught, fit, weights

_LOG = logging.getLogger("training")
_FOLDS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Make examples, tell how good networks trained on three quarters of the pictures are on the rest, train on all."""
    options = _options().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    settings = Settings(epochs=options.epochs)
    try:
        listed = jobs(options.good, options.labels, options.per_photo, options.drawn, options.seed)
        listed = [job for job in listed if job.data_set not in options.without]
        examples = make_examples(listed, options.processes)
    except (OSError, ValueError) as error:
        sys.exit(f"python -m training: {error}")
    _LOG.info("%d examples of %d pictures", len(examples.features), len(listed))
    _held_out(examples, settings)
    everything = np.ones(len(examples.group), bool)
    panels = _trained(examples, everything, settings, range(options.networks))
    with options.out.open("wb") as file:
        network.save(file, panels)
    _LOG.info("wrote %s, %.0f kB", options.out, options.out.stat().st_size / 1e3)
    return 0


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument(
        "--good", type=Path, nargs="+", required=True, metavar="FOLDER", help="good photos, in any format"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="CSV", help="real images with what is known of them (docs/training.md)"
    )
    parser.add_argument(
        "--without", nargs="+", default=[], metavar="SET", help="sets, by the column `set`, that are left out to judge"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="where the readout goes, such as readout.npz"
    )
    parser.add_argument(
        "--per-photo", type=int, default=70, metavar="N", help="examples made of each photo (default 70)"
    )
    parser.add_argument(
        "--drawn", type=int, default=60, metavar="N", help="pages, screens and other drawn scenes (default 60)"
    )
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
