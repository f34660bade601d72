"""Killed at any moment: after the next start every byte is in exactly one place, recorded once."""

import hashlib
import random
import shutil
import signal
import time

import pytest

from imageguard_daemon.config import Intake
from tests.helpers.corpus import WHY_SKIPPED, corpus
from tests.helpers.images import blurred, jpeg, photo

SPAWNED = True

CORPUS = corpus("")


def _everything_once(one, sent: set[str]) -> None:
    contents = one.contents()
    assert set(contents) >= sent, "something was lost"
    assert [paths for digest, paths in contents.items() if digest in sent and len(paths) > 1] == []
    assert list(one.root.rglob(".imageguard-*.part")) == []


def test_sigkill_under_load_loses_doubles_and_forgets_nothing(ingest):
    """Six kills while images stream in leave each of them filed and recorded exactly once."""
    one = ingest(intake={"settle_seconds": 0.1}, scoring={"workers": 2})
    rng = random.Random(7)  # noqa: S311 - no secret
    images = [jpeg(photo(200, 150, seed=seed)) for seed in range(20)]
    images += [jpeg(blurred(photo(200, 150, seed=seed), 6)) for seed in range(20)]
    sent = set()
    for number in range(6):
        one.start()
        for copy in range(15):
            data = rng.choice(images) + f"{number}-{copy}".encode()  # trailing bytes make each content its own
            one.put(f"class{copy % 3}/{number}-{copy}.jpg", data)
            sent.add(hashlib.sha256(data).hexdigest())
        time.sleep(rng.uniform(0.3, 1.2))
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        _everything_once(one, sent)
    one.start()
    one.wait_for_decisions(len(sent))
    assert one.stop() == 0
    _everything_once(one, sent)
    one.check_books()
    assert len(one.decisions()) == len(sent)


@pytest.mark.timeout(600)
@pytest.mark.skipif(not CORPUS.is_dir(), reason=WHY_SKIPPED)
def test_the_real_corpus_is_judged_once_across_a_kill(ingest):
    """Real photos and hostile files, copied in while the daemon is killed and restarted, all end up judged."""
    one = ingest()
    one.start()
    suffixes = set(Intake().image_suffixes)
    sent = []
    for folder in ("photos", "misc", "formats", "hostile"):
        for path in sorted((CORPUS / folder).iterdir())[:120]:
            target = one.inbox / folder / path.name
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, target)
            sent.append(target)
    time.sleep(1)
    one.process.kill()
    one.process.wait()
    one.start()
    images = [path for path in sent if path.suffix.lower() in suffixes]
    one.wait_for_decisions(len(images))
    assert one.stop() == 0
    one.check_books()
    assert len(one.decisions()) == len(images)
    left = sorted(path for path in one.inbox.rglob("*") if path.is_file())
    assert left == sorted(path for path in sent if path.suffix.lower() not in suffixes)
    photos = [row for row in one.decisions() if row["class"] == "photos"]
    assert sum(row["verdict"] == "accepted" for row in photos) / len(photos) > 0.8
