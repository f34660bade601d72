"""`python -m bench.fuzz SECONDS`: coverage-guided fuzzing of the decode path; needs `pip install atheris`.

Whatever is no `Measurement`, an unexpected exception inside it included, is a finding: it stops the run, and the
input is written beside it.
"""

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["imageguard_daemon", "PIL"]):
    from imageguard_daemon.quality.decode.decoder import Limits
    from imageguard_daemon.quality.measurement import measure_bytes, prepare_worker

from bench.mutants import good_files

LIMITS = Limits(max_pixels=200_000, max_bytes=1 << 20)
LONGEST_BYTES = 40_000


def one_input(data: bytes) -> None:
    """Measure one input."""
    found = measure_bytes(data, LIMITS)
    if found.detail.startswith("could not be measured"):
        raise AssertionError(found.detail)


def main() -> None:
    """Fuzz for so many seconds, from good files."""
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("seconds", type=int)
    parser.add_argument("--corpus", type=Path, help="keep here what reaches new code, to go on from another time")
    chosen = parser.parse_args()
    logging.disable(logging.ERROR)
    prepare_worker()
    with tempfile.TemporaryDirectory(prefix="imageguard-fuzz-") as folder:
        for number, (suffix, data) in enumerate(good_files()):
            Path(folder, f"{number}.{suffix}").write_bytes(data)
        options = [
            f"-max_total_time={chosen.seconds}",
            f"-max_len={LONGEST_BYTES}",
            "-timeout=20",
            "-rss_limit_mb=4096",
        ]
        kept = [str(chosen.corpus)] if chosen.corpus else []
        atheris.Setup([sys.argv[0], *options, *kept, folder], one_input)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
