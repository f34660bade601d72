"""Whatever bytes a name has, no output of it steers a terminal, runs in a spreadsheet or forges a line."""

import csv
import io
import json
import logging
import os
from dataclasses import replace

import structlog
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from imageguard_daemon.audit.counts import Scope
from imageguard_daemon.batch.judging import Rules, judge, real_name, row_of
from imageguard_daemon.batch.outputs import CsvForm, JsonlForm
from imageguard_daemon.batch.scan_summary import Summary, Totals, as_json, as_summary
from imageguard_daemon.calibration import rendering as calibration
from imageguard_daemon.calibration.proposal import make_proposal
from imageguard_daemon.calibration.samples import collect
from imageguard_daemon.cli.daemon import _as_csv as status_as_csv
from imageguard_daemon.cli.scan import verdict_panel, verdicts_csv
from imageguard_daemon.config import Reporting
from imageguard_daemon.core import logs
from imageguard_daemon.core.model import Measurement
from imageguard_daemon.core.names import inert, is_text, live, printable
from imageguard_daemon.quality.policy import decide, thresholds_for
from imageguard_daemon.reporting import simulation_rendering as simulation
from imageguard_daemon.reporting.rendering import as_csv, as_dict, as_table
from imageguard_daemon.reporting.simulation import Rules as OtherRules
from imageguard_daemon.verification import discrepancies as verification
from imageguard_daemon.verification.discrepancies import Discrepancy, Kind
from tests.helpers.simulations import simulated
from tests.unit.reporting.test_rendering import report_on
from tests.unit.reporting.test_simulation import GOOD, SOFT, row

NASTY = [
    "\x1b]0;owned\x07",
    "\x1b[2J",
    "=1+1",
    "@SUM(A1)",
    "\uff1d1",
    "-2",
    "+3",
    "\r\nforged",
    "\u2028",
    "\u202e",
    "[red]",
    "<b>",
]
NAMES = st.one_of(
    st.binary(min_size=1, max_size=255).filter(lambda raw: b"/" not in raw and b"\0" not in raw).map(os.fsdecode),
    st.lists(st.sampled_from([*NASTY, "a", " "]), min_size=1, max_size=4).map("".join),
).filter(lambda name: name not in {".", ".."})  # which name folders, and nothing in one
LIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
REJECTED = decide(Measurement("0" * 64, issue="corrupt", detail="x\x1b[31m"), "general", thresholds_for("general"))


def _harmless(text: str) -> None:
    """Nothing but printable characters, in lines."""
    assert all(line.isprintable() for line in text.split("\n")), repr(text)
    text.encode()


def _on_terminal(content: object) -> str:
    out = io.StringIO()
    Console(file=out, width=60, highlight=False, markup=False, emoji=False).print(content)
    return out.getvalue()


def _cells(text: str) -> list[str]:
    _harmless(text)
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def _is_inert(cell: str) -> bool:
    return not cell.lstrip(" ").startswith(LIVE) or cell.replace(".", "", 1).lstrip("-").isdigit()


@given(NAMES)
def test_check_is_safe_to_show_and_to_open(name: str) -> None:
    """`check`: table and CSV."""
    _harmless(_on_terminal(verdict_panel(printable(name), REJECTED)))
    assert all(map(_is_inert, _cells(verdicts_csv({printable(name): REJECTED}))))


