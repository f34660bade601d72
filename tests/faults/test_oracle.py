"""The oracle sees each kind of harm: a judge that overlooks something makes all other tests worthless."""

import sqlite3
from dataclasses import replace

import pytest

from tests.faults.oracle import Kind, Offered, Record, Seen, assert_nothing_lost, look, violations
from tests.faults.site import Site
from tests.faults.uploading import put, unique

A, B = Offered("cat/a.jpg", "aa"), Offered("cat/b.jpg", "bb")
OFFERED = [A, B]
GOOD = Seen(
    inbox={},
    filed={"/accepted/a.jpg": "aa", "/quarantine/b.jpg": "bb"},
    records=(Record("/accepted/a.jpg", "aa", A.name), Record("/quarantine/b.jpg", "bb", B.name)),
)


def test_what_is_well_is_well():
    """Two files filed and recorded are no violation."""
    assert violations(OFFERED, GOOD) == []


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (Kind.lost, replace(GOOD, filed={"/accepted/a.jpg": "aa"})),
        (Kind.overwritten, replace(GOOD, filed={"/accepted/a.jpg": "aa", "/quarantine/b.jpg": "aa"})),
        (Kind.doubled, replace(GOOD, inbox={"/inbox/a.jpg": "aa"})),
        (Kind.stranded, replace(GOOD, inbox={"/inbox/a.jpg": "aa"}, filed={"/quarantine/b.jpg": "bb"})),
        (Kind.half, replace(GOOD, records=(*GOOD.records, Record("/x", "h", "h")), filed={**GOOD.filed, "/x": "h"})),
        (Kind.unrecorded, replace(GOOD, records=GOOD.records[:1])),
        (Kind.recorded_twice, replace(GOOD, records=(*GOOD.records, GOOD.records[0]))),
        (Kind.missing, replace(GOOD, inbox={"/inbox/b.jpg": "bb"}, filed={"/accepted/a.jpg": "aa"})),
        (Kind.changed, replace(GOOD, filed={"/accepted/a.jpg": "aa", "/quarantine/b.jpg": "cc"})),
        (Kind.unfinished, replace(GOOD, unfinished=("/accepted/c.jpg",))),
        (Kind.temporary, replace(GOOD, temporaries=("/accepted/.imageguard-1.part",))),
        (Kind.damaged, replace(GOOD, log_check="row 3 missing from index")),
    ],
)
def test_each_kind_of_harm_is_seen(kind, seen):
    """What is wrong in this way is told as such."""
    assert kind in {one.kind for one in violations(OFFERED, seen)}


def test_a_file_nobody_knew_to_be_on_disk_may_vanish_or_be_torn_but_not_be_doubled():
    """An upload that was never acknowledged is held to less, not to nothing."""
    unsure = replace(B, complete=False)
    torn = replace(GOOD.records[1], sha256="torn")
    assert violations([A, unsure], replace(GOOD, filed={"/accepted/a.jpg": "aa"}, records=GOOD.records[:1])) == []
    seen = replace(GOOD, filed={**GOOD.filed, "/quarantine/b.jpg": "torn"}, records=(GOOD.records[0], torn))
    assert violations([A, unsure], seen) == []
    doubled = violations([A, unsure], replace(GOOD, inbox={"/inbox/b.jpg": "bb"}))
    assert [one.kind for one in doubled] == [Kind.doubled]


def test_it_looks_at_real_files_and_real_records(launcher, tmp_path):
    """A daemon's work is well; a byte changed, a file removed and one put there by hand are all three told at once."""
    site = Site(tmp_path)
    sent = [put(site.inbox, f"cat/{number}.png", unique("tiny")) for number in range(3)]
    launcher.recover(site)
    assert_nothing_lost(site, sent)
    first, second, _third = sorted(look(site).filed)
    with open(first, "ab") as file:
        file.write(b"!")
    site.quarantine.joinpath("foreign.png").write_bytes(b"theirs")
    site.quarantine.joinpath(second).unlink()
    with pytest.raises(AssertionError) as told:
        assert_nothing_lost(site, sent)
    assert {"changed", "missing", "lost", "unrecorded"} <= set(str(told.value).split())


def test_a_log_that_is_none_is_told(launcher, tmp_path):
    """A database that cannot be read is harm, not silence."""
    site = Site(tmp_path)
    site.database.write_bytes(b"not a database, but long enough to be looked at" * 30)
    assert Kind.damaged in {one.kind for one in violations([], look(site))}
    site.database.unlink()
    sqlite3.connect(site.database).execute("CREATE TABLE other (x)").connection.close()
    assert Kind.damaged in {one.kind for one in violations([], look(site))}
