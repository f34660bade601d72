"""What a user would write in an hour: watchdog, a library that judges images, `shutil.move`, `sqlite3`.

    python naive_script.py ROOT COUNT

Ends when COUNT images have been moved. It is here to be compared with, and has the faults such scripts have: it
judges half-written files, overwrites files of the same name, and forgets what a crash interrupts.
"""

import shutil
import sqlite3
import sys
import time
from pathlib import Path
from queue import Queue

from imageguard import validate
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer

root, count = Path(sys.argv[1]), int(sys.argv[2])
inbox, files = root / "inbox", Queue()
log = sqlite3.connect(root / "naive.db")
log.execute("CREATE TABLE IF NOT EXISTS decisions (path TEXT, ok INTEGER, reason TEXT, score REAL)")


class Handler(FileSystemEventHandler):
    def on_closed(self, event):
        files.put(Path(event.src_path))


observer = Observer()
observer.schedule(Handler(), str(inbox), recursive=True)
observer.start()
for path in inbox.rglob("*.jpg"):
    files.put(path)
print("begin", time.monotonic(), flush=True)
for _ in range(count):
    path = files.get()
    result = validate(str(path))
    target = root / ("accepted" if result.ok else "quarantine") / path.relative_to(inbox)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(path, target)
    log.execute("INSERT INTO decisions VALUES (?, ?, ?, ?)", (str(path), result.ok, result.reason, result.score))
    log.commit()
print("end", time.monotonic(), flush=True)
observer.stop()
