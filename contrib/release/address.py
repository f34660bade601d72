"""Fills in where the repository is: `python address.py https://HOST/OWNER/NAME v1.0.0`; only who publishes it knows.

Writes `[project.urls]` into pyproject.toml, and makes the README's links to files absolute, as the page of a package
index shows the README far from them. Run in a fresh checkout, whose changes are thrown away after building.
"""

import re
import sys
from pathlib import Path

_PAGES = {"Homepage": "", "Documentation": "/blob/{tag}/docs/index.md", "Changelog": "/blob/{tag}/CHANGELOG.md"}
_PAGES |= {"Source": "/tree/{tag}", "Issues": "/issues"}
_PICTURE = re.compile(r"(!\[[^\]]*\]\()(?![a-z]+:|#)([^)]+)\)")
_LINK = re.compile(r"(\]\()(?![a-z]+:|#)([^)]+)\)")


def with_urls(project: str, address: str, tag: str) -> str:
    """Give pyproject.toml with the addresses of the repository."""
    lines = "".join(f'{name} = "{address}{page.format(tag=tag)}"\n' for name, page in _PAGES.items())
    return project.replace("[project.scripts]\n", f"[project.urls]\n{lines}\n[project.scripts]\n", 1)


def with_absolute_links(readme: str, address: str, tag: str) -> str:
    """Give a document with no link that is relative."""
    readme = _PICTURE.sub(rf"\g<1>{address}/raw/{tag}/\g<2>)", readme)
    return _LINK.sub(rf"\g<1>{address}/blob/{tag}/\g<2>)", readme)


def main() -> None:
    """Change both files where they lie."""
    address, tag = sys.argv[1].rstrip("/"), sys.argv[2]
    for name, changed in (("pyproject.toml", with_urls), ("README.md", with_absolute_links)):
        path = Path(name)
        path.write_text(changed(path.read_text(encoding="utf-8"), address, tag), encoding="utf-8")


if __name__ == "__main__":
    main()
