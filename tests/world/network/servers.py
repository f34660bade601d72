"""Inside the small machine: folders that real servers serve, mounted by real clients."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.site import patience, wait_until

EXPORT = Path("/srv/export")
NFSD = Path("/proc/fs/nfsd")
LEASES = Path("/proc/sys/fs/leases-enable")
NLM_GRACE = Path("/proc/sys/fs/nfs/nlm_grace_period")
GRACE_SECONDS = 10
SMB_CONFIG = """
[global]
  interfaces = lo
  bind interfaces only = yes
  log file = /run/world/logs/smbd.log
  map to guest = never
  load printers = no
  disable spoolss = yes
  {settings}
[export]
  path = /srv/export
  read only = no
  inherit owner = yes
"""
SMB_ACCOUNT = "username=root,password=secret,noperm"


@dataclass(frozen=True)
class Kind:
    """One way to serve and mount; `name` is what the package calls the file system."""

    title: str
    name: str
    file_system: str
    options: str
    delegations: bool = True
    server_settings: str = ""
    locks: bool = True
    """Whether clients are told of each other's locks."""


KINDS = (
    Kind("NFS 4.2", "NFS", "nfs4", "vers=4.2"),
    Kind("NFS 4.2 without delegations", "NFS", "nfs4", "vers=4.2", delegations=False),
    Kind("NFS 3", "NFS", "nfs", "vers=3,nolock", locks=False),
    Kind("SMB 3.1.1 with leases", "SMB", "cifs", f"vers=3.1.1,{SMB_ACCOUNT}"),
    Kind(
        "SMB 3.1.1 without oplocks",
        "SMB",
        "cifs",
        f"vers=3.1.1,{SMB_ACCOUNT}",
        server_settings="oplocks = no\n  smb2 leases = no\n  kernel oplocks = no",
    ),
    Kind("SMB 3.1.1, cache=none, nolease", "SMB", "cifs", f"vers=3.1.1,cache=none,nolease,{SMB_ACCOUNT}"),
)


class Share:
    """A folder `here`, as its clients see it, which is `there` on the server; the server can go and come back."""

    def __init__(self, kind: Kind, folder: str) -> None:
        self.kind = kind
        self.here, self.there = Path("/mnt") / folder, EXPORT / folder
        self._server: NfsServer | SmbServer = SmbServer(kind) if kind.file_system == "cifs" else NfsServer(kind)

    def start_server(self) -> None:
        """Let the server answer."""
        self._server.start()

    def stop_server(self) -> None:
        """Let it be gone, as after a power failure: clients hear nothing any more."""
        self._server.stop()

    def held(self) -> int:
        """Count what the server has granted a client to keep: delegations, leases."""
        return self._server.held()

    def mount(self) -> None:
        """Mount it."""
        self.here.mkdir(parents=True, exist_ok=True)
        self.there.mkdir(parents=True, exist_ok=True)
        self._mount(self.here, self.kind.options)

    def _mount(self, at: Path, options: str) -> None:
        source = self._server.source(self.there.relative_to(EXPORT))
        command = ["mount", "-t", self.kind.file_system, "-o", options, source, at]
        wait_until(lambda: _ended(*command).returncode == 0, " ".join(map(str, command)))

    @contextmanager
    def seen_from_elsewhere(self) -> Iterator[Path]:
        """Mount it once more as another machine would, with nothing in common but the server."""
        there = self.here.with_name(f"{self.here.name}-elsewhere")
        there.mkdir()
        apart = "nosharesock" if self.kind.file_system == "cifs" else "nosharecache"
        self._mount(there, f"{self.kind.options},{apart}")
        try:
            yield there
        finally:
            _run("umount", "-l", there)

    def unmount(self) -> None:
        """Unmount it, whoever still uses it."""
        _run("umount", "-l", self.here)


@contextmanager
def shared(kind: Kind, folder: str) -> Iterator[Share]:
    """Serve and mount a new folder; both end with it."""
    share = Share(kind, folder)
    share.start_server()
    try:
        share.mount()
        try:
            yield share
        finally:
            share.unmount()
    finally:
        share.stop_server()


