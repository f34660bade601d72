"""A log of real verdicts that came at invented times: `python -m bench.real_log JUDGED.jsonl FOLDER`.

    imageguard-daemon scan SETS --jsonl judged.jsonl
    python -m bench.real_log judged.jsonl LOG --kinds SETS/labels.csv
    imageguard-daemon report --db LOG/audit.db

SETS has a folder for each data set. Its name is the class of its images; their source is what the CSV file (columns
`set` and `kind`) calls it, up to a colon. Images come in the order of their names, as neighbours share a scene, ten at
a time: each delivery has a day and an hour of its own.
"""

import argparse
import csv
import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from imageguard_daemon.audit.writer import AuditWriter
from imageguard_daemon.batch.judging import MEASURES
from imageguard_daemon.core.model import (
    SCORE_NAMES,
    Candidate,
    Decision,
    FileIdentity,
    Intent,
    JudgedFile,
    Measurement,
    Measures,
    Outcome,
)

BEGIN = datetime(2025, 3, 3, tzinfo=UTC)
A_DELIVERY = 10
_HOURS = (6, 20)
_ROOT = Path("/srv/ingest")
Row = Mapping[str, Any]


def deliveries(rows: Iterable[Row], days: int, seed: int = 1) -> list[tuple[datetime, Sequence[Row]]]:
    """Give when which images come."""
    rng = np.random.default_rng(seed)
    by_class: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_class[row["class"]].append(row)
    made = []
    for _, images in sorted(by_class.items()):
        ordered = sorted(images, key=lambda one: str(one["relative_path"]))
        for at in range(0, len(ordered), A_DELIVERY):
            moment = BEGIN + timedelta(days=int(rng.integers(days)), hours=int(rng.integers(*_HOURS)))
            made.append((moment, ordered[at : at + A_DELIVERY]))
    return sorted(made, key=lambda one: one[0])


def write(folder: Path, rows: Iterable[Row], sources: Mapping[str, str], days: int) -> int:
    """Write the log, which must not be there yet, and say how many images it has."""
    folder.mkdir(parents=True)
    moment, numbers = [BEGIN], itertools.count(1)
    writer = AuditWriter(folder / "audit.db", _ROOT, now=lambda: moment[0])
    for at, part in deliveries(rows, days):
        moment[0] = at
        judged = [_judged(row, sources.get(row["class"], "other"), next(numbers)) for row in part]
        recorded = writer.record_intents(judged)
        writer.record_outcomes([Outcome(image.intent_id, "moved") for image, *_ in recorded])
    writer.close()
    return next(numbers) - 1


def _judged(row: Row, source: str, number: int) -> JudgedFile:
    measured = {name: row[name] for name in MEASURES} if row["blur_sigma_px"] is not None else {}
    scores = {name: row[name] if measured else 0.0 for name in SCORE_NAMES}
    decision = Decision(
        *(row["score"], tuple(row["issues"]), scores, measured, row["preset"], {}),
        *(row["scorer_version"], row["detail"], row["borderline"]),
    )
    filed = "accepted" if row["verdict"] == "accepted" else "quarantine"
    identity = FileIdentity(1, number, row["size_bytes"] or 0, 1, 1)
    name = str(row["relative_path"])
    intent = Intent("image", str(_ROOT / "inbox" / name), str(_ROOT / filed / name), row["sha256"], identity)
    measurement = Measurement(
        row["sha256"],
        Measures(**measured) if measured else None,
        issue="" if measured else row["reason"],
        camera=row["camera"],
    )
    return JudgedFile(Candidate(source, name), row["class"], measurement, decision, (intent,))


def rows_in(judged: Path) -> Iterator[Row]:
    """Yield what `scan --jsonl` wrote."""
    with judged.open() as lines:
        for line in lines:
            yield json.loads(line)


def sources_in(kinds: Path) -> dict[str, str]:
    """Give the source of each data set."""
    with kinds.open(newline="") as lines:
        return {row["set"]: row["kind"].partition(":")[2] or row["kind"] for row in csv.DictReader(lines)}


def main() -> None:
    """Write a log."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("judged", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kinds", type=Path)
    parser.add_argument("--days", type=int, default=60)
    asked = parser.parse_args()
    number = write(asked.folder, rows_in(asked.judged), sources_in(asked.kinds) if asked.kinds else {}, asked.days)
    print(f"{number:,} images over {asked.days} days in {asked.folder / 'audit.db'}")


if __name__ == "__main__":
    main()
