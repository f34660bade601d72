"""The campaign with real NFS and SMB servers and clients, in a small machine of its own. `--help` says how.

Needs root and Debian 12's packages, not installed: they are unpacked beside this machine's root, which the small
machine sees and does not change. Never a part of the normal tests: it takes half an hour.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.world.network import machine


def main() -> int:
    """Boot, pass on what is found, and give 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.world.network", description=__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="trials whose title has this word")
    parser.add_argument("--kills", type=int, default=10, help="kills at random on each mount (default: 10)")
    parser.add_argument("--tools", type=Path, help="a folder to keep the unpacked packages in, for the next time")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of daemons and servers")
    asked = parser.parse_args()
    if lacking := machine.lacking():
        parser.error(f"needs {lacking}")
    words = [f"--only={word}" for word in asked.only]
    command = ["tests.world.network.inside", f"--kills={asked.kills}", *words]
    with tempfile.TemporaryDirectory(prefix="imageguard-network-") as base:
        tools = machine.unpacked(asked.tools or Path(base) / "tools")
        return machine.run(Path(base), tools, command, keep=asked.keep, modules="nfsd nfsv3 nfsv4 cifs")


if __name__ == "__main__":
    sys.exit(main())
