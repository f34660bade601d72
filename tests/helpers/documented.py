"""What the documents show, sorted by how it is tried. What is in no table here, and fits no rule, fails the test.

Commands are written as in the document, with single spaces and without the comment behind them.
"""

from tests.helpers.playground import FIRST_DAY, LYNXES, OLD, REJECTED, Lot

NOT_RUN: dict[str, str] = {
    "/opt/imageguard-daemon/bin/pip install": "installs from a package registry",
    "python3 -m venv /opt": "writes where only root may; tests/test_wheel.py does the same elsewhere",
    "pip wheel --no-deps": "is the first step of tests/test_wheel.py",
    "imageguard-daemon --install-completion": "changes the shell: tests/unit/cli/test_completion.py tries it",
    "python3 -m venv .venv": "installs from a package registry; tests/test_wheel.py installs the same from a wheel",
    ".venv/bin/pip install": "installs from a package registry",
    "pip install 'imageguard-daemon[": "installs from a package registry",
    "imageguard-daemon backfill --manifest list.parquet --out results/ --dask": "tests/e2e/test_backfill_dask.py does",
    "imageguard-daemon backfill --manifest s3://": "tests/unit/batch/test_backfill_store.py has other stores",
    "docker ": "needs an engine and a registry; tests/container tries an image where there is an engine",
    "install --directory": "needs root",
    "pip-audit": "asks a server for known vulnerabilities",
    ".venv/bin/python -m pytest": "is what runs this",
    ".ci/run": "is what runs this",
    "cd /opt/imageguard-daemon": "tests/booted installs by these very lines",
    "install -D -m 644": "writes where only root may; tests/booted installs by these very lines",
    "/opt/imageguard-daemon/bin/imageguard-daemon config init": "writes where only root may",
    "systemctl ": "needs systemd as the system's first process; tests/booted boots one for the unit itself",
    "journalctl ": "needs systemd as the system's first process",
    "systemd-run": "needs systemd as the system's first process; tests/booted boots one for the unit itself",
    "imageguard-daemon report --db postgresql": "needs a PostgreSQL; tests/integration/test_fleet_reading.py has one",
    "imageguard-daemon web --db postgresql": "needs a PostgreSQL; tests/integration/test_fleet_reading.py has one",
    "imageguard-daemon fleet prepare --db": "needs a PostgreSQL; tests/integration/test_fleet_roles.py has one",
    "python contrib/release/address.py": "needs a repository; tests/test_publishing.py tries what it does",
    "cibuildwheel": "needs an engine for containers; tests/test_wheel.py builds the wheel",
    "python -m build --sdist": "is what tests/test_wheel.py does",
    "twine check": "another program, which is no dependency",
    "cyclonedx-py": "another program, which is no dependency",
    "cvat-cli": "another program, which is no dependency",
    "pip install imageguard-daemon": "installs from a package registry",
    "pipx install": "installs from a package registry",
    "uv tool install": "installs from a package registry",
    "pip install --no-deps imageguard-daemon": "installs from a package registry; tests/test_wheel.py does the same",
    "datasette serve": "another program, which is no dependency, and never ends",
}
"""Beginnings of commands that no test can run, each with the reason."""

ASKED_FOR_HELP: tuple[str, ...] = (
    "python -m bench.",
    "python -m training",
    "python -m tests.faults",
    "python -m tests.lowest",
    "python -m tests.world",
)
"""Commands that take minutes or photos: asked for their help, which must know every option that is shown."""

EXIT_CODES: dict[str, int] = {
    "imageguard-daemon scan dataset --fail-on-reject --only rejected --csv rejected.csv --state .cache/scan.state": 1,
    "imageguard-daemon web ./ingest": -15,  # it ends in order, then by the signal that told it to
}
"""Commands that are meant to end with something else than 0."""

UNTIL_STOPPED: dict[str, str] = {
    "imageguard-daemon run ./ingest": '"started"',
    ".venv/bin/python -m imageguard_daemon run ./ingest": '"started"',
    "imageguard-daemon web ./ingest": "Ctrl-C stops",
}
"""Commands that go on until they are stopped, and what they say once they work."""

_ARCHIVE = "imageguard-daemon audit archive /srv/ingest --older-than 400d"
BEFORE: dict[str, str] = {
    _ARCHIVE: "imageguard-daemon quarantine release /srv/ingest --id 21",
    "imageguard-daemon audit check /srv/ingest/archive": f"{_ARCHIVE} --yes",
}
"""What must have been done before a command, where the document says so in words."""

