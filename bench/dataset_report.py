"""Figures of data sets for a person, for a program, and for the guard; pure."""

from collections.abc import Mapping
from typing import Any

from bench.dataset_tally import DataSetFigures, SetFigures, held_figures, in_words
from bench.tables import table
from bench.tally import Share
from imageguard_daemon.quality.version import SCORER_VERSION

_MOST_ISSUES = 3


def datasets_as_markdown(figures: DataSetFigures) -> str:
    """Give the tables."""
    parts = [
        table(("expect", "kind", "set", "wrong %", "borderline %", "n", "issues raised"), map(_row, figures.sets)),
        _pooled(figures),
    ]
    if any(share.trials for share in figures.crops.values()):
        parts.append("Everyday photos large enough: whole, and where accepted cropped to a square and resized:")
        parts.append(table(("preset", "side px", "rejected %", "n"), _sizes(figures)))
    if figures.soft:
        soft = [(name, one.rejected, one.missed, one.rejected.trials) for name, one in figures.soft.items()]
        parts.append("Soft sources, at thresholds from the other half of the set:")
        parts.append(table(("set", "rejected %", "blurred by 3 px more and accepted %", "n"), soft))
    return "\n\n".join(parts)


def _sizes(figures: DataSetFigures) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for preset, whole in figures.whole.items():
        rows.append((preset, "whole", whole, whole.trials))
        rows += [(of, side, share, share.trials) for (of, side), share in figures.crops.items() if of == preset]
    return rows


def _pooled(figures: DataSetFigures) -> str:
    everyday, good = figures.everyday, figures.good
    lines = [
        f"everyday photos rejected, %: {everyday} of {everyday.trials}; borderline, %: {figures.everyday_borderline}",
        f"wrong in all good sets, %: {good} of {good.trials}",
    ]
    return "\n".join(lines)


def _row(one: SetFigures) -> tuple[object, ...]:
    issues = ", ".join(f"{issue} {count}" for issue, count in one.issues[:_MOST_ISSUES])
    wrong = one.wrong if one.counted else f"({one.wrong})"
    return one.expect, one.kind, one.name, wrong, one.borderline, one.wrong.trials, issues or "-"


def datasets_as_json(figures: DataSetFigures) -> dict[str, Any]:
    """Give the same figures for a program; shares are 0 to 1, or null where nothing was tried."""
    return {
        "sets": [_set_as_dict(one) for one in figures.sets],
        "everyday_rejected": figures.everyday.as_dict(),
        "everyday_borderline": figures.everyday_borderline.as_dict(),
        "good_wrong": figures.good.as_dict(),
        "whole_rejected": {preset: share.as_dict() for preset, share in figures.whole.items()},
        "crops_rejected": {
            preset: {str(side): share.as_dict() for (of, side), share in figures.crops.items() if of == preset}
            for preset, _ in figures.crops
        },
        "soft": {
            name: {
                "thresholds": dict(one.thresholds),
                "rejected": one.rejected.as_dict(),
                "blurred_and_accepted": one.missed.as_dict(),
            }
            for name, one in figures.soft.items()
        },
    }


def _set_as_dict(one: SetFigures) -> dict[str, Any]:
    return {
        "expect": one.expect,
        "kind": one.kind,
        "set": one.name,
        "counted": one.counted,
        "wrong": one.wrong.as_dict(),
        "borderline": one.borderline.as_dict(),
        "issues": dict(one.issues),
    }


def figures_to_hold(figures: DataSetFigures, labels_sha256: str) -> dict[str, Any]:
    """Give what is committed for the guard: how many were wrong, of how many, and which labels said so."""
    shares = held_figures(figures)
    return {
        "scorer_version": SCORER_VERSION,
        "labels_sha256": labels_sha256,
        "wrong": {name: in_words(share) for name, share in shares.items()},
    }


def held(committed: Mapping[str, Any]) -> dict[str, Share]:
    """Read what `figures_to_hold` gave."""
    counts = {name: map(int, words.split(" of ")) for name, words in committed["wrong"].items()}
    return {name: Share(*count) for name, count in counts.items()}
