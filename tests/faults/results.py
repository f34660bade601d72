"""SIGKILL at each system call of every command that writes results: a name has the old file or the new one.

What is not whole says so in its name, what belongs to others stays, and the same command again comes to the end it
would have come to.
"""

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

from imageguard_daemon.core.files import is_partial
from tests.faults import tracing
from tests.faults.figures import Figures
from tests.faults.kills import Points
from tests.faults.launching import Daemon, Launcher
from tests.faults.site import Site
from tests.faults.uploading import picture, put

EFFECTS = (
    *("rename", "link", "unlink", "unlinkat", "symlink", "symlinkat", "linkat", "mkdir", "mkdirat", "rmdir"),
    *("flock", "fsync", "fdatasync", "pwrite64", "write", "ftruncate", "fchmod"),
)
_NO_RESULTS = (".lock", ".state", ".state-wal", ".state-shm", ".state-journal")
"""How names end that say who is at work, and what was measured."""
_OTHER_VERDICTS = ("--set=blur_score=0",)
_LIST = ("--manifest={home}/list", "--out={place}/shards", "--executor=thread", "--shard-size=1", "--workers=1")


@dataclass(frozen=True)
class Writer:
    """A command that writes results: what an earlier run had after it, if there was one, and what this one has.

    One that `refuses` replaces nothing, not even what it has written itself.
    """

    command: tuple[str, ...]
    new: tuple[str, ...] = ()
    old: tuple[str, ...] | None = ()
    refuses: bool = False

    def arguments(self, site: Site, more: tuple[str, ...]) -> list[str]:
        """Give its command line."""
        return [word.format(home=site.home, place=site.home / "place") for word in (*self.command, *more)]


def _scan(*words: str) -> tuple[str, ...]:
    return ("scan", "{place}/data", "--workers=1", *words)


def _export(form: str, name: str, *words: str) -> Writer:
    command = ("export", "--from={home}/given.jsonl", f"--to={form}", "--overwrite", f"--output={{place}}/{name}")
    return Writer((*command, *words), ("--only=all",), ("--only=rejected",))


def _report(name: str, *words: str) -> Writer:
    return Writer(("report", *words, f"--output={{place}}/{name}"), ("--by=class",), ("--by=reason",))


WRITERS = {
    "scan": Writer(
        _scan(*(f"--{form}={{place}}/a.{form}" for form in ("csv", "jsonl", "parquet", "html"))), _OTHER_VERDICTS
    ),
    "first scan": Writer(_scan("--csv={place}/a.csv"), old=None),
    "links": Writer(_scan("--link={place}/links"), _OTHER_VERDICTS),
    "hard links": Writer(_scan("--link={place}/links", "--hard-links"), _OTHER_VERDICTS),
    "huggingface": _export("huggingface", "metadata.jsonl"),
    "fiftyone": _export("fiftyone", "samples.jsonl"),
    "coco": _export("coco", "kept.json", "--coco={home}/coco.json"),
    "list": _export("list", "list"),
    "first list": Writer(
        ("export", "--from={home}/given.jsonl", "--to=list", "--output={place}/list"), old=None, refuses=True
    ),
    "report": _report("report.html", "--config={home}/config.yaml", "--format=html"),
    "report as Parquet": _report("report.parquet", "--config={home}/config.yaml", "--format=parquet"),
    "report of a scan": _report("report.json", "--from={home}/given.jsonl", "--format=json"),
    "configuration": Writer(("config", "init", "{place}/config.yaml"), old=None, refuses=True),
    "back-fill": Writer(("backfill", *_LIST), old=None),
    "refreshed back-fill": Writer(("backfill", *_LIST), ("--refresh", *_OTHER_VERDICTS)),
}
Tree = dict[str, object]


def kill_at_system_calls(launcher: Launcher, site: Site, name: str, points: Points | None) -> Figures:
    """Kill a command that writes results at the chosen of its system calls; `site` is as `begun` leaves it."""
    writer, home = WRITERS[name], site.home
    figures = Figures(f"SIGKILL at system calls, {name}")
    if writer.old is not None:
        _run(launcher, site, writer.arguments(site, writer.old))
    old = _tree(site)
    shutil.rmtree(home / "kept", ignore_errors=True)
    shutil.copytree(home / "place", home / "kept", symlinks=True, copy_function=_copy)
    new_arguments = writer.arguments(site, writer.new)
    everything = _calls_of(launcher, site, new_arguments)
    new = _tree(site)
    assert new != old, name
    figures.counts["system calls"] = len(everything)
    for call, number in points(everything) if points else everything:
        _put_back(home)
        figures.counts["kills"] += _kill(launcher, site, new_arguments, call, number)
        figures.rounds += 1
        figures.files += len(new)
        wrong = _mixed(_tree(site), old, new)
        _run(launcher, site, new_arguments, may_refuse=writer.refuses)
        wrong += [f"differs afterwards: {path}" for path, _ in new.items() ^ _tree(site).items()]
        for violation in wrong:
            figures.note(f"{name} killed at {call} number {number}: {violation}")
    return figures


