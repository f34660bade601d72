"""The process that daemons are forked from. Reads requests from standard input, one JSON object a line."""

import importlib
import json
import multiprocessing
import os
import pkgutil
import signal
import sys
import traceback

NOT_OURS_TO_LOAD = {"migrations", "fleet_migrations", "integrations", "__main__"}


def _load_everything() -> None:
    """Import what a daemon would, so that a fork needs no disk to begin."""
    import imageguard_daemon
    from imageguard_daemon.quality import measurement

    for name in ("alembic.command", "alembic.config", "rich.console", "sqlalchemy.dialects.sqlite"):
        importlib.import_module(name)  # these the package imports only when it needs them
    for module in pkgutil.walk_packages(imageguard_daemon.__path__, "imageguard_daemon."):
        if not {"migrations", "fleet_migrations", "integrations"} & set(
            module.name.split(".")
        ) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    measurement.prepare_worker()
    real = multiprocessing.get_context
    multiprocessing.get_context = lambda _method=None: real("fork")


def _become_daemon(request: dict) -> None:
    from imageguard_daemon.__main__ import main
    from tests.faults import seeded

    os.setsid()
    log = os.open(request["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, log), (2, log)):
        os.dup2(source, target)
    for name in request["faults"]:
        getattr(seeded, name)()
    if request["held"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    sys.argv = ["imageguard-daemon", *request["start"]]
    main()


def _fork(request: dict) -> dict:
    pid = os.fork()
    if pid:
        return {"pid": pid}
    code = 99
    try:
        _become_daemon(request)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # noqa: BLE001 - whatever it is, this process ends here
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _answer(request: dict) -> dict:
    if "reap" in request:
        return {"code": os.waitstatus_to_exitcode(os.waitpid(request["reap"], 0)[1])}
    return _fork(request)


def serve() -> None:
    """Answer requests until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a test run that is interrupted ends its daemons itself
    _load_everything()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
