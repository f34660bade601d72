"""A decision as a person wants to read it, and as a spreadsheet does."""

import csv
import io
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imageguard_daemon.core.model import SCORE_NAMES, Decision, Measures
from imageguard_daemon.core.names import inert, printable
from imageguard_daemon.quality.scoring import ACCEPTED_FROM, rounded, scores_by_threshold
from imageguard_daemon.reporting.text import measured_in_words


def verdict_panel(name: str, decision: Decision) -> RenderableType:
    """Show one decision: the file, the verdict in words, and a row for each signal with what was measured."""
    verdict = Text("  ")
    verdict.append(decision.verdict, "green" if decision.ok else "red")
    verdict.append(f"  score {rounded(decision.score, ACCEPTED_FROM, 2):.2f}")
    if not decision.ok:
        verdict.append(f"  {', '.join(decision.issues)}", "yellow")
    if decision.borderline:
        verdict.append("  borderline", "yellow")
    parts = [Text(name, "bold"), verdict]
    if decision.detail:
        parts.append(Text(f"  {printable(decision.detail)}"))
    if not decision.measures:
        return Group(*parts, Text())
    return Group(*parts, _signal_table(decision), Text())


def _signal_table(decision: Decision) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("")
    table.add_column("measured")
    table.add_column("score", justify="right")
    table.add_column("needed", justify="right")
    measured = measured_in_words(Measures(**decision.measures))  # type: ignore[arg-type]
    for name, score in scores_by_threshold(decision.scores, decision.measures).items():
        signal, needed = name.removesuffix("_score"), decision.thresholds[name]
        told = f"{rounded(score, needed):.0f}"
        table.add_row(signal, measured[signal], told, f"{needed:g}", style="red" if score < needed else "")
    return table


def verdicts_csv(decisions: Mapping[str, Decision]) -> str:
    """Write one row for each decision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "verdict", "score", "reason", "issues", *SCORE_NAMES, "detail"])
    for name, decision in decisions.items():
        scores = [rounded(decision.scores[one], decision.thresholds[one], 1) for one in SCORE_NAMES]
        row = [
            name,
            decision.verdict,
            rounded(decision.score, ACCEPTED_FROM, 3),
            decision.reason,
            " ".join(decision.issues),
            *scores,
        ]
        writer.writerow([inert(str(cell)) for cell in (*row, printable(decision.detail))])
    return text.getvalue()