def begun(launcher: Launcher, home: Path) -> Site:
    """Make images, a log, and what the commands read; none of them changes it, and `place` is where they write."""
    site = Site(home)
    data = home / "place/data/cat"
    data.mkdir(parents=True)
    for number, kind in enumerate(("good", "blurry", "tiny")):
        (data / f"{number}.img.jpg").write_bytes(picture(kind))
        put(site.inbox, f"cat/{number}.jpg", picture(kind))
    launcher.recover(site)
    _run(launcher, site, ["scan", str(data.parent), "--workers=1", f"--jsonl={home}/given.jsonl"])
    names = sorted(os.listdir(data))
    (home / "list").write_text("".join(f"{data}/{name}\n" for name in names))
    images = [{"id": number, "file_name": f"cat/{name}"} for number, name in enumerate(names)]
    (home / "coco.json").write_text(json.dumps({"images": images, "annotations": []}))
    return site


def _run(launcher: Launcher, site: Site, arguments: list[str], *, may_refuse: bool = False) -> None:
    """Run a command to its end."""
    code = launcher.start(site, arguments=arguments).wait()
    assert code in ({0, os.EX_USAGE} if may_refuse else {0}), (arguments, code, site.log_file.read_text()[-2000:])


def _calls_of(launcher: Launcher, site: Site, arguments: list[str]) -> list[tuple[str, int]]:
    command = launcher.start(site, held=True, arguments=arguments)
    output = site.home / "trace"
    tracer = tracing.trace_from_start(command, "-e", f"trace={','.join(EFFECTS)}", output=output)
    assert command.wait() == 0, site.log_file.read_text()[-2000:]
    tracer.wait(60)
    counts = tracing.count_calls(output)
    return [(call, number) for call in EFFECTS for number in range(1, counts[call] + 1)]


def _kill(launcher: Launcher, site: Site, arguments: list[str], call: str, number: int) -> bool:
    """Kill it there; tell whether it came there at all."""
    command: Daemon = launcher.start(site, held=True, arguments=arguments)
    inject = f"inject={call}:signal=SIGKILL:when={number}"
    tracer = tracing.trace_from_start(command, "-e", f"trace={call}", "-e", inject)
    code = command.wait()
    tracer.wait(60)
    command.kill()
    return code == -signal.SIGKILL


def forget(home: Path) -> None:
    """Have no results, as after `begun`; the images stay, as their times and numbers are known."""
    for path in (home / "place").iterdir():
        if path.name != "data":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _put_back(home: Path) -> None:
    """Have the earlier results again."""
    forget(home)
    for path in (home / "kept").iterdir():
        if path.name != "data":
            target = home / "place" / path.name
            shutil.copytree(path, target, symlinks=True, copy_function=_copy) if path.is_dir() else _copy(path, target)


def _copy(source: str | Path, target: str | Path) -> None:
    """Copy a file; what is one more name of an image is one there, too."""
    (os.link if os.stat(source).st_nlink > 1 else shutil.copy2)(source, target)


def _tree(site: Site) -> Tree:
    """Give what each name has that is a result, or an image; those that say that they are not whole are left out."""
    place, found = site.home / "place", {}
    for folder, _, names in os.walk(place):
        for name in names:
            path = Path(folder, name)
            if not (is_partial(name) or name.endswith(_NO_RESULTS)):
                found[str(path.relative_to(place))] = _content(path)
    return found


def _content(path: Path) -> object:
    """Give what a result says, without the time at which it was made."""
    if path.is_symlink():
        return os.readlink(path)
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return repr(parquet.read_table(path).to_pylist())
    content = path.read_bytes()
    if path.suffix == ".html":
        return content.count(b"blurry"), content.rstrip().endswith(b"</html>")
    if path.name == "_backfill.json":
        return sorted(json.loads(content))
    if path.suffix == ".json":
        return repr({**json.loads(content), "until": ""})
    return b"".join(sorted(content.splitlines(keepends=True)))


def _mixed(now: Tree, old: Tree, new: Tree) -> list[str]:
    """Name what is neither old nor new, and what is gone though the new run has it."""
    wrong = [f"is neither old nor new: {path}" for path in now if now[path] not in (old.get(path), new.get(path))]
    return wrong + [f"is gone: {path}" for path in old.keys() & new.keys() if path not in now]
