"""How the package is built, in numbers: `python -m bench.structure [FOLDER]`; `trip IMAGE [FOLDER]`: one image's way.

Counts are of the package in FOLDER (default: the checkout this is run from), so that one script measures a change
before and after. Modules are files with code of their own: neither `__init__.py` nor steps of a migration.
"""

import ast
import io
import os
import subprocess
import sys
import tempfile
import time
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

PACKAGE = "imageguard_daemon"
SMALL_LINES = 60
SETTLE_AND_FILE_SECONDS = 15
_NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENCODING,
    tokenize.ENDMARKER,
}
_WATCH = """\
import os, sys, threading
_log = os.open(os.environ["TRIP_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
_seen = set()
def _note(frame, event, arg):
    code = frame.f_code
    if event == "call" and code.co_flags & 1 and code not in _seen and "/imageguard_daemon/" in code.co_filename:
        while frame := frame.f_back:
            if frame.f_code.co_name == "<module>" and frame.f_globals["__name__"] != "__main__":
                return  # a module that is being loaded calls functions, whatever it is loaded for
        _seen.add(code)
        try:
            os.write(_log, f"{code.co_filename}:{code.co_qualname}\\n".encode())
        except OSError:
            pass
def begin():
    sys.setprofile(_note)
    threading.setprofile(_note)
    os.register_at_fork(after_in_child=lambda: sys.setprofile(None))
if "-c" not in sys.orig_argv[1:2]:
    begin()
"""
"""Loaded by each process of the daemon as sitecustomize: notes each function of the package that is called.

A forked child keeps no profile: a confined decoder has no descriptor to write to. `validate` shows what it runs."""


def modules(root: Path) -> dict[str, Path]:
    """Give each module of the package with its file."""
    found = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        if path.name not in {"__init__.py", "env.py"} and path.parent.name != "versions":
            found[".".join(path.relative_to(root).with_suffix("").parts)] = path
    return found


def importers(files: dict[str, Path]) -> dict[str, set[str]]:
    """Give the modules that import each module, by whatever form of the import statement."""
    found: dict[str, set[str]] = defaultdict(set)
    for name, path in files.items():
        for imported in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            if imported in files and imported != name:
                found[imported].add(name)
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def density(paths: Iterable[Path]) -> tuple[float, float]:
    """Give the tokens of a line of code, and the lines with a comment for 100 of those; docstrings are neither."""
    tokens, code, comments = 0, 0, 0
    for path in paths:
        text = path.read_text(encoding="utf-8")
        strings = {
            (node.value.lineno, node.value.col_offset)
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        }
        lines = set()
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            comments += token.type == tokenize.COMMENT and "noqa" not in token.string and "type:" not in token.string
            if token.type not in _NO_CODE and token.start not in strings:
                tokens += 1
                lines.update(range(token.start[0], token.end[0] + 1))
        code += len(lines)
    return tokens / code, 100 * comments / code


def trip(root: Path, image: Path) -> list[str]:
    """Give the files with functions that one image calls on its way, and a daemon with an empty inbox does not.

    What decodes is confined and cannot tell; a second call of `validate` in one process shows what that runs.
    """
    judge = f"package.validate({str(image)!r})"
    twice = f"import sitecustomize, {PACKAGE} as package; {judge}; sitecustomize.begin(); {judge}"
    called = _called(root, image) - _called(root, None) | _called(root, None, [sys.executable, "-c", twice])
    return sorted({function.partition(":")[0] for function in called})


def _called(root: Path, image: Path | None, command: list[str] | None = None) -> set[str]:
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        (here / "sitecustomize.py").write_text(_WATCH, encoding="utf-8")
        inbox = here / "ingest" / "inbox" / "cat"
        inbox.mkdir(parents=True)
        if image:
            (inbox / image.name).write_bytes(image.read_bytes())
        environment = os.environ | {"PYTHONPATH": f"{here}:{root}", "TRIP_LOG": str(here / "called")}
        run = command or [sys.executable, "-m", PACKAGE, "run", str(here / "ingest")]
        with subprocess.Popen(run, env=environment, cwd=root, stderr=subprocess.DEVNULL) as process:  # noqa: S603 - itself
            if not command:
                time.sleep(SETTLE_AND_FILE_SECONDS)  # without an image, too: workers warm up meanwhile
                process.terminate()
        return set((here / "called").read_text(encoding="utf-8").splitlines())


def main(arguments: list[str]) -> None:
    """Print what was counted."""
    if arguments[:1] == ["trip"]:
        root = Path(arguments[2]) if arguments[2:] else Path.cwd()
        found = trip(root.resolve(), Path(arguments[1]).resolve())
        print(*(name.partition(f"/{PACKAGE}/")[2] for name in found), f"{len(found)} files", sep="\n")
        return
    root = Path(arguments[0]) if arguments else Path.cwd()
    files = modules(root)
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in files.items()}
    single = [name for name, who in importers(files).items() if len(who) == 1]
    tokens, comments = density(files.values())
    print(f"modules                          {len(files)}")
    print(f"lines                            {sum(lines.values())}")
    print(f"modules with one importer        {len(single)}")
    print(f"  of them under {SMALL_LINES} lines           {sum(lines[name] < SMALL_LINES for name in single)}")
    print(f"tokens in a line of code         {tokens:.1f}")
    print(f"comments for 100 lines of code   {comments:.1f}")


if __name__ == "__main__":
    main(sys.argv[1:])
