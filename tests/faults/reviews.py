"""SIGKILL at each system call of acting on filed images, beside a running daemon and without one."""

import os
import signal
from pathlib import Path

from imageguard_daemon.audit.chain_check import ChainCheck
from imageguard_daemon.audit.file_index import FiledFiles
from imageguard_daemon.audit.opening import open_log_for_checking
from imageguard_daemon.core.model import SCORE_NAMES
from imageguard_daemon.verification.verifier import Verification, Verifier
from tests.faults import tracing
from tests.faults.figures import Figures
from tests.faults.kills import EFFECTS as OF_A_DAEMON
from tests.faults.kills import Points, where
from tests.faults.launching import Daemon, Launcher
from tests.faults.oracle import sha256_of
from tests.faults.site import Site
from tests.faults.uploading import put, unique

ACTIONS = ("release", "rejudge", "undo", "reject", "take back", "purge", "archive")
"""All but the last two move images, the first three rejected ones; to take back is to undo a rejection by a person."""
_BEFORE = {"undo": "release", "take back": "reject", "purge": "confirm"}
EFFECTS = tuple(call for call in OF_A_DAEMON if call not in {"openat", "close", "fcntl", "write"})
"""Without those by which a command reads its modules and prints, which are most of all."""


def kill_at_system_calls(
    launcher: Launcher, home: Path, elsewhere: Path | None, action: str, points: Points | None, accounts: int = 1
) -> Figures:
    """Kill a command at the chosen system calls of acting on two images; `elsewhere` has accepted, if anything."""
    site = Site(home, accounts=accounts, intake={"sidecars": True})
    if elsewhere is not None:
        site.accepted = elsewhere / "accepted"
        site.make()
        site.configure(intake={"sidecars": True})
    figures = Figures(f"SIGKILL at system calls of {action}, {where(elsewhere, accounts)}")
    everything = _calls_of_one(launcher, site, action)
    figures.counts[f"system calls of one {action}"] = len(everything)
    for call, number in points(everything) if points else everything:
        _kill_once(launcher, site, figures, action, (call, number))
    return figures


def _calls_of_one(launcher: Launcher, site: Site, action: str) -> list[tuple[str, int]]:
    file_two(launcher, site, action)
    command = launcher.start(site, held=True, arguments=arguments_of(site, action))
    output = site.home / "trace"
    tracer = tracing.trace_from_start(command, "-e", f"trace={','.join(EFFECTS)}", output=output)
    assert command.wait() == 0, site.last_words()
    tracer.wait(60)
    counts = tracing.count_calls(output)
    return [(call, number) for call in EFFECTS for number in range(1, counts[call] + 1)]


def file_two(launcher: Launcher, site: Site, action: str) -> dict[str, str]:
    """Have two images with labels filed, and brought into the state the action begins from; give their hashes."""
    kind = "good" if action in {"reject", "take back"} else "blurry"
    site.clear()
    for name in ("cat/a.jpg", "cat/b.jpg"):
        put(site.inbox, str(Path(name).with_suffix(".txt")), b"label" + os.urandom(8))
        put(site.inbox, name, unique(kind))
    launcher.recover(site)
    before = _BEFORE.get(action)
    if before:
        assert launcher.start(site, arguments=arguments_of(site, before)).wait() == 0, site.last_words()
    return {sha256_of(path): path for path in _filed(site)}


def arguments_of(site: Site, action: str) -> list[str]:
    """Give the command that does it."""
    if action == "archive":
        return ["audit", action, "--config", str(site.config_file), "--older-than=0m", "--include-quarantined", "--yes"]
    if action == "rejudge":
        nothing = (f"--set={name}=0" for name in SCORE_NAMES)
        return [action, "--config", str(site.config_file), "--yes", *nothing]
    which = {"purge": ["--older-than", "0m"], "reject": ["--class", "cat"]}.get(action, ["--all"])
    verb = "undo" if action == "take back" else action
    return ["quarantine", verb, "--config", str(site.config_file), "--yes", *which]


def _filed(site: Site) -> list[str]:
    folders = (site.accepted, site.quarantine)
    return sorted(str(path) for folder in folders for path in folder.rglob("*") if path.is_file())


def _kill_once(launcher: Launcher, site: Site, figures: Figures, action: str, point: tuple[str, int]) -> None:
    call, number = point
    contents = file_two(launcher, site, action)
    daemon = launcher.start_and_wait(site) if number % 2 else None
    command = launcher.start(site, held=True, arguments=arguments_of(site, action))
    tracer = tracing.trace_from_start(
        command, "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"
    )
    code = command.wait()
    tracer.wait(60)
    command.kill()
    figures.rounds += 1
    figures.files += len(contents)
    figures.counts["kills"] += code == -signal.SIGKILL
    name = f"{action} killed at {call} number {number}{' beside a daemon' if daemon else ''}"
    _finish(launcher, site, daemon)
    for violation in wrong(site, contents, action):
        figures.note(f"{name}: {violation}")


def _finish(launcher: Launcher, site: Site, daemon: Daemon | None) -> None:
    """Finish what was interrupted: by the next command beside a daemon, by the next start without one."""
    if daemon is None:
        launcher.recover(site)
        return
    again = ["quarantine", "confirm", "--config", str(site.config_file), "--id", "1", "--id", "2"]
    assert launcher.start(site, arguments=again).wait() in {0, 65}, site.last_words()
    assert daemon.stop() == 0, site.last_words()


def wrong(site: Site, contents: dict[str, str], action: str) -> list[str]:
    """Give what is wrong with log and folders, and which files are nowhere though nothing says they were purged."""
    with open_log_for_checking(site.database) as log:
        task = Verification([str(site.accepted), str(site.quarantine)], daemon_may_run=False)
        verifier = Verifier(ChainCheck(log), FiledFiles(log), task)
        wrong = [f"{one.kind} {one.path} {one.detail}" for one in verifier.discrepancies()]
        with log.reading() as connection:
            purged = set(
                connection.exec_driver_sql(
                    "SELECT i.sha256 FROM intents i JOIN outcomes o ON o.intent_id = i.id WHERE o.outcome = 'purged'"
                ).scalars()
            )
    present = [sha256_of(path) for path in _filed(site)]
    wrong += [f"lost: {path}" for digest, path in contents.items() if digest not in {*present, *purged}]
    wrong += [f"doubled: {path}" for digest, path in contents.items() if present.count(digest) > 1]
    wrong += [f"purged without being asked: {contents[d]}" for d in purged if action != "purge"]
    return wrong
