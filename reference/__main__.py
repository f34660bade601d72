"""Writes the reference: docs/commands.md, docs/configuration.md, docs/library.md, the man page, and parts of others.

    python -m reference

Run it again whenever help texts, settings or public docstrings change; a test compares.
"""

import argparse
import re
from pathlib import Path

from reference.command_page import command_page
from reference.commands import all_commands
from reference.formats_page import formats_page
from reference.library_page import library_page
from reference.man_page import man_page
from reference.settings_page import settings_page

ROOT = Path(__file__).parent.parent
_ROW = re.compile(r"^\| (\d+) \| (?:`(\w+)`)? ?\| (.*?) \| (.*?) ?\|$", re.MULTILINE)


def written() -> dict[str, str]:
    """Give every file that is made, by its path in the repository."""
    commands = all_commands()
    codes = [(code, name, meaning) for code, name, meaning, _ in _ROW.findall(_read("docs/exit-codes.md"))]
    return {
        "docs/commands.md": command_page(commands),
        "docs/configuration.md": settings_page(),
        "docs/library.md": library_page(),
        "docs/formats.md": formats_page(_read("docs/formats.md")),
        "contrib/imageguard-daemon.1": man_page(commands, codes, _latest_release()),
    }


def _latest_release() -> tuple[str, str]:
    """Give version and date of the latest release in the changelog, so that the page does not change by itself."""
    [release, *_] = re.findall(r"^## \[(\d[\w.]*)\] - (\d{4}-\d\d-\d\d)$", _read("CHANGELOG.md"), re.MULTILINE)
    return str(release[0]), str(release[1])


def _read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(
        "python -m reference", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    for path, text in written().items():
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
