"""Verdicts on the data sets that people train on do not get worse unnoticed.

The committed figures are written by

    python -m bench.accuracy --datasets "$IMAGEGUARD_CORPUS/datasets" --hold tests/data/accuracy-figures.json
"""

import json
from pathlib import Path

import pytest

from bench.dataset_report import held
from bench.dataset_tally import dataset_figures, held_figures, worse
from bench.datasets import labels_sha256, measure_datasets, read_datasets
from bench.processes import processes
from tests.helpers.corpus import WHY_SKIPPED, corpus

ROOT = Path(__file__).resolve().parents[1]
DATASETS = corpus("datasets")
FIGURES = ROOT / "tests" / "data" / "accuracy-figures.json"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not (DATASETS / "labels.csv").is_file(), reason=WHY_SKIPPED)
def test_verdicts_on_data_sets_are_not_worse_than_the_committed_figures():
    """No set, standard size or soft source has more wrong verdicts than fits the interval of the committed count."""
    committed = json.loads(FIGURES.read_text(encoding="utf-8"))
    if committed["labels_sha256"] != labels_sha256(DATASETS):
        pytest.skip("the corpus has other labels than the committed figures are of")
    with processes(2) as run:
        measured = measure_datasets(read_datasets(DATASETS), run)
    assert worse(held_figures(dataset_figures(measured)), held(committed)) == []
