"""docs/formats.md: its table and its list of names, from the code; the rest is written by hand."""

import re

from imageguard_daemon.quality.decode.formats import JUDGED, NAMED

_TABLE = re.compile(r"(\| format \| kind \| judged \|\n\|---\|---\|---\|\n).*?\n\n", re.DOTALL)
_NAMES = re.compile(r"(Recognised and reported as `unsupported` by name: ).*?\n\n", re.DOTALL)


def formats_page(page: str) -> str:
    """Give the page with what the code says now."""
    rows = "".join(f"| {name} | {kind} | {rule} |\n" for name, kind, rule in JUDGED)
    page = _TABLE.sub(lambda found: f"{found[1]}{rows}\n", page)
    return _NAMES.sub(lambda found: f"{found[1]}{', '.join(NAMED)}.\n\n", page)
