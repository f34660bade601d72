"""Prepares what pip installs in the image: the versions that were tested, and the dependencies alone.

python3 constraints.py LOCK OUT
python3 constraints.py --dependencies EXTRAS PYPROJECT OUT
"""

import re
import sys
import tomllib
from pathlib import Path


def constraints(lock: str) -> str:
    """Give `name==version` of each pin in a lock file, without hashes: pip takes them for all or none."""
    return "".join(f"{pin}\n" for pin in re.findall(r"^[A-Za-z0-9][\w.-]*==\S+", lock, re.MULTILINE))


def dependencies(project: str, extras: str) -> str:
    """Give what the package needs with these extras, one requirement a line."""
    table = tomllib.loads(project)["project"]
    wanted = [*table["dependencies"]]
    names = [name.strip() for name in extras.split(",") if name.strip()]
    for name in names:  # an extra may name others of the package, which are taken as if they were asked for
        for requirement in table["optional-dependencies"][name]:
            own = re.fullmatch(rf"{table['name']}\[(.+)\]", requirement)
            if own:
                names += [other for other in own[1].split(",") if other not in names]
            else:
                wanted.append(requirement)
    return "".join(f"{requirement}\n" for requirement in wanted)


def main() -> None:
    """Read one file, write another."""
    *options, source, target = sys.argv[1:]
    text = Path(source).read_text(encoding="utf-8")
    Path(target).write_text(dependencies(text, options[1]) if options else constraints(text), encoding="utf-8")


if __name__ == "__main__":
    main()
