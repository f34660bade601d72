"""The structure that docs/architecture.md draws is the structure the code has."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


def _modules_after(statement: str) -> set[str]:
    """Give the names of all modules that a fresh interpreter has loaded after a statement."""
    script = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.split())


def test_import_contracts_hold():
    """Imports point one way, pure modules stay pure, only audit speaks SQL, a worker loads no daemon."""
    # In a process of its own, since it sets up logging for the process it is in.
    script = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stdout


def test_what_calls_itself_pure_is_held_to_it():
    """A module whose first lines say that it is pure, and each one in a folder `rules`, is under the contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (pure,) = (one for one in contracts if one["name"].startswith("Decisions are pure"))
    covered = [re.escape(name).replace(r"\*\*", ".+") + r"(\..+)?" for name in pure["source_modules"]]
    for path in sorted((ROOT / "imageguard_daemon").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
        if re.search(r"\b[Pp]ure\b(?! but)", first):
            assert any(re.fullmatch(pattern, name) for pattern in covered), name


def _defined_in(path: Path) -> set[str]:
    """Give the functions, classes and constants at the top of a module, and its methods as `Class.method`."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_answers_to_where_it_is_lead_to_the_code():
    """Each row of "Where is it?" names a file of the package and what stands in it; at least ten questions have one."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+\? \| `([^`]+)` \| `([^`]+)` \|$", text, re.MULTILINE)
    assert len(rows) >= 10
    for file, name in rows:
        assert name in _defined_in(ROOT / "imageguard_daemon" / file), file


def test_files_that_the_architecture_names_are_there():
    """A reader who is sent to a file of the package finds it."""
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*/[a-z_]+\.py)`", text))
    assert {file for file in named if not (ROOT / "imageguard_daemon" / file).is_file()} == set()


def test_tests_mirror_the_rooms():
    """A folder of tests bears the name of the room it tests, and no room is without one, or says where it is tested."""
    package, tests = ROOT / "imageguard_daemon", ROOT / "tests/unit"
    rooms = {path.parent.relative_to(package) for path in package.rglob("__init__.py")} - {Path()}
    beside = {Path("bench"), Path("training"), Path("reference")}
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")} - {Path()}
    assert folders - rooms - beside == set()
    elsewhere = {
        "migrations": "tests/unit/audit/test_database.py",
        "versions": "as above",
        "fleet": "tests/integration",
    }
    within = {"questions", "tasks", "pages", "backfill", "rules"}  # with the rest of their room
    assert {room for room in rooms - folders if room.name not in {*elsewhere, *within}} == set()


def test_importing_the_package_is_light():
    """`import imageguard_daemon` loads neither image libraries nor databases nor the settings."""
    heavy = {"numpy", "cv2", "PIL", "pydantic", "sqlalchemy", "rich", "typer", "watchdog"}
    assert not heavy & _modules_after("import imageguard_daemon")


def test_showing_help_is_light():
    """`--help` loads no image library, database, settings or daemon."""
    heavy = {"numpy", "cv2", "PIL", "pydantic", "sqlalchemy", "watchdog", "structlog"}
    assert not heavy & _modules_after("import imageguard_daemon.cli.app")


def test_a_worker_process_is_light():
    """What a worker loads to measure images includes nothing of the daemon around it."""
    heavy = {"pydantic", "sqlalchemy", "alembic", "watchdog", "structlog", "rich", "typer"}
    assert not heavy & _modules_after("import imageguard_daemon.sandbox.worker_process")


_WRITERS_OF_OTHER_THINGS = {"cli/app.py", "cli/config.py", "web/tokens.py"}
"""Closed standard streams lead nowhere; a configuration is made where there is none; tokens are no results."""


def _opened_for_writing(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        words = [
            each.value
            for each in (*node.args, *(word.value for word in node.keywords))
            if isinstance(each, ast.Constant)
        ]
        modes = [
            word for word in words if isinstance(word, str) and set(word) <= set("rwaxbt+") and set(word) & set("wax+")
        ]
        is_method = isinstance(node.func, ast.Attribute)
        if (called in {"open", "fdopen"} and modes) or (is_method and called in {"write_text", "write_bytes"}):
            yield node.lineno


def test_results_are_written_by_one_module():
    """What tests/unit/core/test_files.py proves at every system call holds for all results: `writing.py` makes them."""
    package = ROOT / "imageguard_daemon"
    folders = ("batch", "calibration", "cli", "integrations", "reporting", "review", "web")
    found = {
        f"{path.relative_to(package)}:{line}"
        for folder in folders
        for path in sorted((package / folder).rglob("*.py"))
        for line in _opened_for_writing(ast.parse(path.read_text()))
        if str(path.relative_to(package)) not in _WRITERS_OF_OTHER_THINGS
    }
    assert not found
