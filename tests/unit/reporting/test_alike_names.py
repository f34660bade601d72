"""Names that a person would take for one another are told apart wherever a report shows them."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer import Typer
from typer.testing import CliRunner

from imageguard_daemon.cli.report import report
from imageguard_daemon.core.names import distinct, forms, printable
from tests.helpers.audit_logs import Judged, write_log
from tests.unit.reporting.test_page import read

ALIKE = {"dog": 1, "dog ": 2, " dog": 3, "dog  ": 4, "": 5, "(none)": 6, " ": 7, "big dog": 8, "big  dog": 9}
"""Classes with so many images each."""
app = Typer()
app.command()(report)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root whose log has all of them."""
    folder = tmp_path_factory.mktemp("root")
    write_log(folder / "audit.db", [Judged(name, "blurry", images) for name, images in ALIKE.items()])
    return folder


def run(root: Path, *arguments: str) -> str:
    """Run `report` and give what it prints."""
    result = CliRunner().invoke(app, [str(root), "--by", "class", *arguments], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_json_and_csv_have_names_as_they_are(root: Path) -> None:
    """Programs get the keys of the log, one row for each."""
    groups = json.loads(run(root, "--format", "json"))["groups"]
    assert {one["key"]: one["total"] for one in groups} == ALIKE
    rows = csv.DictReader(io.StringIO(run(root, "--format", "csv")))
    assert {row["key"]: int(row["total"]) for row in rows} == ALIKE


def test_no_two_lines_of_a_table_look_the_same(root: Path) -> None:
    """Each name stands for itself, and none ends in something that cannot be seen."""
    names = re.findall(r"^(.*\S) +(\d+) +\2 +100\.0 %", run(root), re.MULTILINE)
    assert {name: int(images) for name, images in names} == {distinct(name): n for name, n in ALIKE.items()}


def test_the_page_keeps_spaces(root: Path) -> None:
    """A browser would show two spaces as one: cells with names keep them."""
    html = run(root, "--format", "html", "--no-thumbnails")
    assert re.search(r"td\.name \{[^}]*white-space: pre-wrap", html)
    assert all(distinct(name) in read(html).text for name in ALIKE)


@pytest.mark.parametrize("name", ALIKE)
def test_options_take_a_name_as_it_is_and_as_it_is_shown(root: Path, name: str) -> None:
    """`--class` selects exactly the images of that class, whichever of both was copied."""
    for given_as in {name, distinct(name)} - ({"(none)"} if not name else set()):
        assert json.loads(run(root, "--format", "json", "--class", given_as))["total"] == ALIKE[name]


@given(
    st.text(st.sampled_from(" \\u0028)none\u00a0"), max_size=9), st.text(st.sampled_from(" \\u0028)none"), max_size=9)
)
def test_different_names_are_never_shown_alike(one: str, other: str) -> None:
    """Whatever folders are called, what is shown of them differs, and can be given back."""
    logged, others = printable(one), printable(other)
    assert (distinct(logged) == distinct(others)) == (one == other)
    assert not logged or logged in forms(distinct(logged))
