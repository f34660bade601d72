"""Processes that measure by a readout of one's own: what was read once counts, whatever becomes of the file."""

import threading

import pytest

from imageguard_daemon import validate
from imageguard_daemon.batch.backfill.scoring import score_shard
from imageguard_daemon.config import Scoring
from imageguard_daemon.core.errors import UnavailableError
from imageguard_daemon.quality.policy import PRESETS, decide_on_file
from imageguard_daemon.quality.readout import readout_of
from imageguard_daemon.quality.version import SCORER_VERSION
from imageguard_daemon.sandbox.client import BytesMeasurer
from imageguard_daemon.sandbox.workers import Workers
from tests.helpers.images import jpeg, photo
from tests.helpers.readouts import write_readout
from tests.helpers.shards import shard, terms
from tests.unit.sandbox.test_workers import _measured


@pytest.fixture
def own(tmp_path):
    """A readout that calls everything worse."""
    return write_readout(tmp_path / "own.npz")


@pytest.fixture
def image(tmp_path):
    """A good image file."""
    path = tmp_path / "good.jpg"
    path.write_bytes(jpeg(photo(280, 200)))
    return path


def test_workers_that_come_later_measure_by_what_was_read(own, image, tmp_path):
    """A worker that is started after the file was replaced is no other; what nobody can measure bears its name, too."""
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    expected = validate(image, readout=own)
    workers = Workers(Scoring(workers=1, readout=own), threading.Event().set)
    try:
        for _ in range(2):
            found = {name: one.measurement for name, one in _measured(workers, image, tmp_path / "bad.jpg").items()}
            assert found["good.jpg"].measures.as_dict() == pytest.approx(dict(expected.measures), rel=1e-5)
            decisions = [decide_on_file(name, one, "general", PRESETS["general"]) for name, one in found.items()]
            assert {one.scorer_version for one in decisions} == {workers.scorer_version} == {expected.scorer_version}
            own.write_bytes(b"another")
            for one in list(workers._processes):
                one.process.kill()
    finally:
        workers.stop()


def test_bytes_are_measured_by_it_whatever_becomes_of_their_process(own, image):
    """What back-fills and pages measure with."""
    expected = validate(image, readout=own)
    measurer = BytesMeasurer(Scoring(readout=own))
    try:
        for _ in range(2):
            found = measurer.measure(image.read_bytes())
            assert found.measures.as_dict() == pytest.approx(dict(expected.measures), rel=1e-5)
            assert decide_on_file("1", found, "general", PRESETS["general"]).scorer_version == expected.scorer_version
            own.unlink(missing_ok=True)
            measurer.close()
    finally:
        measurer.close()


def test_a_shard_is_refused_where_the_readout_is_another(own, image):
    """A worker with another file of that name, or the package's: results of two are never mixed."""
    own_version = readout_of(str(own)).identity
    [row] = score_shard(shard([image], terms(scorer_version=own_version, readout=own)))
    assert (row["scorer_version"], row["verdict"]) == (own_version, "quarantined")
    write_readout(own, moved=-0.4)
    with pytest.raises(UnavailableError, match=rf"with scorer {SCORER_VERSION}\+.*own.npz on both") as told:
        score_shard(shard([image], terms(scorer_version=own_version, readout=own)))
    assert own_version in str(told.value)
    with pytest.raises(UnavailableError, match="a worker has"):
        score_shard(shard([image], terms(scorer_version=SCORER_VERSION, readout=own)))
