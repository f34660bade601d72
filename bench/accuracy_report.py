"""Figures of accuracy for a person and for a program; pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.kinds import KINDS
from bench.tables import table
from bench.tally import (
    KindFigures,
    Share,
    as_expected,
    by_label,
    issues_raised,
    kind_figures,
    pair_shares,
    quality_share,
    too_small,
)
from bench.trials import Judged, PhotoTrials
from imageguard_daemon.core.names import printable
from imageguard_daemon.quality.version import SCORER_VERSION


@dataclass(frozen=True, slots=True)
class Results:
    """All that was tried and judged; `unreadable` counts files among the good photos that are no images."""

    seed: int
    photos: Sequence[PhotoTrials]
    unreadable: int
    undamaged: Sequence[Judged]
    labelled: Sequence[Judged]


def as_markdown(results: Results) -> str:
    """Give the tables."""
    head = f"scorer version {SCORER_VERSION}, {len(results.photos)} photos damaged, seed {results.seed}"
    if results.unreadable:
        head += f"\n{results.unreadable} of the files drawn passed over: no image that Pillow can open"
    parts = [head]
    if results.photos:
        parts += [_kinds_table(results.photos), _pairs_table(results.photos)]
        parts.append(f"JPEG quality from standard tables found to 1, %: {quality_share(results.photos)}")
    if results.undamaged:
        parts.append(_undamaged(results.undamaged))
    if results.labelled:
        parts.append(_labelled_table(results.labelled))
    return "\n\n".join(parts)


def _kinds_table(photos: Sequence[PhotoTrials]) -> str:
    head = ("kind", "recall %", "reason %", "false alarm %", "rank", "n")
    return table(head, [_kind_row(name, kind_figures(name, photos)) for name in KINDS])


def _kind_row(name: str, found: KindFigures) -> tuple[str, ...]:
    rank = "-" if found.rank_correlation is None else f"{found.rank_correlation:.3f}"
    counts = f"{found.recall.trials}/{found.false_alarms.trials}"
    return name, str(found.recall), str(found.reason_right), str(found.false_alarms), rank, counts


def _pairs_table(photos: Sequence[PhotoTrials]) -> str:
    shares = pair_shares(photos)
    total = Share(sum(share.hits for share in shares.values()), sum(share.trials for share in shares.values()))
    rows = [(" + ".join(pair), share, share.trials) for pair, share in shares.items()]
    return table(("two faults", "both raised %", "n"), [*rows, ("all pairs", total, total.trials)])


def _undamaged(judged: Sequence[Judged]) -> str:
    small = too_small(judged)
    large = [image for image in judged if image not in small]
    rejected = [image for image in large if image.issues]
    lines = [
        f"undamaged good photos rejected, %: {Share(len(rejected), len(large))} of {len(large)}{_counts(rejected)}"
    ]
    if small:
        lines.append(f"not counted, as their width x height is below the threshold: {len(small)}")
    lines += [f"  {printable(image.path)}: {', '.join(sorted(image.issues))}" for image in rejected]
    return "\n".join(lines)


def _counts(judged: Sequence[Judged]) -> str:
    counts = ", ".join(f"{issue} {count}" for issue, count in issues_raised(judged))
    return f" ({counts})" if counts else ""


def _labelled_table(judged: Sequence[Judged]) -> str:
    rows = []
    for label, images in by_label(judged).items():
        issues = ", ".join(f"{issue} {count}" for issue, count in issues_raised(images)[:4])
        rows.append((label, as_expected(images), len(images), issues or "-"))
    return table(("label", "as expected %", "n", "issues raised"), rows)


def as_json(results: Results) -> dict[str, object]:
    """Give the same figures for a program; shares are 0 to 1, or null where nothing was tried."""
    kinds = {name: kind_figures(name, results.photos) for name in KINDS}
    small = too_small(results.undamaged)
    large = [image for image in results.undamaged if image not in small]
    return {
        "scorer_version": SCORER_VERSION,
        "seed": results.seed,
        "photos": len(results.photos),
        "kinds": {name: _kind_as_dict(found) for name, found in kinds.items()},
        "two_faults": {" + ".join(pair): share.as_dict() for pair, share in pair_shares(results.photos).items()},
        "jpeg_quality_exact_to_1": quality_share(results.photos).as_dict(),
        "undamaged_rejected": {
            **Share.of(bool(image.issues) for image in large).as_dict(),
            "too_small_to_count": len(results.undamaged) - len(large),
            "images": {image.path: sorted(image.issues) for image in large if image.issues},
        },
        "labelled": {
            label: {
                **as_expected(images).as_dict(),
                "issues": dict(issues_raised(images)),
                "otherwise": {i.path: sorted(i.issues) for i in images if not i.label.met_by(i.issues)},
            }
            for label, images in by_label(results.labelled).items()
        },
    }


def _kind_as_dict(found: KindFigures) -> dict[str, object]:
    return {
        "recall": found.recall.as_dict(),
        "reason_right": found.reason_right.as_dict(),
        "false_alarms": found.false_alarms.as_dict(),
        "rank_correlation": found.rank_correlation,
        "photos_ranked": found.photos,
    }
