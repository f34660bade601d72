"""A small machine under this one: Debian's user-mode Linux, with knfsd, NFS and SMB clients, and limits.

Its root is this machine's own, read-only, under the unpacked packages and a layer in memory: the interpreter, the
package and its dependencies are those that run the tests. What is served lies on an ext4 disk of its own.
"""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[2]
PACKAGES = (
    *("user-mode-linux", "kmod"),
    *("nfs-kernel-server", "nfs-common", "libnfsidmap1", "libwrap0", "rpcbind", "keyutils"),
    *("samba", "samba-common", "samba-common-bin", "samba-libs", "cifs-utils"),
    *("libldb2", "liblmdb0", "libtalloc2", "libtdb1", "libtevent0", "libwbclient0"),
)
KERNEL = "usr/bin/linux.uml"
MEMORY = "3G"
DISK_MEGABYTES = 1024
MOST_SECONDS = 3 * 3600
LOOK_SECONDS = 0.5


def lacking() -> str:
    """Say what this machine lacks for it, or nothing."""
    if os.geteuid() != 0:
        return "root, so that the small machine's root can read all of this one's"
    tools = ("apt-get", "dpkg", "ip", "mkfs.ext4")
    missing = [tool for tool in tools if not shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    return ", ".join(missing)


def unpacked(folder: Path) -> Path:
    """Give a folder with the packages unpacked in it, and nothing installed; one that is there is taken as it is."""
    if (folder / KERNEL).exists():
        return folder
    archives = folder / "archives"
    archives.mkdir(parents=True)
    subprocess.run(["apt-get", "download", "-qq", *PACKAGES], cwd=archives, check=True, stderr=subprocess.DEVNULL)
    for archive in sorted(archives.glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(archive), str(folder)], check=True)
    shutil.rmtree(archives)
    for name in ("bin", "sbin", "lib"):  # which are links to usr/ in the root that this lies over
        if (folder / name).is_dir():
            shutil.copytree(folder / name, folder / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(folder / name)
    (folder / "usr/sbin/insmod").unlink()
    (folder / "usr/sbin/insmod").symlink_to("../bin/kmod")  # needed before it lies where its own link points to
    return folder


def run(base: Path, tools: Path, command: list[str], *, keep: Path | None = None, modules: str = "") -> int:
    """Boot it, run a module of the tests in it, print what that says while it says it, and give its exit code."""
    out = base / "out"
    out.mkdir()
    disk = base / "disk"
    subprocess.run(["truncate", "-s", f"{DISK_MEGABYTES}M", str(disk)], check=True)
    subprocess.run(["/usr/sbin/mkfs.ext4", "-q", "-F", str(disk)], check=True)
    settings = {
        "tools": str(tools.resolve()),
        "out": str(out),
        "repository": str(REPOSITORY),
        "python": sys.executable,
        "command": shlex.join(command),
        "modules": modules,
    }
    (base / "settings").write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in settings.items()))
    with (base / "console").open("wb") as console:
        process = subprocess.Popen(
            _command(base, tools, disk),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=os.environ | {"TMPDIR": str(base)},
            start_new_session=True,
        )
        try:
            _pass_on(process, out / "figures")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its helpers and the processes in it outlive it otherwise
            process.wait()
    if keep:
        shutil.copytree(out, keep, dirs_exist_ok=True)
        shutil.copy(base / "console", keep)
    if not (out / "code").exists():
        print((base / "console").read_text(errors="replace")[-4000:], file=sys.stderr)
        return 1
    return int((out / "code").read_text())


def _command(base: Path, tools: Path, disk: Path) -> list[str]:
    return [
        *(str(tools / KERNEL), f"mem={MEMORY}", "rootfstype=hostfs", "rootflags=/", "ro"),
        *(f"ubd0={disk}", f"init={HERE}/init.sh", f"IMAGEGUARD_BASE={base}", f"umid={base.name}"),
        *("con=null", "con0=null,fd:1", "quiet", "selinux=0", "panic=-1"),
    ]


def _pass_on(process: "subprocess.Popen[bytes]", figures: Path) -> None:
    """Print what is written to a file until the machine ends."""
    ends_at, read = time.monotonic() + MOST_SECONDS, 0
    while True:
        ended = process.poll() is not None
        text = figures.read_text(errors="replace") if figures.exists() else ""
        print(text[read:], end="", flush=True)
        read = len(text)
        if ended or time.monotonic() > ends_at:
            return
        time.sleep(LOOK_SECONDS)