class Terminal(io.BytesIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@given(NAMES, NAMES)
def test_names_in_results_are_those_of_the_files(name: str, folder: str) -> None:
    """CSV and JSON lines: whatever bytes a name has, it is there as it is or, and then that is said, escaped."""
    path = f"{folder}/{name}"
    measurement = Measurement("0" * 64, issue="corrupt", detail="x", camera=folder)
    row = row_of(judge(name, path, measurement, Rules("general", thresholds_for("general"))))
    table, lines = io.BytesIO(), io.BytesIO()
    form = CsvForm(table)
    form.write(row)
    form.finish()
    JsonlForm(lines).write(row)
    read = json.loads(lines.getvalue())
    (cells,) = csv.DictReader(io.StringIO(table.getvalue().decode(), newline=""))
    assert all(map(_is_inert, cells.values()))
    for column, wanted in (("path", name), ("relative_path", path)):
        assert real_name(read, column) == wanted
        assert os.path.normpath(real_name(cells | {"names_escaped": cells["names_escaped"] == "true"}, column)) == (
            os.path.normpath(wanted)
        )
    assert real_name(read, "class") == folder
    assert live(cells["class"]) == read["class"]
    if is_text(path):
        assert (read["path"], read["relative_path"], read["class"]) == (name, path, folder)


@given(NAMES, NAMES)
def test_scans_are_safe_to_show_and_to_open(name: str, folder: str) -> None:
    """`scan`: CSV and JSON lines on a terminal, and the summary, for any name of a file and of its class."""
    measurement = Measurement("0" * 64, issue="corrupt", detail="x\x1b[31m", camera=folder)
    row = row_of(judge(name, f"{folder}/{name}", measurement, Rules("general", thresholds_for("general"))))
    table, lines, totals = Terminal(), io.BytesIO(), Totals()
    form = CsvForm(table)
    form.write(row)
    form.finish()
    JsonlForm(lines).write(row)
    totals.add(row)
    assert all(map(_is_inert, _cells(table.getvalue().decode())))
    assert json.loads(lines.getvalue()) == row
    _harmless(lines.getvalue().decode())
    summary = Summary(
        printable(folder), totals, totals.report(Reporting()), 0, {}, {}, is_complete=True, scorer_version="7", code=""
    )
    _harmless(_on_terminal(as_summary(summary)))
    _harmless(json.dumps(as_json(summary), ensure_ascii=False))


@given(NAMES)
def test_reports_are_safe_to_show_and_to_open(name: str) -> None:
    """`report`: table, CSV and JSON, for a class as the log has it."""
    report = report_on((printable(name), 40, 30), ("cat", 50, 1))
    _harmless(_on_terminal(as_table(report)))
    assert all(map(_is_inert, _cells(as_csv(report))))
    _harmless(json.dumps(as_dict(report), ensure_ascii=False))


@given(NAMES, NAMES)
def test_verify_is_safe_to_show_and_to_open(name: str, other: str) -> None:
    """`verify`: rows as CSV and JSON, also for paths that are not absolute."""
    found = [Discrepancy(Kind.relocated, "moved", name, "decisions 1", other)]
    assert all(map(_is_inert, _cells("".join(verification.csv_lines(found)))))
    _harmless(json.dumps(found[0].as_dict(), ensure_ascii=False))
    _harmless(_on_terminal(verification._line(found[0])))


@given(NAMES)
def test_status_is_safe_to_show_and_to_open(name: str) -> None:
    """`status`: names of files left in the inbox and left behind, as CSV."""
    failure = {"relative_path": printable(name), "error": "no", "given_up": True, "attempts": 1}
    daemon = {"accepted": 0, "quarantined": 0, "updated_at": "2026-01-01T00:00:00+00:00", "backlog": 0}
    daemon |= {"images_per_second": 0.0, "sources": [], "failures": [failure], "confinement_lacks": [printable(name)]}
    daemon |= {"configuration_refused": printable(name), "log_unsafe_because": printable(name), "process_id": 1}
    daemon |= {"left_open": 1, "left_open_examples": [printable(name)]}
    inbox = {
        "path": printable(name),
        "there": len(name) > 1,
        "waiting": 0,
        "left": {"link": 1},
        "examples": {"link": [printable(name)]},
    }
    forwarding = {"state": "waiting", "host": printable(name), "database": "d", "records_behind": 2, "odd_records": 1}
    forwarding |= {"oldest_behind_at": "", "last_error": printable(name), "failing_since": "", "next_attempt_at": ""}
    forwarding["updated_at"] = daemon["updated_at"]
    found = {"root": "/r", "running": True, "process_id": 1, "daemon": daemon, "inboxes": {"default": inbox}}
    found["forwarding"] = forwarding
    found["last_end"] = {"process_id": 1, "exit_code": 65, "why": printable(name), "at": "2026-01-02T00:00:00+00:00"}
    found["waiting_for"] = {"source": printable(name), "since": "", "waiting_for": printable(name)}
    assert all(map(_is_inert, _cells(status_as_csv(found))))


@given(NAMES)
def test_simulate_is_safe_to_show_and_to_open(name: str) -> None:
    """`simulate`: table, CSV and JSON, for a class and a path as the log has them."""
    changed = row(1, SOFT, class_name=printable(name), relative_path=printable(name))
    made = simulated([changed, row(2, GOOD)], OtherRules({"blur_score": 60.0}))
    _harmless(_on_terminal(simulation.simulation_as_table(made, "blur_score=60", Scope())))
    assert all(map(_is_inert, _cells(simulation.simulation_as_csv(made))))
    _harmless(json.dumps(simulation.simulation_as_dict(made, "x"), ensure_ascii=False))


@given(NAMES, NAMES)
def test_calibrate_is_safe_to_show_and_to_open(name: str, other: str) -> None:
    """`calibrate`: preview, warnings, YAML, CSV and JSON, for paths as the file system has them."""
    sharp, soft = Measurement("", GOOD), Measurement("soft", SOFT)
    measured = [(f"{number}.jpg", replace(sharp, sha256=str(number))) for number in range(20)]
    measured += [(name, soft), (f"{name} again", soft), (other, Measurement("", issue="corrupt", detail=name))]
    good = collect(measured)
    made = make_proposal(good, collect([(other, replace(soft, sha256="b"))]), "fine_grained", 0.2)
    _harmless(_on_terminal(calibration.as_preview(made)))
    _harmless("\n".join(calibration.warnings(made)))
    _harmless(calibration.as_yaml(made))
    assert all(map(_is_inert, _cells(calibration.as_csv(made))))
    _harmless(json.dumps(calibration.as_dict(made), ensure_ascii=False))


@given(NAMES)
def test_messages_of_others_cannot_steer_a_terminal_from_the_log(name: str) -> None:
    """A log line for people escapes a message that nobody has escaped before."""
    event = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "event": "source paused", "why": name}
    assert logs._for_people(None, "info", event).replace("\x1b[0m", "").isprintable()


@given(NAMES)
def test_log_lines_are_safe_in_a_terminal_and_cannot_be_forged(name: str) -> None:
    """The log, for people and as JSON: one event is one line, with no control byte of the name."""
    event = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "event": "quarantined", "path": printable(name)}
    event |= {"reason": "corrupt", "detail": printable(name)}
    line = structlog.processors.JSONRenderer()(logging.getLogger(), "info", dict(event))
    _harmless(line)
    assert "\n" not in line
    for_people = logs._for_people(None, "info", dict(event))
    coloured = for_people.replace("\x1b[33m", "").replace("\x1b[0m", "")
    assert coloured.isprintable()


@given(NAMES)
def test_an_apostrophe_is_all_that_is_added(name: str) -> None:
    """Text that is no formula stays as it is, and the other keeps all its characters; it can be taken away again."""
    assert inert(name) in {name, f"'{name}"}
    assert live(inert(name)) == name
    assert live(inert(f"'{name}")) == f"'{name}"
