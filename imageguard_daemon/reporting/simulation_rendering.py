"""A simulation as a table for people, a dictionary for JSON, and CSV for spreadsheets."""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.core.tables import csv_text, safe_cell
from imageguard_daemon.quality.scoring import score_and_threshold
from imageguard_daemon.reporting.rendering import number_columns, plain_table, scope_in_words
from imageguard_daemon.reporting.simulation import Change, Example, Simulation
from imageguard_daemon.reporting.text import percent, shown

CLASSES_SHOWN = 20
CSV_COLUMNS = ("group", "key", "total", "rejected_before", "rejected_after", "newly_rejected", "newly_accepted")


def simulation_as_dict(simulation: Simulation, rules: str) -> dict[str, Any]:
    """Give the simulation in the documented form of `--format json`."""
    return {
        "rules": rules,
        **_numbers(simulation.overall),
        "classes": [{"key": key, **_numbers(change)} for key, change in _most_changed(simulation)],
        "reasons_before": dict(simulation.reasons_before.most_common()),
        "reasons_after": dict(simulation.reasons_after.most_common()),
        "kept": dict(simulation.kept.most_common()),
        "unreadable": simulation.unreadable,
        "other_scorer_versions": dict(simulation.other_versions.most_common()),
        "scorer_version": simulation.scorer_version,
        "examples": {
            "newly_rejected": [_example_as_dict(example) for example in simulation.newly_rejected],
            "newly_accepted": [_example_as_dict(example) for example in simulation.newly_accepted],
        },
    }


def simulation_as_csv(simulation: Simulation) -> str:
    """Give one line for all images, one for each class and one for each reason."""
    return csv_text(CSV_COLUMNS, _csv_rows(simulation))


def _csv_rows(simulation: Simulation) -> Iterator[tuple[object, ...]]:
    yield "all", "", *_numbers(simulation.overall).values()
    for key, change in _most_changed(simulation):
        yield "class", safe_cell(key), *_numbers(change).values()
    for reason in _reasons(simulation):
        counts = simulation.reasons_before[reason], simulation.reasons_after[reason]
        yield "reason", safe_cell(reason), simulation.overall.total, *counts, "", ""


def simulation_as_table(simulation: Simulation, rules: str, scope: Scope) -> RenderableType:
    """Give the simulation for a terminal or a pipe; names are text and never markup."""
    overall = simulation.overall
    where = scope_in_words(scope)
    if not overall.total:
        return Text(f"No decisions {where}. A simulation needs images that were judged and moved.")
    images = "decision" if overall.total == 1 else "decisions"
    parts: list[RenderableType] = [
        Text(f"{overall.total:,} {images} {where}, judged again by {rules}"),
        *(Text(line) for line in _totals(overall)),
        *(Text(line) for line in _remarks(simulation)),
    ]
    if _reasons(simulation):
        parts += [Text(), _reason_table(simulation)]
    if any(change.newly_rejected or change.newly_accepted for change in simulation.classes.values()):
        parts += [Text(), *_class_table(simulation)]
    parts += _examples("Newest that would be quarantined", simulation.newly_rejected)
    parts += _examples("Newest that would be accepted", simulation.newly_accepted)
    return Group(*parts)


def _numbers(change: Change) -> dict[str, int]:
    return {
        "total": change.total,
        "rejected_before": change.before,
        "rejected_after": change.after,
        "newly_rejected": change.newly_rejected,
        "newly_accepted": change.newly_accepted,
    }


def _example_as_dict(example: Example) -> dict[str, Any]:
    return {
        "id": example.id,
        "source": example.source,
        "class": example.class_name,
        "relative_path": example.relative_path,
        "reason_before": example.reason_before,
        "reason_after": example.reason_after,
        "scores": dict(example.scores),
        "thresholds": dict(example.thresholds),
    }


def _most_changed(simulation: Simulation) -> list[tuple[str, Change]]:
    return sorted(
        simulation.classes.items(),
        key=lambda item: (-item[1].newly_rejected - item[1].newly_accepted, -item[1].total, item[0]),
    )


def _reasons(simulation: Simulation) -> list[str]:
    """Give the reasons, those that change most first."""
    before, after = simulation.reasons_before, simulation.reasons_after
    return sorted(before | after, key=lambda reason: (-abs(after[reason] - before[reason]), -after[reason], reason))


def _totals(overall: Change) -> Iterator[str]:
    for when, rejected in (("as decided", overall.before), ("then", overall.after)):
        accepted = overall.total - rejected
        rate = percent(rejected / overall.total)
        yield f"{when}: {accepted:,} accepted, {rejected:,} quarantined ({rate})"
    yield (
        f"{overall.newly_rejected:,} accepted ones would be quarantined, "
        f"{overall.newly_accepted:,} quarantined ones accepted"
    )


def _remarks(simulation: Simulation) -> Iterator[str]:
    if simulation.kept:
        reasons = ", ".join(f"{count:,} {shown(reason)}" for reason, count in simulation.kept.most_common())
        yield f"{simulation.kept.total():,} keep their verdict, since nothing could be measured: {reasons}"
    if simulation.unreadable:
        yield f"{simulation.unreadable:,} keep their verdict, since their scores or thresholds cannot be read"
    if simulation.other_versions:
        ranked = simulation.other_versions.most_common()
        versions = ", ".join(f"{count:,} of version {shown(name)}" for name, count in ranked)
        yield (
            f"{simulation.other_versions.total():,} were scored by another version than today's "
            f"({shown(simulation.scorer_version)}): {versions}; measured again they may differ"
        )
        if any("+" in name for name in simulation.other_versions) and "+" not in simulation.scorer_version:
            yield "what stands behind a + is the hash of a readout; --config names the one that is in force"


def _reason_table(simulation: Simulation) -> Table:
    table = plain_table("reason")
    table.columns[0].min_width = 14
    number_columns(table, "was", "then", "change")
    for reason in _reasons(simulation):
        before = simulation.reasons_before[reason]
        after = simulation.reasons_after[reason]
        table.add_row(
            Text(shown(reason)), f"{before:,}", f"{after:,}", f"{after - before:+,}" if after != before else ""
        )
    return table


def _class_table(simulation: Simulation) -> Iterator[RenderableType]:
    table = plain_table("class")
    number_columns(table, "images", "was", "then", "+", "-")
    changed = [item for item in _most_changed(simulation) if item[1].newly_rejected or item[1].newly_accepted]
    for key, change in changed[:CLASSES_SHOWN]:
        counts = (change.total, change.before, change.after, change.newly_rejected, change.newly_accepted)
        table.add_row(Text(shown(key)), *(f"{count:,}" for count in counts))
    yield Text("Quarantined, by class: + newly so, - no more")
    yield table
    hidden = max(0, len(changed) - CLASSES_SHOWN)
    unchanged = len(simulation.classes) - len(changed)
    if hidden:
        yield Text(f"and {hidden:,} more classes (--format csv has all)")
    if unchanged:
        yield Text(f"{unchanged:,} {'class' if unchanged == 1 else 'classes'} without a change")


def _examples(title: str, examples: Sequence[Example]) -> list[RenderableType]:
    if not examples:
        return []
    bullets = Table.grid(padding=(0, 1, 0, 0))
    for example in examples:
        bullets.add_row("-", Text(f"{_name(example)}: {_why(example)}", overflow="fold"))
    return [Text(), Text(title, "bold"), bullets]


def _name(example: Example) -> str:
    return shown(example.relative_path) if example.relative_path else f"decision {example.id} (archived)"


def _why(example: Example) -> str:
    if not example.reason_after:
        return f"was {shown(example.reason_before)}"
    low = (score_and_threshold(name, score, example.thresholds[name]) for name, score in example.low.items())
    return f"{example.reason_after} ({'; '.join(low)})"