class NfsServer:
    """Linux's own, knfsd."""

    def __init__(self, kind: Kind) -> None:
        self._version3 = "vers=3" in kind.options
        LEASES.write_text("1" if kind.delegations else "0")

    def start(self) -> None:
        """Start its threads, in a short grace period."""
        if not os.path.ismount(NFSD):
            _prepare_nfs()
        NLM_GRACE.write_text("1")  # delegations are granted only when that of version 3's locks is over, too
        for name in ("nfsv4leasetime", "nfsv4gracetime"):
            (NFSD / name).write_text(f"{GRACE_SECONDS}")
        _run("exportfs", "-ra")
        _run("rpc.nfsd", "4")
        # At once instead of after the grace period: nothing was held before.
        (NFSD / "v4_end_grace").write_text("Y")

    def stop(self) -> None:
        """End its threads."""
        _run("rpc.nfsd", "0")

    def source(self, folder: Path) -> str:
        """Say what is to be mounted."""
        return f"127.0.0.1:{EXPORT if self._version3 else ''}/{folder}"

    def held(self) -> int:
        """Count delegations."""
        return sum(path.read_text().count("type: deleg") for path in NFSD.glob("clients/*/states"))


def _prepare_nfs() -> None:
    _run("mount", "-t", "nfsd", "nfsd", NFSD)
    for folder in ("/var/lib/nfs/v4recovery", "/run/rpcbind", "/run/sendsigs.omit.d"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for name in ("etab", "rmtab"):
        Path("/var/lib/nfs", name).touch()
    options = "rw,no_root_squash,fsid=0,sync,no_subtree_check,insecure"
    Path("/etc/exports").write_text(f"{EXPORT} 127.0.0.1({options})\n")
    if "_rpc:" not in Path("/etc/passwd").read_text():
        _run("useradd", "--system", "--no-create-home", "_rpc")
    _run("rpcbind", "-w")
    _run("rpc.mountd")


class SmbServer:
    """Samba's."""

    def __init__(self, kind: Kind) -> None:
        self._settings = kind.server_settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        for folder in ("/run/samba", "/var/lib/samba/private", "/var/cache/samba", "/var/log/samba", "/run/world/logs"):
            Path(folder).mkdir(parents=True, exist_ok=True)
        Path("/etc/samba/smb.conf").write_text(SMB_CONFIG.format(settings=self._settings))
        _run("smbpasswd", "-s", "-a", "root", given="secret\nsecret\n")
        self._process = subprocess.Popen(["smbd", "--foreground", "--no-process-group"], start_new_session=True)
        wait_until(lambda: _listens(445), "smbd listens")

    def stop(self) -> None:
        """Kill it and all that it has started."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            wait_until(lambda: not _listens(445), "smbd listens no more")

    def source(self, folder: Path) -> str:
        """Say what is to be mounted."""
        return f"//127.0.0.1/export/{folder}"

    def held(self) -> int:
        """Count oplocks and leases."""
        told = _run("smbstatus", "--locks")
        return sum(line.count("LEASE(") + line.count("BATCH") + line.count("EXCLUSIVE") for line in told.splitlines())


def _listens(port: int) -> bool:
    ends = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[3] == "0A"]
    return any(end.endswith(f":{port:04X}") for end in ends)


def _run(*arguments: object, given: str | None = None) -> str:
    ran = _ended(*arguments, given=given)
    assert ran.returncode == 0, f"{' '.join(map(str, arguments))}: {ran.stdout}{ran.stderr}"
    return ran.stdout


def _ended(*arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = list(map(str, arguments))
    return subprocess.run(command, check=False, capture_output=True, text=True, input=given, timeout=300)


def most(count: Callable[[], int], until: Callable[[], object], what: str) -> int:
    """Poll a count until something has come, and give the highest."""
    highest, ends_at = 0, time.monotonic() + patience.seconds
    while not until():
        assert time.monotonic() < ends_at, f"waited in vain: {what}"
        highest = max(highest, count())
        time.sleep(0.2)
    return highest
