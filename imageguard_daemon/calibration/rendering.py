"""A proposal as YAML for the configuration, as a preview for people, and as JSON and CSV; what it rests on in a log."""

import json
import string
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imageguard_daemon.calibration.proposal import Missed, Proposal, Share
from imageguard_daemon.calibration.samples import Collection, Sample
from imageguard_daemon.core.model import Decision
from imageguard_daemon.core.names import printable
from imageguard_daemon.core.tables import csv_text
from imageguard_daemon.quality.policy import thresholds_for
from imageguard_daemon.quality.scoring import LIMITS, SCALES, score_and_threshold, scores_by_threshold
from imageguard_daemon.reporting.simulation import Simulation
from imageguard_daemon.reporting.text import limit_percent, percent, shown

NAMES_SHOWN = 5
_COMMENT_WIDTH = 78
_PLAIN = frozenset(string.ascii_letters + "._-")
"""Letters of which a name means itself in YAML; digits alone would be a number."""
_SIGNALS = tuple(name.removesuffix("_score") for name in LIMITS)
CSV_COLUMNS = (
    *("signal", "preset_threshold", "threshold", "unit", "preset_limit", "limit"),
    *("good_rejected", "bad_rejected", "preset_good_rejected", "preset_bad_rejected"),
)


def as_yaml(proposal: Proposal, source: str = "default") -> str:
    """Give a complete configuration: what differs from the defaults is one source with its thresholds."""
    rejected = proposal.rejected(proposal.thresholds, proposal.good)
    lines = [
        f"# Calibrated on {_images(rejected.total, 'good')}{_and_bad(proposal)}, scorer {proposal.scorer_version}:",
        f"# rejects {_share(rejected)} of the good ones (limit {limit_percent(proposal.max_reject)}).",
        *(f"# {line}" for text in (*_held(proposal), *_checks_off(proposal)) for line in _wrapped(text)),
        "sources:",
        f"  - name: {json.dumps(printable(source)) if set(source) - _PLAIN else source}",
        f"    preset: {proposal.preset_name}",
        "    thresholds:",
    ]
    for index, name in enumerate(LIMITS):
        threshold, preset = proposal.thresholds[index], proposal.preset[index]
        told = "as in the preset" if threshold == preset else f"{_limit(index, threshold)}; the preset has {preset:g}"
        why = "" if proposal.held else ": good images go down to 0"
        told = f"never an issue{why}; the preset has {preset:g}" if threshold == 0 else told
        lines.append(f"      {name}: {threshold}  # {told}")
    return "\n".join(lines) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)


def as_dict(proposal: Proposal) -> dict[str, Any]:
    """Give the proposal in the form of `--format json`: rates are 0 to 1, nothing is rounded but thresholds."""
    thresholds, preset = proposal.thresholds, proposal.preset
    return {
        "preset": proposal.preset_name,
        "scorer_version": proposal.scorer_version,
        "max_reject": proposal.max_reject,
        "thresholds": dict(zip(LIMITS, thresholds, strict=True)),
        "good": _folder(proposal.good) | _both(proposal, proposal.good),
        "bad": _folder(proposal.bad) | _both(proposal, proposal.bad),
        "expected_good_rejected": _share_as_dict(proposal.expected),
        "held": _held_as_dict(proposal),
        "signals": [dict(zip(CSV_COLUMNS, row, strict=True)) for row in _rows(proposal)],
        "rejected_good": [
            {
                "path": printable(sample.name),
                "score": decision.score,
                "issues": list(decision.issues),
                "detail": decision.detail,
                "scores": dict(decision.scores),
            }
            for sample, decision in proposal.rejected_good
        ],
        "missed_bad": [
            {"signal": miss.signal, "images": miss.images, "threshold": miss.threshold, "cost": miss.cost}
            for miss in proposal.missed
        ],
        "preset_thresholds": dict(zip(LIMITS, preset, strict=True)),
        "switched_off": [
            {
                "threshold": off.name,
                "value": off.threshold,
                "images": len(off.images),
                "lowest": [{"path": printable(name), "score": score} for name, score in off.images[:NAMES_SHOWN]],
            }
            for off in proposal.switched_off
        ],
    }