OTHER_BLOCKS: dict[tuple[str, str], str] = {
    ("README.md", "20:38:41 quarantined"): "what `run` shows on a terminal: tests/unit/daemon/test_status.py",
    ("docs/architecture.md", "  ingest"): "one image's trip, drawn",
    ("docs/architecture.md", "  __main__"): "the rooms, drawn: tests/test_architecture.py holds them",
    ("docs/architecture.md", "  report"): "a report's trip, drawn",
    ("docs/backfill.md", "-- DuckDB"): "another program, which is no dependency",
    ("docs/backfill.md", "results/\n"): "a folder as a tree: tests/unit/batch/test_backfill_results.py",
    ("docs/fleet.md", "-- as"): "tests/integration/test_fleet_roles.py runs them",
    ("docs/fleet.md", "forwarding"): "a line of `status`: tests/integration/test_fleet_commands.py",
    ("docs/library.md", ""): "signatures, which `python -m reference` takes from the code",
    ("docs/monitoring.md", "# prometheus.yml"): "of another program: tests/unit/daemon/test_metrics.py",
    ("docs/audit-log.md", "SELECT"): "tests/unit/audit/test_documented_queries.py runs them",
    ("docs/audit-log.md", "-- DuckDB"): "another program, which is no dependency",
    ("docs/recipes.md", "# .pre-commit-config.yaml"): "of another program: tests/test_publishing.py has the hook",
    ("docs/recipes.md", "# .github/workflows/images.yml"): "tests/test_publishing.py holds it against its schema",
    ("docs/recipes.md", "# dvc.yaml"): "of another program; its commands are tried by the page's first part",
    ("docs/audit-log.md", "-- duckdb"): "another program, which is no dependency",
}
"""Blocks by document and beginning that are neither commands nor Python, configuration, JSON or INI files of ours."""

NOT_INSTALLED: dict[str, str] = {
    "airflow": "no dependency",
    "datasets": "tests/e2e/test_export.py loads the manifest where it is installed",
    "torch": "tests/unit/integrations tries it where it is installed",
    "fiftyone": "tests/e2e/test_export.py holds the manifest against its documented fields",
    "pyarrow": "an extra: `parquet`",
    "pandas": "no dependency; reads plain SQLite and Parquet",
}
"""Libraries that a Python block may need and this environment may lack: the block is then compiled only."""

_RESULTS = """
import os, pyarrow, pyarrow.parquet
os.makedirs("results/000000")
table = pyarrow.table({"path": ["a.jpg"], "verdict": ["quarantined"], "reason": ["blurry"], "score": [0.1]})
pyarrow.parquet.write_table(table, "results/000000/shard-000000000.parquet")
"""
_ARCHIVED = """
import os, subprocess, sys
command = "-m imageguard_daemon audit archive /srv/ingest --older-than 400d --yes"
subprocess.run([sys.executable, *command.split()], check=True)
(made,) = os.listdir("/srv/ingest/archive")
os.rename(f"/srv/ingest/archive/{made}", "/srv/ingest/archive/000000000001-000003640120")
"""
_EXPORTED = """
import os, subprocess, sys
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": os.path.abspath("hf")}
if os.path.isdir("/srv/ingest/accepted"):
    command = "-m imageguard_daemon export /srv/ingest --to huggingface --output /srv/ingest/accepted/metadata.jsonl"
    subprocess.run([sys.executable, *command.split()], check=True)
"""
PRELUDES: dict[str, str] = {
    "docs/recipes.md": _EXPORTED,
    "docs/backfill.md": _RESULTS,
    "README.md": "transform = None",
    "docs/pytorch.md": "transform = None",
    "docs/audit-log.md": _ARCHIVED,
}
"""What the Python blocks of a document take for granted."""

LOGS: dict[str, tuple[Lot, ...]] = {
    "README.md": FIRST_DAY,
    "docs/index.md": FIRST_DAY,
    "docs/quarantine.md": REJECTED,
    "docs/audit-log.md": OLD,
}
"""The log that a document is about, where it is not that of docs/reports.md."""


def lots_for(document: str) -> tuple[Lot, ...]:
    """Give what the log holds for the commands of a document."""
    return LOGS.get(document, LYNXES)


def why_not_run(command: str) -> str:
    """Give the reason not to run a command, or an empty string."""
    return next((reason for beginning, reason in NOT_RUN.items() if command.startswith(beginning)), "")


def only_asked_for_help(command: str) -> bool:
    """Tell whether a command is asked for its help only."""
    return command.removeprefix(".venv/bin/").startswith(ASKED_FOR_HELP)
