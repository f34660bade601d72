"""Files of public test suites, judged by us and by others: who says that a file is whole, and who that it is not.

    python -m bench.conformance FOLDER... [--json FILE]

A folder is a suite, in as many levels as it has. Each file is decoded by ours, and by each reference, each in a
process of its own within limits: Pillow, OpenCV and, where pyvips is installed, libvips, told to fail on errors.
Printed are

    valid, refused      called corrupt, though two references decode it completely and agree on its pixels
    broken, accepted    judged, though every reference refuses it

References agree when they give one size and, made grey and small, nearly the same picture. A reference that does not
know a format, or the kind of TIFF, says nothing of it.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

import cv2

from bench import references
from bench.references import Answer
from imageguard_daemon.core.errors import ImageError
from imageguard_daemon.core.model import Limits
from imageguard_daemon.quality.decode.decoder import decode
from imageguard_daemon.quality.decode.formats import HANDLED, recognise

_MEGABYTE = 1 << 20
_MEMORY = 4096 * _MEGABYTE
_SECONDS = 30
_MOST_BYTES = 64 * _MEGABYTE


@dataclass(frozen=True, slots=True)
class Judged:
    """One file: what we say, and what each reference says (a size, or nothing when it refuses)."""

    name: str
    image_format: str
    issue: str
    detail: str
    sizes: dict[str, tuple[int, int] | str | None] = field(default_factory=dict)
    agreeing: tuple[str, ...] = ()

    @property
    def is_valid_but_refused(self) -> bool:
        """Whether we call damaged what two references agree on."""
        return self.issue == "corrupt" and len(self.agreeing) > 1

    @property
    def is_broken_but_accepted(self) -> bool:
        """Whether we judge what every reference refuses that has such a kind; OpenCV never says whether it has."""
        known = {name: size for name, size in self.sizes.items() if size != references.UNKNOWN}
        has_judge = bool(known) and ("libvips" not in self.sizes or bool(known.keys() - {"OpenCV"}))
        return not self.issue and has_judge and not any(known.values())


# --- one file, in a process within limits


def _begin() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    cv2.setNumThreads(1)
    os.environ["VIPS_CONCURRENCY"] = "1"


def _ours(path: str) -> tuple[str, str]:
    """Give our issue and what is said with it."""
    try:
        decode(Path(path).read_bytes(), Limits())
    except ImageError as error:
        return error.issue, error.detail
    except MemoryError:
        return "too_large", ""
    except Exception as error:  # noqa: BLE001 - as in the worker's guard
        return "corrupt", f"could not be measured: {type(error).__name__}: {error}"
    return "", ""


class _Asking:
    """Asks in a process that is replaced when it is lost."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question: Callable[..., object], *arguments: object) -> object:
        """Give the answer; None when the process was lost over it, or took too long."""
        with suppress(OSError, EOFError):
            self._connection.send((question, arguments))
            if self._connection.poll(_SECONDS):
                return self._connection.recv()
        self.close()
        self._start()
        return None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def _serve(connection: Connection) -> None:
    _begin()
    while True:
        question, arguments = connection.recv()
        connection.send(question(*arguments))


def _all(path: str, asked: list[str]) -> tuple[tuple[str, str], list[Answer]]:
    data = Path(path).read_bytes()
    return _ours(path), [references.answer(reference, data) for reference in asked]


def _one(path: str, reference: str) -> tuple[Answer]:
    return (references.answer(reference, Path(path).read_bytes()),)


def _answers(path: str, asked: list[str], asking: _Asking) -> tuple[tuple[str, str], list[Answer]]:
    """Ask all in one process; when it is lost, each in one of its own."""
    together = asking.ask(_all, path, asked)
    if isinstance(together, tuple):
        return together
    ours = asking.ask(_ours, path)
    each = [asking.ask(_one, path, reference) for reference in asked]
    return (
        ours if isinstance(ours, tuple) else ("corrupt", "its decoder was lost"),
        [found[0] if isinstance(found, tuple) else None for found in each],
    )


def judged(name: str, path: str, asking: _Asking) -> Judged:
    """Have one file judged by all."""
    with open(path, "rb") as file:
        image_format = recognise(file.read(1024))
    asked = references.who_know(image_format)
    (issue, detail), found = _answers(path, asked, asking)
    answers = dict(zip(asked, found, strict=True))
    sizes = {reference: one[0] if isinstance(one, tuple) else one for reference, one in answers.items()}
    return Judged(name, image_format, issue, detail, sizes, tuple(references.agreeing(answers)))


def files_of(folders: list[Path]) -> Iterator[tuple[str, str, str]]:
    """Give suite, name below the folder's parent, and path of each file that can be an image we handle."""
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            if path.stat().st_size <= _MOST_BYTES:
                with path.open("rb") as file:
                    if recognise(file.read(1024)) in HANDLED:
                        yield folder.name, str(path.relative_to(folder.parent)), str(path)


def printed(suites: dict[str, list[Judged]]) -> str:
    """Give the figures, a line a suite, and all names that matter."""
    lines = [f"{'suite':<24}{'files':>7}{'judged':>8}{'corrupt':>9}{'unsupported':>13}{'too large':>11}"]
    every: list[Judged] = []
    for suite, files in suites.items():
        every += files
        lines.append(_line(suite, files))
    lines += [_line("all", every), ""]
    for title, chosen in (
        ("valid, refused", [one for one in every if one.is_valid_but_refused]),
        ("broken, accepted", [one for one in every if one.is_broken_but_accepted]),
    ):
        lines.append(f"{title}: {len(chosen)}")
        lines += [f"  {one.name}: {one.detail or 'accepted'} [{', '.join(one.agreeing)}]" for one in chosen]
    return "\n".join(lines)


def _line(suite: str, files: list[Judged]) -> str:
    issues = Counter(one.issue for one in files)
    return (
        f"{suite:<24}{len(files):>7}{issues['']:>8}{issues['corrupt']:>9}"
        f"{issues['unsupported']:>13}{issues['too_large']:>11}"
    )


def main() -> int:
    """Judge, print, and give 1 when anything is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--json", type=Path, help="write what was said of each file, a JSON object a line")
    given = parser.parse_args()
    with ExitStack() as stack:
        told = stack.enter_context(given.json.open("w")) if given.json else None
        suites = all_judged(given.folders, told)
    print(f"references: {', '.join(references.installed())}\n\n{printed(suites)}")
    every = [one for files in suites.values() for one in files]
    return 1 if any(one.is_valid_but_refused or one.is_broken_but_accepted for one in every) else 0


def all_judged(folders: list[Path], told: TextIO | None) -> dict[str, list[Judged]]:
    """Have all files judged, by suite, and tell each at once."""
    asking, suites = _Asking(), {folder.name: list[Judged]() for folder in folders}
    for suite, name, path in files_of(folders):
        one = judged(name, path, asking)
        suites[suite].append(one)
        if told:
            told.write(f"{json.dumps(asdict(one))}\n")
            told.flush()
    asking.close()
    return suites


if __name__ == "__main__":
    sys.exit(main())