def as_csv(proposal: Proposal) -> str:
    """Give one line for each signal."""
    return csv_text(CSV_COLUMNS, _rows(proposal))


def as_preview(proposal: Proposal) -> RenderableType:
    """Show what the proposal would reject beside what the preset rejects, for a terminal or a pipe."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("signal", overflow="fold")
    for name in ("preset", "proposed", "good", "bad") if proposal.bad.samples else ("preset", "proposed", "good"):
        table.add_column(name, justify="right", no_wrap=True)
    for index, signal in enumerate(_SIGNALS):
        threshold = proposal.thresholds[index]
        counts = [f"{proposal.rejected_by(index, threshold, c):,}" for c in _folders(proposal)]
        table.add_row(signal, f"{proposal.preset[index]:g}", f"{threshold:g}", *counts)
    together = [f"{proposal.rejected(proposal.thresholds, c).images:,}" for c in _folders(proposal)]
    table.add_row("rejected", "", "", *together, style="bold")
    return Group(
        *map(Text, _what_was_measured(proposal)),
        Text(),
        Text("Thresholds, and how many images each of them rejects by itself"),
        table,
        Text(),
        *map(Text, _totals(proposal)),
        *_rejected_good(proposal.rejected_good),
        *_missed(proposal),
    )


def warnings(proposal: Proposal) -> Iterator[str]:
    """Say what makes the result less than it seems."""
    yield from _checks_off(proposal)
    good, needed = len(proposal.good.samples), proposal.images_for_certainty
    if good < needed:
        limit = limit_percent(proposal.max_reject)
        yield f"{_images(good, 'good')} cannot show a rate below {limit}; it takes {needed:,} or more"
    if proposal.good.contradictions:
        names = _list([printable(name) for name in proposal.good.contradictions])
        yield f"{_images(len(proposal.good.contradictions))} in both folders, counted in neither: {names}"
    if proposal.good.unmeasured:
        named = [f"{printable(n)} ({printable(why)})" for n, why in proposal.good.unmeasured.items()]
        yield (
            f"{_images(len(named), 'good')} cannot be measured and would be rejected whatever the thresholds are; "
            f"not counted: {_list(named)}"
        )


def _checks_off(proposal: Proposal) -> Iterator[str]:
    for off in proposal.switched_off:
        if not off.images:
            yield (
                f"{off.name} {off.threshold:g} switches this check off: there are fewer images than it takes to hold "
                "it higher"
            )
            continue
        named = _list([f"{printable(name)} ({score:.1f})" for name, score in off.images])
        yield (
            f"{off.name} {off.threshold:g} switches this check off; {_images(len(off.images), 'good')} "
            f"{'forces' if len(off.images) == 1 else 'force'} it, with their scores: {named}. If they are not "
            "good, take them out, or give them up by a larger --max-reject"
        )


def _folders(proposal: Proposal) -> list[Collection]:
    return [proposal.good, proposal.bad] if proposal.bad.samples else [proposal.good]


def _what_was_measured(proposal: Proposal) -> Iterator[str]:
    for kind, collection in (("good", proposal.good), ("bad", proposal.bad)):
        total = len(collection.samples)
        if kind == "bad" and not total and not collection.unmeasured:
            return
        parts = [f"{total:,} {kind} images measured"]
        if collection.duplicates:
            parts.append(f"{len(collection.duplicates):,} with equal content left out")
        if collection.unmeasured:
            parts.append(f"{len(collection.unmeasured):,} that cannot be measured left out")
        yield ", ".join(parts)


def _totals(proposal: Proposal) -> Iterator[str]:
    for who, thresholds in (
        (f"preset {proposal.preset_name}", proposal.preset),
        ("proposed", proposal.thresholds),
    ):
        good = proposal.rejected(thresholds, proposal.good)
        line = f"{who}: rejects {_share(good)} of the good images, {_interval(good)}"
        if proposal.bad.samples:
            line += f"; catches {_share(proposal.rejected(thresholds, proposal.bad))} of the bad ones"
        yield line
    if proposal.held:
        yield from _held(proposal)
        return
    yield (
        f"of new good images like these, expect {percent(proposal.expected.rate)} to be rejected, "
        f"{_interval(proposal.expected)} (leave-one-out)"
    )


def _held(proposal: Proposal) -> Iterator[str]:
    if held := proposal.held:
        yield (
            f"of new good images like these at most {limit_percent(proposal.max_reject)} are rejected, with "
            f"{limit_percent(held.confidence)} confidence: {_share(held.checked)} of those that the thresholds were "
            "not chosen from"
        )


def _rejected_good(rejected: list[tuple[Sample, Decision]]) -> Iterator[RenderableType]:
    if not rejected:
        return
    yield Text()
    shown = f", the worst {NAMES_SHOWN}" if len(rejected) > NAMES_SHOWN else ""
    yield Text(f"Good images that would be rejected{shown}", "bold")
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for sample, decision in rejected[:NAMES_SHOWN]:
        bullets.add_row("-", Text(f"{printable(sample.name)}: {_why(decision)}", overflow="fold"))
    yield bullets


def _why(decision: Decision) -> str:
    low = [
        score_and_threshold(name, score, decision.thresholds[name])
        for name, score in scores_by_threshold(decision.scores, decision.measures).items()
        if score < decision.thresholds[name]
    ]
    return f"{decision.detail} ({'; '.join(low)})"


def _missed(proposal: Proposal) -> Iterator[RenderableType]:
    caught = proposal.rejected(proposal.thresholds, proposal.bad)
    if caught.images == caught.total:
        return
    yield Text()
    yield Text(f"{caught.total - caught.images:,} of {caught.total:,} bad images would be accepted", "bold")
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for missed in proposal.missed:
        bullets.add_row("-", Text(_nearest(missed)))
    yield bullets


def _nearest(missed: Missed) -> str:
    price = f"rejects {_images(missed.cost, 'further good')}" if missed.cost else "rejects no further good image"
    return (
        f"{missed.images:,} nearest in {missed.signal}: {missed.signal}_score {missed.threshold:g} catches the first "
        f"and {price}"
    )


def _rows(proposal: Proposal) -> Iterator[tuple[object, ...]]:
    for index, (signal, scale) in enumerate(zip(_SIGNALS, SCALES, strict=True)):
        pair = proposal.preset[index], proposal.thresholds[index]
        yield (
            signal,
            *pair,
            scale.unit,
            *(scale.limit(score) * scale.factor for score in pair),
            *(proposal.rejected_by(index, pair[1], folder) for folder in (proposal.good, proposal.bad)),
            *(proposal.rejected_by(index, pair[0], folder) for folder in (proposal.good, proposal.bad)),
        )


def _folder(collection: Collection) -> dict[str, Any]:
    return {
        "measured": len(collection.samples),
        "duplicates": [printable(name) for name in collection.duplicates],
        "in_both_folders": [printable(name) for name in collection.contradictions],
        "unmeasured": {printable(name): printable(why) for name, why in collection.unmeasured.items()},
    }


def _both(proposal: Proposal, collection: Collection) -> dict[str, Any]:
    return {
        "rejected": _share_as_dict(proposal.rejected(proposal.thresholds, collection)),
        "rejected_by_preset": _share_as_dict(proposal.rejected(proposal.preset, collection)),
    }


def _held_as_dict(proposal: Proposal) -> dict[str, Any] | None:
    held = proposal.held
    if held is None:
        return None
    rejected, images = held.checked.images, held.checked.total
    return {
        "confidence": held.confidence,
        "checked_rejected": rejected,
        "checked": images,
        "chosen_from": held.chosen_from,
    }


def _share_as_dict(share: Share) -> dict[str, float]:
    low, high = share.interval
    return {"images": share.images, "total": share.total, "rate": share.rate, "low": low, "high": high}


def _limit(index: int, threshold: float) -> str:
    scale = SCALES[index]
    return f"{scale.wording} {scale.phrase(scale.limit(threshold))}"


def _and_bad(proposal: Proposal) -> str:
    total = len(proposal.bad.samples)
    return f" and {total:,} bad ones" if total else ""


def _images(count: int, kind: str = "") -> str:
    return f"{count:,} {kind} {'image' if count == 1 else 'images'}".replace("  ", " ")


def _share(share: Share) -> str:
    return f"{share.images:,} of {share.total:,} ({percent(share.rate)})"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"95 % interval {percent(low)} to {percent(high)}"


def _list(words: list[str]) -> str:
    more = len(words) - NAMES_SHOWN
    return ", ".join(words[:NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


# --- of a log


@dataclass(frozen=True, slots=True)
class FromLog:
    """A proposal made from a log: what it was made from, what it would have decided, and what to do next.

    `measured` images were in scope, of which `sampled` were read; the other counts say why images were left out.
    """

    source: str
    measured: int
    sampled: int
    released: int
    unmeasured: Mapping[str, int]
    other_versions: Mapping[str, int]
    unreadable: int
    simulation: Simulation
    commands: tuple[str, ...]


def changed(proposal: Proposal) -> dict[str, float]:
    """Give the thresholds that differ from the preset's, by name, as `--set` takes them."""
    preset = thresholds_for(proposal.preset_name)
    proposed = dict(zip(LIMITS, proposal.thresholds, strict=True))
    return {name: value for name, value in proposed.items() if value != preset[name]}


