"""Content that was filed before."""

import pytest

from tests.helpers.bench import Bench


def begun(tmp_path, policy: str) -> Bench:
    """Give a bench with a good and a bad image filed."""
    bench = Bench(tmp_path, duplicates=policy, settle_seconds=2.0)
    bench.arrive("cat/1.jpg", b"good")
    bench.arrive("cat/bad.jpg", b"bad")
    bench.step()
    return bench


@pytest.mark.parametrize("policy", ["accept", "quarantine", "skip"])
def test_what_is_new_is_judged_whatever_becomes_of_duplicates(tmp_path, policy):
    """Nothing but equal bytes is a duplicate."""
    bench = begun(tmp_path, policy)
    bench.arrive("cat/1.jpg", b"good, changed")
    bench.step()
    assert sorted(bench.files().values()) == [b"bad", b"good", b"good, changed"]
    assert [verdict for _, verdict in bench.decisions()] == ["accepted", "quarantined", "accepted"]
    bench.audit.close()


def test_duplicates_are_judged_by_default(tmp_path):
    """The same bytes again are filed again, under a name of their own."""
    bench = begun(tmp_path, "accept")
    bench.arrive("cat/1.jpg", b"good")
    bench.step()
    assert [verdict for _, verdict in bench.decisions()] == ["accepted", "quarantined", "accepted"]
    bench.audit.close()


def test_duplicates_can_be_quarantined_with_what_they_repeat(tmp_path):
    """The reason is `duplicate`, and the detail names the first file, also when that was rejected."""
    bench = begun(tmp_path, "quarantine")
    bench.arrive("dog/again.jpg", b"good")
    bench.arrive("dog/bad again.jpg", b"bad")
    bench.step()
    decisions = {file.candidate.relative_path: file.decision for file in bench.filed[2:]}
    assert {name: decision.reason for name, decision in decisions.items()} == dict.fromkeys(
        ("dog/again.jpg", "dog/bad again.jpg"), "duplicate"
    )
    assert decisions["dog/again.jpg"].detail == "the same bytes were filed as accepted/cat/1.jpg"
    assert decisions["dog/bad again.jpg"].detail == "the same bytes were filed as quarantine/cat/bad.jpg"
    assert "quarantine/dog/again.jpg" in bench.files()
    bench.audit.close()


def test_duplicates_can_be_left_until_they_change(tmp_path):
    """A nightly copy stays, is counted, is never judged again, and is judged when it changes."""
    bench = begun(tmp_path, "skip")
    bench.arrive("cat/1.jpg", b"good")
    bench.step()
    inbox = bench.served.inbox
    assert bench.files()["inbox/cat/1.jpg"] == b"good"
    assert (len(bench.decisions()), inbox.skipped, bench.backlog.failures) == (2, 1, ())
    for night in range(1, 4):
        inbox.walk_soon()
        found = inbox.step(night * 86_400.0, 100) + inbox.step(night * 86_400.0 + 3, 100)
        assert (found, inbox.skipped) == ([], 1)
    (bench.inbox / "cat/1.jpg").write_bytes(b"good, changed")
    inbox.walk_soon()
    inbox.step(400_000.0, 100)
    assert [candidate.relative_path for candidate in inbox.step(400_003.0, 100)] == ["cat/1.jpg"]
    inbox.walk_soon()
    inbox.step(400_010.0, 100)
    assert inbox.skipped == 0
    inbox.stop()
    bench.audit.close()


@pytest.mark.parametrize("policy", ["quarantine", "skip"])
def test_twins_that_arrive_together_wait_for_one_another(tmp_path, policy):
    """Only what was filed makes a duplicate: the second of two is looked at once the first is through."""
    bench = Bench(tmp_path, duplicates=policy)
    for name in ("1.jpg", "2.jpg", "3.jpg"):
        bench.arrive(name, b"the same")
    bench.step()
    assert len(bench.decisions()) == 1
    assert (bench.backlog.held, bench.served.inbox.settling) == (0, 2)
    for name in ("2.jpg", "3.jpg"):
        bench.arrive(name, b"the same")
    bench.step()
    assert len(bench.decisions()) == (3 if policy == "quarantine" else 1)
    assert len(bench.files()) == 3
    bench.audit.close()
