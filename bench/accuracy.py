"""How well verdicts match the truth, on your own photos.

    python -m bench.accuracy --good FOLDER... --labelled PLACE... --json FILE
    python -m bench.accuracy --datasets FOLDER --hold FILE

Good photos are scaled to a long side of 640 px and damaged at random
strengths; bench/kinds.py has the kinds, and from which strength on they are
harmless or fatal. Labelled images are judged as they are; what is expected of
them is the folder they lie in, or the column `label` (beside `path`) of a
CSV file, with colons for slashes:

    good/night           must be accepted
    bad/blurry/motion    must be rejected with the issue blurry; `motion`
                         only names a group
    not/noisy/crops      must not be called noisy

Data sets are images of many sources in one folder; its `labels.csv` says
of each which set it is from and what should become of it
(bench/datasets.py). Printed are, for each set, how many were judged wrong
(in parentheses where that is only shown) or borderline, and the issues;
how many everyday photos that are large enough each preset rejects whole,
and how many of those that it accepts it rejects cropped to the usual sizes
of training; and whether soft sources can be calibrated. --hold writes what
may not become worse, for tests/test_accuracy_guard.py.

Printed of good photos are, at the thresholds of the default preset,

    recall       fatal damage: a right issue was raised
    reason       fatal damage: the reason is a right issue
    false alarm  harmless damage: an issue that the undamaged photo has not
    rank         Spearman's correlation of score and strength in each photo,
                 averaged
    n            fatal / harmless copies

and how often both of two faults are raised, JPEG qualities are found to 1,
and undamaged photos are rejected. Shares are in per cent, with their 95 %
interval (Wilson) in brackets.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.accuracy_report import Results, as_json, as_markdown
from bench.dataset_report import datasets_as_json, datasets_as_markdown, figures_to_hold
from bench.dataset_tally import dataset_figures
from bench.datasets import labels_sha256, measure_datasets, read_datasets
from bench.labelled import Label, LayoutError, images_below, read_labelled
from bench.processes import Run, processes
from bench.trials import draw, judge, judge_good, try_photo

UNDAMAGED_FOR_EACH = 10
"""Judging a photo as it is costs little: ten for each that is damaged, since few rejections are looked for."""


def measure(
    good: Sequence[Path], labelled: Sequence[tuple[Path, Label]], options: argparse.Namespace, run: Run
) -> Results:
    """Try and judge photos and labelled images."""
    damaged = draw(list(good), options.photos, options.seed)
    undamaged = draw(list(good), options.photos * UNDAMAGED_FOR_EACH, options.seed)
    tried = run("photos damaged", try_photo, [(path, options.seed) for path in damaged])
    judged = run("photos as they are", judge_good, undamaged)
    return Results(
        seed=options.seed,
        photos=[photo for photo in tried if photo is not None],
        unreadable=judged.count(None),
        undamaged=[image for image in judged if image is not None],
        labelled=run("labelled images", judge, labelled),
    )


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; ends with a message for one that makes no sense."""
    parser = argparse.ArgumentParser(
        "python -m bench.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--good", type=Path, nargs="+", default=[], metavar="FOLDER", help="undamaged good photos")
    parser.add_argument("--labelled", type=Path, nargs="+", default=[], metavar="PLACE", help="CSV files or folders")
    parser.add_argument("--datasets", type=Path, metavar="FOLDER", help="a folder with a labels.csv of data sets")
    parser.add_argument("--photos", type=int, default=40, help="how many good photos are damaged (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other photos and damage (default 1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--hold", type=Path, metavar="FILE", help="write there what may not become worse of data sets")
    options = parser.parse_args(arguments)
    if not options.good and not options.labelled and not options.datasets:
        parser.error("give at least one of --good, --labelled and --datasets")
    if options.hold and not options.datasets:
        parser.error("--hold needs --datasets")
    if min(options.photos, options.workers) < 1 or options.seed < 0:
        parser.error("--photos and --workers are at least 1, --seed at least 0")
    for place in (*options.good, *options.labelled, *filter(None, [options.datasets])):
        if not place.exists():
            parser.error(f"there is no {place}")
    for target in filter(None, [options.json, options.hold]):
        if not target.parent.is_dir():
            parser.error(f"there is no folder {target.parent}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parsed(arguments)
    good = [path for folder in options.good for path in images_below(folder)]
    if options.good and not good:
        sys.exit("there are no files in the folders of good photos")
    try:
        labelled = [image for place in options.labelled for image in read_labelled(place)]
        listed = read_datasets(options.datasets) if options.datasets else []
    except LayoutError as error:
        sys.exit(str(error))
    with processes(options.workers) as run:
        results = measure(good, labelled, options, run)
        sets = dataset_figures(measure_datasets(listed, run))
    print(as_markdown(results), *([datasets_as_markdown(sets)] if listed else []), sep="\n\n")
    if options.json:
        _write(options.json, {**as_json(results), "datasets": datasets_as_json(sets)})
    if options.hold:
        _write(options.hold, figures_to_hold(sets, labels_sha256(options.datasets)))


def _write(target: Path, figures: dict[str, object]) -> None:
    target.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