def next_commands(proposal: Proposal, log: str, files: str, scope: str) -> tuple[str, ...]:
    """Give the commands that try the proposal and release what it accepts.

    `log` and `files` are the arguments by which they find the log and the images, the latter empty where a log has
    none; `scope` are the options that say which decisions.
    """
    sets = (f"--set {name}={value:g}" for name, value in changed(proposal).items())
    rules = " ".join((scope, f"--preset {proposal.preset_name}", *sets))
    simulate = f"imageguard-daemon simulate {log} {rules}"
    return (simulate, f"imageguard-daemon rejudge {files} {rules}") if files else (simulate,)


def log_in_words(origin: FromLog) -> Iterator[str]:
    """Say what the proposal rests on, for people."""
    yield (
        f"{origin.measured:,} images of source '{shown(origin.source)}' in the log; all that nobody rejected, or "
        "confirmed as rejected, are taken as good"
    )
    if origin.sampled < origin.measured:
        yield f"{origin.sampled:,} of them were read, spread evenly"
    if origin.released:
        yield f"{origin.released:,} of them were released or approved by people"
    if origin.unmeasured:
        reasons = ", ".join(f"{n:,} {shown(reason)}" for reason, n in Counter(origin.unmeasured).most_common())
        yield f"left out, since nothing could be measured: {reasons}"
    if origin.other_versions:
        versions = ", ".join(f"{n:,} by version {shown(v)}" for v, n in Counter(origin.other_versions).most_common())
        yield f"left out, since another scorer measured them: {versions}"
    if origin.unreadable:
        yield f"left out, since their scores cannot be read: {origin.unreadable:,}"


def log_as_dict(origin: FromLog) -> dict[str, Any]:
    """Give what it rests on in the form of `--format json`."""
    overall = origin.simulation.overall
    return {
        "source": origin.source,
        "measured": origin.measured,
        "sampled": origin.sampled,
        "released_by_people": origin.released,
        "unmeasured": dict(Counter(origin.unmeasured).most_common()),
        "other_scorer_versions": dict(Counter(origin.other_versions).most_common()),
        "unreadable": origin.unreadable,
        "total": overall.total,
        "rejected_before": overall.before,
        "rejected_after": overall.after,
        "newly_rejected": overall.newly_rejected,
        "newly_accepted": overall.newly_accepted,
        "reasons_before": dict(origin.simulation.reasons_before.most_common()),
        "reasons_after": dict(origin.simulation.reasons_after.most_common()),
        "commands": list(origin.commands),
    }
