"""A decision as a person wants to read it, and as a spreadsheet does."""

import csv
import io
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from imageguard_daemon.model import SCORE_NAMES, SIGNALS, Decision, Signal
from imageguard_daemon.names import printable
from imageguard_daemon.quality.scoring import SCALES


def verdict_panel(name: str, decision: Decision) -> RenderableType:
    """Show one decision: a headline, and a row for each signal with what was measured."""
    headline = Text()
    headline.append(name, "bold")
    headline.append("  ")
    headline.append(decision.verdict, "green" if decision.ok else "red")
    headline.append(f"  score {decision.score:.2f}")
    if decision.issues:
        headline.append(f"  {', '.join(decision.issues)}", "yellow")
    if not decision.measures:
        return Group(headline, Text(f"  {printable(decision.detail)}"), Text())
    return Group(headline, _signal_table(decision), Text())


def _signal_table(decision: Decision) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("")
    table.add_column("measured")
    table.add_column("score", justify="right")
    table.add_column("needed", justify="right")
    for signal in SIGNALS:
        score, needed = decision.scores[f"{signal}_score"], decision.thresholds[f"{signal}_score"]
        style = "red" if score < needed else ""
        table.add_row(signal, _measured(signal, decision), f"{score:.0f}", f"{needed:g}", style=style)
    return table


def _measured(signal: Signal, decision: Decision) -> str:
    scales = [scale for scale in SCALES if scale.signal == signal]
    return ", ".join(f"{scale.wording} {scale.phrase(decision.measures[scale.measure])}" for scale in scales)


def verdicts_csv(decisions: Mapping[str, Decision]) -> str:
    """Write one row for each decision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "verdict", "score", "reason", "issues", *SCORE_NAMES, "detail"])
    for name, decision in decisions.items():
        scores = [round(decision.scores[score_name], 1) for score_name in SCORE_NAMES]
        row = [
            name,
            decision.verdict,
            round(decision.score, 3),
            decision.reason,
            " ".join(decision.issues),
            *scores,
        ]
        writer.writerow([_inert(str(cell)) for cell in (*row, printable(decision.detail))])
    return text.getvalue()


def _inert(cell: str) -> str:
    """Keep a spreadsheet from taking a file's name for a formula."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell
