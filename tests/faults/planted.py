"""The test of the normal tests: mistakes planted in a copy of the package, each of which must turn a test red.

Kills and power cuts meet some of these once in many rounds; the tests named here see them each time, by the calls that
are made and their order.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.faults.figures import Figures

ROOT = Path(__file__).resolve().parents[2]
ORDER = "tests/unit/daemon/test_sync_order.py"
CONFINEMENT = "tests/unit/sandbox/test_confinement.py"
RECOVERY = "tests/unit/daemon/test_recovery.py"
REMEMBERED = "tests/unit/audit/test_log_writer.py"
TEST_SECONDS = 600


@dataclass(frozen=True)
class Mistake:
    """What is wrong, in which file which text becomes which other, and the tests that must see it."""

    what: str
    file: str
    right: str
    wrong: str
    tests: str

    def plant(self, package: Path) -> None:
        """Put it into a copy of the package."""
        path = package / self.file
        text = path.read_text()
        assert text.count(self.right) == 1, f"{self.what}: what is to be wrong is no longer in {self.file}"
        path.write_text(text.replace(self.right, self.wrong))


MISTAKES = (
    Mistake(
        "bytes are not synced before the move",
        "daemon/move_group.py",
        "        sync_all([file.held for move in moves for file in move.held])",
        "        sync_all([])",
        ORDER,
    ),
    Mistake(
        "folders are not synced after the moves",
        "daemon/move_group.py",
        "            move.publish()\n        folders.sync()\n",
        "            move.publish()\n",
        ORDER,
    ),
    Mistake(
        "folders that were made are not synced",
        "filing/folders.py",
        "        sync(parent, name)\n",
        "        pass\n",
        ORDER,
    ),
    Mistake(
        "copies are not synced",
        "filing/judged_file.py",
        "        sync(copy, intent.destination_path)\n",
        "        pass\n",
        ORDER,
    ),
    Mistake(
        "an original goes before the name of its copy is synced",
        "filing/mover.py",
        '        sync(self._target_folder, "a new name")\n',
        "",
        ORDER,
    ),
    Mistake(
        "an original that went is recorded before that is synced",
        "daemon/move_group.py",
        "        if any(move.renamed_again for move in moves):\n            folders.sync()\n",
        "",
        ORDER,
    ),
    Mistake(
        "a purge is recorded before its sync",
        "review/acting.py",
        "        folders.sync()\n        return errors, outcomes\n",
        "        self._acting.audit.record_outcomes(outcomes)\n        folders.sync()\n        return errors, []\n",
        ORDER,
    ),
    Mistake(
        "recovery does not sync",
        "daemon/recovery.py",
        "            folders.sync()  # before the records say that it is so\n",
        "",
        ORDER,
    ),
    Mistake(
        "recovery forgets the aside of a copy",
        "daemon/recovery.py",
        "        _settle_aside(recorded, self._folders, keeps=self._keeps)\n",
        "",
        f"{RECOVERY}::test_a_source_that_was_set_aside_is_settled",
    ),
    Mistake(
        "recovery forgets the aside of a deletion",
        "daemon/recovery.py",
        "                put_back(Name(at.folder, aside_name(self._id)), at, intent.sha256)\n",
        "                pass\n",
        f"{RECOVERY}::test_a_deletion_that_was_interrupted_gives_the_file_its_name_back",
    ),
    Mistake(
        "Landlock is removed",
        "sandbox/confinement.py",
        "        _deny_files_and_network(version)\n",
        "        pass\n",
        f"{CONFINEMENT}::test_landlock_alone_denies_every_file",
    ),
    Mistake(
        "the filter of system calls is removed",
        "sandbox/confinement.py",
        "        _filter_system_calls(threads_needed=threads_needed)\n",
        "        pass\n",
        f"{CONFINEMENT}::test_the_filter_alone_denies_every_call_that_is_not_needed",
    ),
    Mistake(
        "the limits are removed",
        "sandbox/confinement.py",
        "    _limit(memory_bytes, threads_needed=threads_needed)\n",
        "",
        f"{CONFINEMENT}::test_the_limits_alone_hold",
    ),
    Mistake(
        "what a decoder gets is not sealed",
        "sandbox/wire.py",
        "    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)\n",
        "",
        f"{CONFINEMENT}::test_the_copy_a_decoder_gets_is_sealed",
    ),
    Mistake(
        "the head of the log is not remembered",
        "audit/log_writer.py",
        "        self._memory.remember(head)\n        self._head = head\n",
        "        self._head = head\n",
        f"{REMEMBERED}::test_a_log_that_lost_records_is_refused_until_a_person_accepts_it",
    ),
    Mistake(
        "the head of the log is remembered before its commit",
        "audit/log_writer.py",
        "            head = chain.extend(connection, before)\n",
        "            head = chain.extend(connection, before)\n            self._memory.remember(head)\n",
        f"{REMEMBERED}::test_the_memory_never_leads_the_log",
    ),
    Mistake(
        "a commit returns before it is on disk",
        "audit/database.py",
        '        "synchronous=FULL",\n',
        '        "synchronous=NORMAL",\n',
        "tests/unit/audit/test_database.py",
    ),
)


def plant_each(home: Path) -> Figures:
    """Plant one mistake after another, and see that the tests named turn red; without any they are green."""
    figures = Figures("planted mistakes")
    copy = home / "copy"
    for name in ("imageguard_daemon", "tests", "pyproject.toml"):
        place = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy.mkdir(exist_ok=True)
        place(ROOT / name, copy / name)
    for tests in sorted({mistake.tests for mistake in MISTAKES}):
        if (code := _run(copy, tests)) != 0:
            figures.note(f"{tests} ends with {code} without any mistake")
    for mistake in MISTAKES:
        mistake.plant(copy / "imageguard_daemon")
        code = _run(copy, mistake.tests)
        shutil.copy(ROOT / "imageguard_daemon" / mistake.file, copy / "imageguard_daemon" / mistake.file)
        figures.rounds += 1
        figures.counts["seen"] += code == 1
        if code != 1:
            figures.note(f"went unseen by {mistake.tests} (code {code}): {mistake.what}")
    return figures


def _run(copy: Path, tests: str) -> int:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", tests]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, check=False, timeout=TEST_SECONDS
    ).returncode
