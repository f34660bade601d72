"""How well verdicts match the truth, on your own photos.

    python -m bench.accuracy --good FOLDER... --labelled PLACE... --json FILE

Good photos are scaled to a long side of 640 px and damaged at random
strengths; bench/kinds.py has the kinds, and from which strength on they are
harmless or fatal. Labelled images are judged as they are; what is expected of
them is the folder they lie in, or the column `label` (beside `path`) of a
CSV file, with colons for slashes:

    good/night           must be accepted
    bad/blurry/motion    must be rejected with the issue blurry; `motion`
                         only names a group
    not/noisy/crops      must not be called noisy

Printed are, at the thresholds of the default preset,

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
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench.accuracy_report import Results, as_json, as_markdown
from bench.labelled import Label, LayoutError, images_below, read_labelled
from bench.trials import draw, judge, judge_good, prepare, try_photo

UNDAMAGED_FOR_EACH = 10
"""Judging a photo as it is costs little: ten for each that is damaged, since few rejections are looked for."""


def measure(good: Sequence[Path], labelled: Sequence[tuple[Path, Label]], options: argparse.Namespace) -> Results:
    """Try and judge everything in `options.workers` processes."""
    damaged = draw(list(good), options.photos, options.seed)
    undamaged = draw(list(good), options.photos * UNDAMAGED_FOR_EACH, options.seed)
    # Started afresh: a forked process may hang on a lock that a thread of OpenCV held.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=context, initializer=prepare) as pool:

        def run(what: str, work: Callable[[Any], Any], jobs: Sequence[Any]) -> list[Any]:
            return list(_reported(what, pool.map(work, jobs), len(jobs)))

        tried = run("photos damaged", try_photo, [(path, options.seed) for path in damaged])
        judged = run("photos as they are", judge_good, undamaged)
        return Results(
            seed=options.seed,
            photos=[photo for photo in tried if photo is not None],
            unreadable=judged.count(None),
            undamaged=[image for image in judged if image is not None],
            labelled=run("labelled images", judge, labelled),
        )


def _reported(what: str, results: Iterator[Any], total: int) -> Iterator[Any]:
    """Pass results on, telling a person at a terminal how many there are."""
    for number, result in enumerate(results, 1):
        if sys.stderr.isatty():
            print(f"\r{what}: {number} of {total} ", end="" if number < total else "\n", file=sys.stderr, flush=True)
        yield result


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; ends with a message for one that makes no sense."""
    parser = argparse.ArgumentParser(
        "python -m bench.accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--good", type=Path, nargs="+", default=[], metavar="FOLDER", help="undamaged good photos")
    parser.add_argument("--labelled", type=Path, nargs="+", default=[], metavar="PLACE", help="CSV files or folders")
    parser.add_argument("--photos", type=int, default=40, help="how many good photos are damaged (default 40)")
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other photos and damage (default 1)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes (default: one for each core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    options = parser.parse_args(arguments)
    if not options.good and not options.labelled:
        parser.error("give --good, --labelled or both")
    if min(options.photos, options.workers) < 1 or options.seed < 0:
        parser.error("--photos and --workers are at least 1, --seed at least 0")
    for place in (*options.good, *options.labelled):
        if not place.exists():
            parser.error(f"there is no {place}")
    if options.json and not options.json.parent.is_dir():
        parser.error(f"there is no folder {options.json.parent}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    options = parsed(arguments)
    good = [path for folder in options.good for path in images_below(folder)]
    if options.good and not good:
        sys.exit("there are no files in the folders of good photos")
    try:
        labelled = [image for place in options.labelled for image in read_labelled(place)]
    except LayoutError as error:
        sys.exit(str(error))
    results = measure(good, labelled, options)
    print(as_markdown(results))
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
